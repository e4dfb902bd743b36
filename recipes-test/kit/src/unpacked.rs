//! Programs of any Debian release, unpacked from their packages into `<target>/kit/debian/<suite>/<package>` and never
//! installed. Which version a suite holds today is apt's business.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::apt::{self, PrivateApt};
use crate::{Workspace, note, packages};

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

    fn cached(
        workspace: &Workspace,
        package: &str,
        suite: &str,
        download: impl FnOnce(&Path) -> Result<PathBuf>,
    ) -> Result<Self> {
        let root = workspace.kit("debian")?.join(suite).join(package);
        let unpacked = Self { root, origin: format!("{package} of Debian {suite}") };
        once(
            &unpacked.root,
            || {
                packages::ensure("unpacking Debian packages", &[&packages::RELEASES])?;
                note(format_args!("fetching {}", unpacked.origin));
                Ok(())
            },
            |part| {
                let deb = download(part)?;
                apt::unpack(&deb, part)?;
                fs::remove_file(&deb).with_context(|| format!("cannot remove {}", deb.display()))
            },
        )?;
        Ok(unpacked)
    }
}

/// Makes a folder unless it is there. `make` fills another one, which takes the name `dir` when all of it is there, so
/// an interrupted run leaves no half of it. Tests run side by side, in several processes: the first one makes it, the
/// others wait.
///
/// # Errors
/// Those of `make`, or if there is no room.
pub fn once(
    dir: &Path,
    announce: impl FnOnce() -> Result<()>,
    make: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let folder = dir.parent().with_context(|| format!("{} is in no folder", dir.display()))?;
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let lock = folder.join(".lock");
    let lock = File::create(&lock).with_context(|| format!("cannot create {}", lock.display()))?;
    lock.lock()
        .with_context(|| format!("cannot wait for another program that fills {}", folder.display()))?;
    if dir.exists() {
        return Ok(());
    }
    announce()?;
    let part = dir.with_extension("part");
    if part.exists() {
        fs::remove_dir_all(&part).with_context(|| format!("cannot remove {}", part.display()))?;
    }
    fs::create_dir_all(&part).with_context(|| format!("cannot create {}", part.display()))?;
    make(&part)?;
    fs::rename(&part, dir).with_context(|| format!("cannot rename {} to {}", part.display(), dir.display()))
}
