//! The Yocto layer and the kas files, see recipes-test/layer.

use std::ffi::OsString;
use std::process::Command;

use anyhow::Result;
use micrun_testkit::product::cargo;
use micrun_testkit::{Workspace, shell, step};

use super::run_tests;

/// Builds the tests and runs them, as whoever calls: bitbake refuses to run as root and looks for another user itself.
pub fn run(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    let mut build = cargo(workspace);
    build.args(["build", "-p", "micrun-layer"]);
    step(format_args!("Building the tests of the layer: {}", shell::line(&build)));
    shell::run(&mut build)?;
    let mut tests = Command::new(workspace.target().join("debug/micrun-layer"));
    tests.args(arguments);
    step("Tests of the Yocto layer: level 1, and level 2 where clones of the other layers are at hand");
    run_tests(&mut tests)
}
