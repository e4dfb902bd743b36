//! What package registries are enough for.
//!
//! - [`crates`]: the recipes' list of crates against Cargo.lock
//! - [`devicetree`]: overlays: dtc, and the tree of the board they are for

mod crates;
mod devicetree;

use anyhow::Result;
use micrun_testkit::Workspace;

/// A check of the files as they are.
pub struct Check {
    pub name: &'static str,
    pub run: fn(&Workspace) -> Result<()>,
}

/// All of them.
pub fn checks() -> Vec<Check> {
    [crates::checks(), devicetree::checks()].into_iter().flatten().collect()
}
