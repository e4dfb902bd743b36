//! The whole product on an arm64 node with Xen, see recipes-test/system.

use std::ffi::OsString;

use anyhow::Result;
use micrun_testkit::product::cargo;
use micrun_testkit::{Product, Profile, Workspace, cross, firmware, packages, shell, step};

use super::run_tests;
use crate::privileges::as_root;

/// What runs in the node.
const PROGRAMS: [&str; 2] = ["micrun", "micrun-node-agent"];

pub fn run(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    let needs: [&[packages::Need]; 4] =
        [&packages::DEMO, &packages::CROSS, &packages::NODE, &packages::RELEASES];
    packages::ensure("the system tests", &needs)?;
    let boards = [firmware::OURS_XEN.board, firmware::OURS_XEN_VUART.board];
    Product::build(workspace, Profile::Release, &boards)?;
    cross::build(workspace, Profile::Release, &PROGRAMS)?;
    let mut build = cargo(workspace);
    build.args(["build", "-p", "micrun-system"]);
    step(format_args!("Building the system tests: {}", shell::line(&build)));
    shell::run(&mut build)?;
    let program = workspace.target().join("debug/micrun-system");
    let mut tests = as_root(workspace, program.into_os_string())?;
    tests.args(arguments);
    step("System tests: an arm64 node with Xen, booted in QEMU");
    run_tests(&mut tests)
}
