//! The files of the repository, as git knows them.

use std::process::Command;

use anyhow::{Context as _, Result};
use micrun_testkit::{Workspace, shell};
use serde::de::DeserializeOwned;

/// All of them, relative to the workspace. What nobody has added yet is not among them.
pub fn tracked(workspace: &Workspace) -> Result<Vec<String>> {
    let mut git = Command::new("git");
    let files = shell::output(git.arg("-C").arg(workspace.root()).args(["ls-files", "-z"]))?;
    Ok(files.split_terminator('\0').map(str::to_owned).collect())
}

/// One of them, as text.
pub fn text(workspace: &Workspace, file: &str) -> Result<String> {
    std::fs::read_to_string(workspace.root().join(file)).with_context(|| format!("cannot read {file}"))
}

/// One of them, as YAML.
pub fn yaml<T: DeserializeOwned>(workspace: &Workspace, file: &str) -> Result<T> {
    serde_yaml::from_str(&text(workspace, file)?).with_context(|| format!("{file} is no YAML of its kind"))
}
