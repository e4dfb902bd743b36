//! The whole product on an arm64 node with Xen, see recipes-test/system.

use std::ffi::OsString;

use anyhow::Result;
use micrun_testkit::{Profile, Workspace, cross};

/// What runs in the node.
const PROGRAMS: [&str; 2] = ["micrun", "micrun-node-agent"];

pub fn run(workspace: &Workspace, _arguments: &[OsString]) -> Result<()> {
    cross::build(workspace, Profile::Release, &PROGRAMS).map(drop)
}
