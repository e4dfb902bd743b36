//! Programs of any Debian release, unpacked from their packages into `<target>/kit/debian/<suite>/<package>` and never
//! installed. Which version a suite holds today is apt's business.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::apt::{self, PrivateApt};
use crate::{Workspace, note, packages, shell};

/// What one package holds. Its dependencies are not unpacked with it: this is for programs that need little more than
/// a libc, as those written in Go.
#[derive(Clone, Debug)]
pub struct Unpacked {
    root: PathBuf,
    origin: String,
}

impl Unpacked {
    /// A package of a suite, such as `trixie` or `sid`; downloaded once.
    ///
    /// # Errors
    /// If the suite cannot be read, or has no such package.
    pub fn of(workspace: &Workspace, package: &str, suite: &str) -> Result<Self> {
        Self::cached(workspace, package, suite, |folder| {
            PrivateApt::new(&workspace.kit("apt")?.join(suite), suite)?.download(package, folder)
        })
    }

    /// A package of the machine's own release; downloaded once.
    ///
    /// # Errors
    /// If apt cannot download it.
    pub fn own(workspace: &Workspace, package: &str) -> Result<Self> {
        Self::cached(workspace, package, "own", |folder| apt::download_own(package, folder))
    }

    /// One of its programs.
    ///
    /// # Errors
    /// If the package has none of that name.
    pub fn program(&self, name: &str) -> Result<PathBuf> {
        let program = self.bin().join(name);
        ensure!(program.is_file(), "{} has no usr/bin/{name}", self.origin);
        Ok(program)
    }

    /// The folder of its programs.
    pub fn bin(&self) -> PathBuf {
        self.root.join("usr/bin")
    }

    /// Tests run side by side, in several processes: the first one fetches, the others wait for it.
    fn cached(
        workspace: &Workspace,
        package: &str,
        suite: &str,
        download: impl FnOnce(&Path) -> Result<PathBuf>,
    ) -> Result<Self> {
        let folder = workspace.kit("debian")?.join(suite);
        let unpacked = Self { root: folder.join(package), origin: format!("{package} of Debian {suite}") };
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let lock = folder.join(".lock");
        let lock = File::create(&lock).with_context(|| format!("cannot create {}", lock.display()))?;
        lock.lock().context("cannot wait for another test that downloads packages")?;
        if !unpacked.root.exists() {
            packages::ensure("unpacking Debian packages", &[&packages::RELEASES])?;
            note(format_args!("fetching {}", unpacked.origin));
            unpack_into(&unpacked.root, download)?;
        }
        Ok(unpacked)
    }
}

/// Unpacks what `download` fetches. `dir` appears when all of it is there, so an interrupted run leaves no half of it.
fn unpack_into(dir: &Path, download: impl FnOnce(&Path) -> Result<PathBuf>) -> Result<()> {
    let part = dir.with_extension("part");
    if part.exists() {
        fs::remove_dir_all(&part).with_context(|| format!("cannot remove {}", part.display()))?;
    }
    fs::create_dir_all(&part).with_context(|| format!("cannot create {}", part.display()))?;
    let deb = download(&part)?;
    shell::quietly(Command::new("dpkg-deb").arg("-x").args([&deb, &part]))?;
    fs::remove_file(&deb).with_context(|| format!("cannot remove {}", deb.display()))?;
    fs::rename(&part, dir).with_context(|| format!("cannot rename {} to {}", part.display(), dir.display()))
}
