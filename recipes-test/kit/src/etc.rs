//! A node's own configuration, which its namespace alone sees.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::namespace::Namespace;
use crate::shell;

/// The node's configuration of the shim.
pub const CONF: &str = "/etc/mica/micrun/micrun.conf";

/// Where the changes are, on the namespace's own tmpfs.
const CHANGES: &str = "/run/micrun-test-etc";

/// An `/etc` of the node's own: what is written there stays in its namespace.
#[derive(Debug)]
pub struct OwnEtc;

impl OwnEtc {
    /// Begins with what is in the machine's.
    ///
    /// # Errors
    /// If it cannot be mounted.
    pub fn new(namespace: &Namespace) -> Result<OwnEtc> {
        namespace.inside(|| {
            for folder in ["upper", "work"] {
                fs::create_dir_all(Path::new(CHANGES).join(folder))
                    .context("cannot make a folder on /run")?;
            }
            let options = format!("lowerdir=/etc,upperdir={CHANGES}/upper,workdir={CHANGES}/work");
            shell::quietly(Command::new("mount").args(["-t", "overlay", "-o", &options, "overlay", "/etc"]))
        })?;
        Ok(OwnEtc)
    }

    /// Back to the machine's.
    ///
    /// # Errors
    /// If it cannot be unmounted.
    pub fn end(self, namespace: &Namespace) -> Result<()> {
        namespace.inside(|| {
            shell::quietly(Command::new("umount").args(["--lazy", "/etc"]))?;
            fs::remove_dir_all(CHANGES).context("cannot remove what was changed in /etc")
        })
    }
}

/// Writes a file where the node's shims see it, and, with an [`OwnEtc`], nobody else.
///
/// # Errors
/// If it cannot be written.
pub fn write(namespace: &Namespace, path: &str, text: &str) -> Result<()> {
    namespace.inside(|| {
        let folder = Path::new(path).parent().context("a file has a folder")?;
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        fs::write(path, text).with_context(|| format!("cannot write {path}"))
    })
}
