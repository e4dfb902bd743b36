//! `kas dump`: files merged with what they include and with their locks. kas holds each of them against its own schema first.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use micrun_testkit::{Workspace, packages, shell, wheel};
use serde_json::Value;
use tempfile::TempDir;

/// kas, and a folder for what it writes.
pub struct Resolver {
    program: PathBuf,
    work: TempDir,
}

impl Resolver {
    /// Fetches kas if it must.
    pub fn new(workspace: &Workspace) -> Result<Self> {
        packages::ensure("kas", &[&packages::WHEELS, &packages::KAS])?;
        let work = tempfile::tempdir().context("cannot make a temporary folder")?;
        Ok(Self { program: wheel::KAS.ensure(workspace)?, work })
    }

    /// What these files, joined with colons, come to. They are relative to `folder`. Nothing is fetched: the repositories need not be
    /// there, except those that files are included from.
    pub fn resolve(&self, folder: &Path, files: &str) -> Result<Value> {
        let mut kas = Command::new(&self.program);
        kas.current_dir(folder).env("KAS_WORK_DIR", self.work.path());
        kas.args(["--no-color", "dump", "--format", "json"]);
        kas.args(["--skip", "finish_setup_repos", "--skip", "repos_checkout", files]);
        let output = shell::capture(&mut kas)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {}", shell::line(&kas), said.trim());
        if let Some(line) = said.lines().find(|line| line.contains(" WARNING ") || line.contains(" ERROR ")) {
            bail!("{}: {line}", shell::line(&kas));
        }
        serde_json::from_slice(&output.stdout).with_context(|| format!("{} wrote no JSON", shell::line(&kas)))
    }
}
