//! The clones of the layers that ours is built with. Nobody but their user brings them here.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::{note, shell};

/// Names their folder.
pub const VARIABLE: &str = "MICRUN_OE_LAYERS";

/// Their names in that folder, which are those of `kas/include/base.yml`.
pub const NAMES: [&str; 8] = [
    "bitbake",
    "openembedded-core",
    "meta-openembedded",
    "meta-virtualization",
    "meta-arm",
    "meta-raspberrypi",
    "meta-rauc",
    "meta-yocto",
];

/// A folder with all of them.
#[derive(Debug)]
pub struct Clones(PathBuf);

impl Clones {
    /// The folder that [`VARIABLE`] names, if it is set.
    ///
    /// # Errors
    /// If it is set, and one of them is not there.
    pub fn find() -> Result<Option<Self>> {
        let Some(folder) = std::env::var_os(VARIABLE) else { return Ok(None) };
        let clones = Self(PathBuf::from(folder));
        for name in NAMES {
            ensure!(
                clones.layer(name).is_dir(),
                "{VARIABLE} is {}, which holds no {name}: clone all of {} there, branch wrynose (bitbake: 2.18)",
                clones.0.display(),
                NAMES.join(", ")
            );
        }
        Ok(Some(clones))
    }

    /// Where all of them are.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// One of [`NAMES`].
    pub fn layer(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Prints the commit of each.
    ///
    /// # Errors
    /// If one is no git clone.
    pub fn describe(&self) -> Result<()> {
        for name in NAMES {
            note(format_args!("{name} {}", self.commit(name)?));
        }
        Ok(())
    }

    /// What is checked out there.
    ///
    /// # Errors
    /// If it is no git clone.
    pub fn commit(&self, name: &str) -> Result<String> {
        let mut git = Command::new("git");
        // It may belong to somebody else.
        git.args(["-c", "safe.directory=*", "-C"]).arg(self.layer(name)).args(["rev-parse", "HEAD"]);
        let commit = shell::output(&mut git).with_context(|| format!("{name} is no git clone"))?;
        Ok(commit.trim().to_owned())
    }
}
