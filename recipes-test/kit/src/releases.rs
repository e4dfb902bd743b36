//! The containerd releases that the shim must work with, [`Unpacked`] from Debian's packages.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{Unpacked, Workspace, note, packages, shell, step};

/// A line of containerd releases that users have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Series {
    /// How tests name it: `1.6`, `1.7`, `2.x`.
    pub name: &'static str,
    /// What `containerd --version` of this series starts with.
    version: &'static str,
    /// The Debian suites that have it, the preferred one first.
    suites: &'static [&'static str],
}

/// All series that are tested. sid's containerd is built against a libc as old as bookworm's; should that change,
/// testing's is the next best.
pub const ALL: [Series; 3] = [
    Series { name: "1.6", version: "1.6.", suites: &["bookworm"] },
    Series { name: "1.7", version: "1.7.", suites: &["trixie"] },
    Series { name: "2.x", version: "2.", suites: &["sid", "testing"] },
];

/// One unpacked containerd.
#[derive(Clone, Debug)]
pub struct Release {
    /// The series' name, or `own` for that of the machine's own Debian or Ubuntu.
    pub name: String,
    /// As the program says it, such as `1.7.24~ds1`.
    pub version: String,
    /// Holds `containerd`, `ctr` and `containerd-shim-runc-v2`.
    pub bin: PathBuf,
}

impl Release {
    /// The containerd of a series; downloaded once.
    ///
    /// # Errors
    /// If no suite of the series gives a containerd of that series that runs on this machine.
    pub fn of(workspace: &Workspace, series: Series) -> Result<Self> {
        let mut refused = Vec::new();
        for suite in series.suites {
            match Self::from_suite(workspace, series, suite) {
                Ok(release) => return Ok(release),
                Err(error) => refused.push(format!("Debian {suite}: {error:#}")),
            }
        }
        bail!("no containerd {} for this machine. {}", series.name, refused.join(". "))
    }

    /// Finds all of [`ALL`].
    ///
    /// # Errors
    /// As [`Release::of`].
    pub fn all(workspace: &Workspace) -> Result<Vec<Self>> {
        packages::ensure("fetching containerd 1.6, 1.7 and 2.x", &[&packages::RELEASES])?;
        step("containerd 1.6, 1.7 and 2.x, unpacked from Debian's packages, not installed");
        ALL.into_iter().map(|series| Self::of(workspace, series)).collect()
    }

    /// The containerd of the machine's own release: cheapest to get. Not installed either, since that would start
    /// a daemon that nobody asked for.
    ///
    /// # Errors
    /// If apt cannot download it, or it does not run.
    pub fn own(workspace: &Workspace) -> Result<Self> {
        Self::inside(&Unpacked::own(workspace, "containerd")?, "own")
    }

    fn from_suite(workspace: &Workspace, series: Series, suite: &str) -> Result<Self> {
        let release = Self::inside(&Unpacked::of(workspace, "containerd", suite)?, series.name)?;
        if !release.version.starts_with(series.version) {
            bail!("it has moved on to containerd {}", release.version);
        }
        note(format_args!("containerd {} (Debian {suite})", release.version));
        Ok(release)
    }

    fn inside(package: &Unpacked, name: &str) -> Result<Self> {
        let bin = package.bin();
        let said = shell::output(Command::new(bin.join("containerd")).arg("--version"))?;
        let version = version(&said).with_context(|| format!("containerd --version said {said:?}"))?;
        Ok(Self { name: name.to_owned(), version, bin })
    }
}

/// `containerd github.com/containerd/containerd/v2 2.1.9+unknown` holds `2.1.9+unknown`; distributions also write
/// `v1.7.12`.
fn version(said: &str) -> Option<String> {
    let word = said.split_whitespace().nth(2)?;
    Some(word.trim_start_matches('v').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_debian_and_upstream_write_them() {
        let debian = "containerd github.com/containerd/containerd 1.7.24~ds1 1.7.24~ds1-6+deb13u1\n";
        assert_eq!(version(debian).as_deref(), Some("1.7.24~ds1"));
        let sid = "containerd github.com/containerd/containerd/v2 2.1.9+unknown \n";
        assert_eq!(version(sid).as_deref(), Some("2.1.9+unknown"));
        let upstream =
            "containerd github.com/containerd/containerd v1.6.20 2806fc1057397dbaeefbea0e4e17bddfbd388f38";
        assert_eq!(version(upstream).as_deref(), Some("1.6.20"));
        assert_eq!(version("containerd"), None);
    }
}
