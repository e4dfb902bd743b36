//! Spelling, with typos: a wheel on the Python package index holds the program.

use std::process::Command;

use anyhow::Result;
use micrun_testkit::{Workspace, shell, step};

use super::lint::check;

/// Pinned: a new word list must not fail an old commit.
const TYPOS: &str = "1.52.0";

pub fn run(workspace: &Workspace) -> Result<()> {
    let venv = workspace.kit("tools")?.join(format!("typos-{TYPOS}"));
    let program = venv.join("bin/typos");
    if !program.is_file() {
        step(format_args!("Fetching typos {TYPOS} (a wheel, into {})", venv.display()));
        shell::quietly(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        let mut pip = Command::new(venv.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]);
        shell::quietly(pip.arg(format!("typos=={TYPOS}")))?;
    }
    check(Command::new(program).current_dir(workspace.root()), "mend the word, or explain it in _typos.toml")
}
