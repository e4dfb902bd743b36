//! Spelling, with typos.

use std::process::Command;

use anyhow::Result;
use micrun_testkit::Workspace;

use super::lint::check;
use super::wheel;

pub fn run(workspace: &Workspace) -> Result<()> {
    let program = wheel::TYPOS.ensure(workspace)?;
    check(Command::new(program).current_dir(workspace.root()), "mend the word, or explain it in _typos.toml")
}
