//! The compiler that our release of OpenEmbedded brings is new enough for us.

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::Workspace;

use super::Check;
use crate::tracked::text;

/// Minor version of the Rust in branch wrynose. Level 2 looks there.
pub const SHIPPED: u32 = 94;

pub fn checks() -> Vec<Check> {
    vec![Check { name: "compiler: the release's own Rust can build us", run: wanted }]
}

fn wanted(workspace: &Workspace) -> Result<()> {
    let manifest = text(workspace, "Cargo.toml")?;
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = \"1."));
    let minor =
        version.and_then(|rest| rest.split(['"', '.']).next()).context("no rust-version in Cargo.toml")?;
    let minor: u32 = minor.parse().with_context(|| format!("rust-version is 1.{minor}"))?;
    ensure!(minor <= SHIPPED, "Cargo.toml asks for Rust 1.{minor}; the release's layers have 1.{SHIPPED}");
    Ok(())
}
