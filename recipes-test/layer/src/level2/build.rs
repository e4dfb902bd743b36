//! Our recipes, built for real: by their tasks, with their checks, from this clone and from a release's tag.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::{Workspace, shell};

use super::Check;
use super::bitbake::{Bitbake, Kind};
use crate::clones::Clones;

/// One build directory for both kinds of machines: manual pages are written by what runs during the build.
const DIRECTORY: &str = "recipes";

/// As a product would switch it on, see meta-micrun/README.md.
const DEVELOPMENT: &str = "require conf/include/micrun-development.inc";

/// As `api-documentation` in DISTRO_FEATURES would, without the index of all pages, which QEMU makes.
const MANUAL: &str = "PACKAGECONFIG:append:pn-micrun = \" manpages\"\n\
                      PACKAGECONFIG:append:pn-micrun-image-builder = \" manpages\"";

pub fn checks() -> Vec<Check> {
    vec![
        Check { name: "recipes build for this machine, and what they give runs", run: native },
        Check { name: "recipes build for arm64, through the checks of packages", run: arm64 },
        Check { name: "a release builds from its tag", run: release },
    ]
}

/// Where the packages for arm64 are after [`arm64`].
pub fn packages(workspace: &Workspace, clones: &Clones) -> Result<PathBuf> {
    let bitbake = development(workspace, clones)?;
    bitbake.run(&["micrun", "micrun-guests", "micrun-image-builder"])?;
    Ok(bitbake.dir().join("tmp/deploy/deb"))
}

/// A build of this clone, as it is.
pub fn development(workspace: &Workspace, clones: &Clones) -> Result<Bitbake> {
    Ok(Bitbake::new(workspace, clones, DIRECTORY, Kind::Aarch64)?.set(DEVELOPMENT).set(MANUAL))
}

fn native(workspace: &Workspace, clones: &Clones) -> Result<()> {
    let bitbake = development(workspace, clones)?;
    bitbake.run(&["micrun-image-builder-native", "micrun-native"])?;
    for program in ["micrun-image-builder", "micrun"] {
        runs(&bitbake, program)?;
    }
    Ok(())
}

fn arm64(workspace: &Workspace, clones: &Clones) -> Result<()> {
    packages(workspace, clones).map(drop)
}

/// The release is not out while it is worked on: its tag is made in the copy of this clone, which git is told to take
/// in place of the project's server.
pub fn from_tag(bitbake: Bitbake) -> Result<Bitbake> {
    let commit = bitbake.tag(&format!("v{}", env!("CARGO_PKG_VERSION")))?;
    let source = bitbake.product();
    Ok(bitbake
        .set(&format!("SRCREV:pn-micrun-image-builder-native = \"{commit}\""))
        .set(&format!("MICRUN_GIT = \"git://{};protocol=file\"", source.display())))
}

fn release(workspace: &Workspace, clones: &Clones) -> Result<()> {
    let bitbake = from_tag(Bitbake::new(workspace, clones, "release", Kind::Native)?)?;
    bitbake.run(&["micrun-image-builder-native"])?;
    runs(&bitbake, "micrun-image-builder")
}

/// The program that a native build left for others.
fn runs(bitbake: &Bitbake, program: &str) -> Result<()> {
    let said = bitbake.run(&["-e", &format!("{program}-native")])?;
    let sysroot = said.text.lines().find_map(|line| line.strip_prefix("COMPONENTS_DIR=\""));
    let sysroot = sysroot.context("bitbake does not tell of COMPONENTS_DIR")?.trim_end_matches('"');
    let path = PathBuf::from(sysroot).join(format!("x86_64/{program}-native/usr/bin/{program}"));
    let version = shell::output(Command::new(&path).arg("--version"))?;
    let expected = format!("{program} {}", env!("CARGO_PKG_VERSION"));
    ensure!(version.trim() == expected, "{} says {version}, not {expected}", path.display());
    Ok(())
}
