//! The whole product on an arm64 node with Xen, see recipes-test/system.

use std::ffi::OsString;
use std::process::Command;

use anyhow::Result;
use micrun_testkit::{Product, Profile, Workspace, cross, firmware, packages, shell, step};

use super::{build, run_tests};
use crate::privileges::as_root;

/// What runs in the node.
const PROGRAMS: [&str; 4] = ["micrun", "micrun-cli", "micad-sim", "micrun-node-agent"];

/// Builds everything and runs the trials.
pub fn run(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    let mut tests = prepare(workspace)?;
    tests.args(arguments);
    step("System tests: an arm64 node with Xen, booted in QEMU");
    run_tests(&mut tests)
}

/// `cargo xtask node`: the same node, for somebody who wants to look around.
pub fn shell(workspace: &Workspace) -> Result<()> {
    let mut node = prepare(workspace)?;
    step("An arm64 node with Xen, booted in QEMU; nothing of it stays");
    shell::run(node.arg("--shell"))
}

fn prepare(workspace: &Workspace) -> Result<Command> {
    let needs: [&[packages::Need]; 5] =
        [&packages::DEMO, &packages::CROSS, &packages::NODE, &packages::SLOTS, &packages::RELEASES];
    packages::ensure("the system tests", &needs)?;
    let boards = [firmware::OURS_XEN.board, firmware::OURS_XEN_VUART.board];
    Product::build(workspace, Profile::Release, &boards)?;
    cross::build(workspace, Profile::Release, &PROGRAMS)?;
    as_root(workspace, build(workspace, "micrun-system", "the system tests")?.into_os_string())
}
