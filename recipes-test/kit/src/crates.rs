//! The crates of Cargo.lock, as the recipes of the layer name them: bitbake fetches each by itself, before cargo runs
//! without a network.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::Workspace;

/// What writes [`path`] again.
pub const COMMAND: &str = "cargo xtask crates";

/// A crate of the registry.
#[derive(Debug)]
pub struct Crate {
    /// As in Cargo.toml.
    pub name: String,
    /// The one that Cargo.lock holds it at.
    pub version: String,
    /// SHA-256 of its archive.
    pub checksum: String,
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    /// Those of this repository have none.
    checksum: Option<String>,
}

/// The file of the layer that lists them.
pub fn path(workspace: &Workspace) -> PathBuf {
    workspace.root().join("meta-micrun/recipes-containers/micrun/micrun-crates.inc")
}

/// All that come from the registry. Cargo wants those of tests and of other systems, too, before it builds anything
/// with `--frozen`.
///
/// # Errors
/// If Cargo.lock is missing or damaged.
pub fn list(workspace: &Workspace) -> Result<Vec<Crate>> {
    let path = workspace.root().join("Cargo.lock");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let lock: Lock = toml::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?;
    let of_registry = |package: Package| {
        let Package { name, version, checksum } = package;
        Some(Crate { name, version, checksum: checksum? })
    };
    Ok(lock.package.into_iter().filter_map(of_registry).collect())
}

/// What belongs into [`path`].
///
/// # Errors
/// As [`list`].
pub fn text(workspace: &Workspace) -> Result<String> {
    Ok(render(&list(workspace)?))
}

fn render(crates: &[Crate]) -> String {
    let mut text =
        format!("# SPDX-License-Identifier: MulanPSL-2.0\n# Written by '{COMMAND}' from Cargo.lock.\n");
    text.push_str("SRC_URI += \" \\\n");
    for Crate { name, version, .. } in crates {
        let _ = writeln!(text, "    crate://crates.io/{name}/{version} \\");
    }
    text.push_str("\"\n\n");
    for Crate { name, version, checksum } in crates {
        let _ = writeln!(text, "SRC_URI[{name}-{version}.sha256sum] = \"{checksum}\"");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_crate_has_an_address_and_a_digest() {
        let one = Crate { name: "tar".to_owned(), version: "0.4.1".to_owned(), checksum: "ab".to_owned() };
        let text = render(&[one]);
        assert!(text.contains("\n    crate://crates.io/tar/0.4.1 \\\n\"\n"), "{text}");
        assert!(text.ends_with("\nSRC_URI[tar-0.4.1.sha256sum] = \"ab\"\n"), "{text}");
    }

    #[test]
    fn what_is_in_this_repository_is_not_fetched() {
        let crates = list(&Workspace::find().unwrap()).unwrap();
        assert!(crates.iter().any(|one| one.name == "tokio"));
        assert!(!crates.iter().any(|one| one.name == "micrun" || one.name == "libmica"));
    }
}
