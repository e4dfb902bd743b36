//! What bitbake says.

use anyhow::Result;
use micrun_testkit::Workspace;

use crate::clones::Clones;

/// A check that runs bitbake.
pub struct Check {
    pub name: &'static str,
    pub run: fn(&Workspace, &Clones) -> Result<()>,
}

/// All of them.
pub fn checks() -> Vec<Check> {
    Vec::new()
}
