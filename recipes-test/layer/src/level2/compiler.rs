//! What level 1 believes about the release's compiler, against the recipe that builds it.

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::{Workspace, note};

use super::Check;
use crate::clones::Clones;
use crate::level1::compiler::SHIPPED;

pub fn checks() -> Vec<Check> {
    vec![Check { name: "compiler: the clones have the Rust that level 1 compares with", run: shipped }]
}

fn shipped(_workspace: &Workspace, clones: &Clones) -> Result<()> {
    let folder = clones.layer("openembedded-core").join("meta/recipes-devtools/rust");
    let looking = || format!("cannot look into {}", folder.display());
    let mut versions = Vec::new();
    for entry in folder.read_dir().with_context(looking)? {
        let name = entry.with_context(looking)?.file_name().to_string_lossy().into_owned();
        let version = name.strip_prefix("rust_").and_then(|name| name.strip_suffix(".bb"));
        versions.extend(version.map(str::to_owned));
    }
    note(format_args!("rust {}", versions.join(", ")));
    let minor = |version: &str| version.split('.').nth(1)?.parse().ok();
    ensure!(
        versions.len() == 1 && minor(&versions[0]) == Some(SHIPPED),
        "the clones have Rust {versions:?}, and level 1 says 1.{SHIPPED}: see level1/compiler.rs"
    );
    Ok(())
}
