//! The list of crates that the recipes of meta-micrun fetch.

use anyhow::{Context as _, Result};
use micrun_testkit::{Workspace, crates, step};

/// Writes it from Cargo.lock. `cargo xtask test layer` fails when that was forgotten.
pub fn write(workspace: &Workspace) -> Result<()> {
    let path = crates::path(workspace);
    std::fs::write(&path, crates::text(workspace)?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    step(format_args!("Wrote {}", path.display()));
    Ok(())
}
