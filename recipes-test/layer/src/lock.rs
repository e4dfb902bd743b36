//! The crates that Cargo.lock names.

use anyhow::{Context as _, Result};
use micrun_testkit::Workspace;
use serde::Deserialize;

/// A crate of the registry.
#[derive(Debug, Deserialize)]
pub struct Crate {
    pub name: String,
    pub version: String,
    /// SHA-256; those of this repository have none.
    pub checksum: Option<String>,
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Crate>,
}

/// All that come from the registry: bitbake fetches them, the others are in this repository.
///
/// # Errors
/// If Cargo.lock is missing or damaged.
pub fn crates(workspace: &Workspace) -> Result<Vec<Crate>> {
    let path = workspace.root().join("Cargo.lock");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let lock: Lock = toml::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?;
    Ok(lock.package.into_iter().filter(|one| one.checksum.is_some()).collect())
}
