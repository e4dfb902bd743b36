//! The example of a product's own repository, as somebody has it who copied it elsewhere.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::{Workspace, shell};

use super::Resolver;
use crate::level1::Check;

/// The example.
const FOLDER: &str = "kas/examples/product";

pub fn checks() -> Vec<Check> {
    vec![Check { name: "kas: a product's own repository includes ours and has the last word", run: product }]
}

fn product(workspace: &Workspace) -> Result<()> {
    let elsewhere = tempfile::tempdir().context("cannot make a temporary folder")?;
    let files = copy(workspace, elsewhere.path(), workspace.root())?;
    let config = Resolver::new(workspace)?.resolve(elsewhere.path(), &files)?;
    ensure!(config["distro"] == "gateway", "its distro is {}", config["distro"]);
    ensure!(config["target"][0] == "gateway-image", "it builds {}", config["target"]);
    ensure!(config["machine"] == "qemuarm64", "our board is lost: its machine is {}", config["machine"]);
    let repos = &config["repos"];
    ensure!(repos["gateway"]["layers"].get("meta-gateway").is_some(), "its own layer is not used: {repos}");
    ensure!(repos["micrun"]["layers"].get("meta-micrun").is_some(), "our layer is not used: {repos}");
    let locked = &config["overrides"]["repos"]["openembedded-core"]["commit"];
    ensure!(locked.is_string(), "our lock does not hold for it: {}", config["overrides"]);
    Ok(())
}

/// Copies the example, and takes our files from this clone or a copy of it instead of from its server. Returns what kas is given.
pub fn copy(workspace: &Workspace, folder: &Path, ours: &Path) -> Result<String> {
    shell::quietly(Command::new("cp").arg("-rT").arg(workspace.root().join(FOLDER)).arg(folder))?;
    let ours = ours.display();
    let local = format!("header: {{version: 14}}\nrepos: {{micrun: {{url: null, path: \"{ours}\"}}}}\n");
    std::fs::write(folder.join("local.yml"), local).context("cannot write local.yml")?;
    Ok("kas.yml:local.yml".to_owned())
}
