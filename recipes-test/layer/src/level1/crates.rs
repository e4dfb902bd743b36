//! The list of crates that the recipes fetch is the one of Cargo.lock.

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::{Workspace, crates};

use super::Check;

pub fn checks() -> Vec<Check> {
    vec![
        Check { name: "the recipes fetch the crates of Cargo.lock", run: list },
        Check { name: "there is one Cargo.lock", run: one },
    ]
}

fn list(workspace: &Workspace) -> Result<()> {
    let path = crates::path(workspace);
    let there = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(
        there == crates::text(workspace)?,
        "{} is not what Cargo.lock says; this mends it: {}",
        path.display(),
        crates::COMMAND
    );
    Ok(())
}

/// A second one would be read, too, by those who update recipes with OpenEmbedded's own task, and it would be of
/// another build than the one that the recipes run.
fn one(workspace: &Workspace) -> Result<()> {
    let mut list = std::process::Command::new("git");
    list.args(["-c", "safe.directory=*", "-C"]).arg(workspace.root()).args(["ls-files", "*Cargo.lock"]);
    let found = micrun_testkit::shell::output(&mut list)?;
    ensure!(found.trim() == "Cargo.lock", "there should be one Cargo.lock, at the top: {found}");
    Ok(())
}
