//! The schema of SARIF, out of a crate that carries it. It is not ours to keep a copy of.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use micrun_testkit::{Workspace, shell, step};
use serde_json::Value;

const CRATE: &str = "serde-sarif";
/// Pinned: a new one must not fail an old commit.
const VERSION: &str = "0.8.0";
const SCHEMA: &str = "src/schema.json";

/// The schema's path; fetched once.
pub fn sarif(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.kit("tools")?.join(format!("{CRATE}-{VERSION}"));
    let schema = folder.join("sarif-2.1.0.json");
    if !schema.is_file() {
        step(format_args!(
            "Fetching the schema of SARIF (crate {CRATE} {VERSION}, into {})",
            folder.display()
        ));
        let fetched = crate_folder(&folder)?.join(SCHEMA);
        fs::copy(&fetched, &schema).with_context(|| format!("cannot copy {}", fetched.display()))?;
    }
    Ok(schema)
}

/// Has cargo fetch the crate, for a package that depends on it and on nothing else.
fn crate_folder(folder: &Path) -> Result<PathBuf> {
    fs::create_dir_all(folder.join("src"))?;
    fs::write(folder.join("src/lib.rs"), "")?;
    let manifest = folder.join("Cargo.toml");
    let package = "[package]\nname = \"schema\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n";
    fs::write(&manifest, format!("{package}[dependencies]\n{CRATE} = \"={VERSION}\"\n"))?;
    let mut metadata = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    metadata.args(["metadata", "--format-version", "1", "--manifest-path"]).arg(&manifest);
    let metadata: Value = serde_json::from_str(&shell::output(&mut metadata)?)?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let found = packages
        .filter(|package| package["name"] == CRATE)
        .find_map(|package| package["manifest_path"].as_str());
    let found = found.with_context(|| format!("cargo metadata does not name {CRATE}"))?;
    Path::new(found).parent().map(Path::to_owned).context("a manifest lies in a folder")
}
