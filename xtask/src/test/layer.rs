//! The Yocto layer and the kas files, see recipes-test/layer.

use std::ffi::OsString;
use std::process::Command;

use anyhow::Result;
use micrun_testkit::{Workspace, step};

use super::{build, run_tests};

/// Builds the tests and runs them, as whoever calls: bitbake refuses to run as root and looks for another user itself.
pub fn run(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    let mut tests = Command::new(build(workspace, "micrun-layer", "the tests of the layer")?);
    tests.args(arguments);
    step("Tests of the Yocto layer: level 1, and level 2 where clones of the other layers are at hand");
    run_tests(&mut tests)
}
