//! What bitbake says.
//!
//! - [`bitbake`]: how it is run here: as whom, with which configuration, with which compilers
//! - [`build`]: real builds of our recipes
//! - [`environment`]: that this works at all

mod bitbake;
mod build;
mod environment;

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
    let mut all = environment::checks();
    all.extend(build::checks());
    all
}
