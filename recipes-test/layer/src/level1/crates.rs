//! The list of crates that the recipes fetch is the one of Cargo.lock.

use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use micrun_testkit::{Workspace, crates, note, shell};

use super::Check;

pub fn checks() -> Vec<Check> {
    vec![
        Check { name: "the recipes fetch the crates of Cargo.lock", run: list },
        Check { name: "there is one Cargo.lock", run: one },
        Check { name: "the release has the crates that its recipes fetch", run: released },
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
    let found = shell::output(git(workspace).args(["ls-files", "*Cargo.lock"]))?;
    ensure!(found.trim() == "Cargo.lock", "there should be one Cargo.lock, at the top: {found}");
    Ok(())
}

/// All recipes build the same commit, and the list of crates is the one of that commit: cargo has no network there.
fn released(workspace: &Workspace) -> Result<()> {
    let lines = shell::output(git(workspace).args(["grep", "-h", "^SRCREV = ", "--", "*.bb"]))?;
    let mut commits: Vec<&str> = lines.lines().filter_map(|line| line.split('"').nth(1)).collect();
    commits.sort_unstable();
    commits.dedup();
    let [commit] = commits[..] else { bail!("the recipes should build one commit, not {commits:?}") };
    let lock = format!("{commit}:Cargo.lock");
    let there = match shell::output(git(workspace).args(["show", &lock])) {
        Ok(there) => there,
        Err(_) if is_shallow(workspace)? => {
            note(format_args!(
                "NOT CHECKED: the crates of release {commit}, which this shallow clone has not"
            ));
            return Ok(());
        }
        Err(error) => return Err(error.context("SRCREV of the recipes is no commit of this repository")),
    };
    let now =
        std::fs::read_to_string(workspace.root().join("Cargo.lock")).context("cannot read Cargo.lock")?;
    ensure!(
        there == now,
        "Cargo.lock has changed since {commit}, so the release would miss crates: name a later commit as SRCREV"
    );
    Ok(())
}

fn is_shallow(workspace: &Workspace) -> Result<bool> {
    Ok(shell::output(git(workspace).args(["rev-parse", "--is-shallow-repository"]))?.trim() == "true")
}

fn git(workspace: &Workspace) -> Command {
    let mut git = Command::new("git");
    git.args(["-c", "safe.directory=*", "-C"]).arg(workspace.root());
    git
}
