//! Programs that bitbake's user finds before those of the machine: a Rust for both kinds of machines.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use micrun_testkit::product::cargo;
use micrun_testkit::{Workspace, crates as lock, cross, shell};

/// Fills the folder.
pub fn fill(workspace: &Workspace, folder: &Path) -> Result<()> {
    // Not the link that rustup leaves: its target may be in a home where nobody else may look.
    put(&real_cargo()?, &folder.join("cargo"))?;
    // Called through links, where it would not find what is beside it.
    let rustc = cross::compiler(workspace)?;
    script(&folder.join("rustc"), &format!("exec '{}' \"$@\"", rustc.display()))?;
    // The name that OpenEmbedded gives its own.
    script(&folder.join("nativepython3"), "exec /usr/bin/python3 \"$@\"")
}

/// Puts the crates of Cargo.lock where bitbake keeps its downloads, under the names that it gives them: cargo knows how
/// to reach the registry from here, through a mirror or not. bitbake checks their digests.
pub fn crates(workspace: &Workspace, downloads: &Path) -> Result<()> {
    let mut fetch = cargo(workspace);
    shell::quietly(fetch.args(["fetch", "--locked"])).context("cannot fetch the crates of Cargo.lock")?;
    let registries = cargo_home()?.join("registry/cache");
    let looking = || format!("cannot look for crates in {}", registries.display());
    let registries: Vec<PathBuf> = registries
        .read_dir()
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .with_context(looking)?;
    for wanted in lock::list(workspace)? {
        let name = format!("{}-{}.crate", wanted.name, wanted.version);
        let to = downloads.join(&name);
        if !to.exists() {
            let from = registries.iter().map(|registry| registry.join(&name)).find(|file| file.is_file());
            put(&from.with_context(|| format!("`cargo fetch` left no {name}"))?, &to)?;
        }
    }
    Ok(())
}

fn cargo_home() -> Result<PathBuf> {
    if let Some(home) = std::env::var_os("CARGO_HOME") {
        return Ok(home.into());
    }
    let home = std::env::var_os("HOME").context("HOME is not set, so cargo's folder cannot be found")?;
    Ok(Path::new(&home).join(".cargo"))
}

fn real_cargo() -> Result<PathBuf> {
    // Cargo tells those that it starts, such as this program, where it is itself.
    if let Some(cargo) = std::env::var_os("CARGO") {
        return Ok(cargo.into());
    }
    match shell::output(Command::new("rustup").args(["which", "cargo"])) {
        Ok(path) => Ok(path.trim().into()),
        Err(_) => shell::which("cargo").context("there is no cargo in PATH"),
    }
}

fn put(from: &Path, to: &Path) -> Result<()> {
    let part = to.with_extension("part");
    fs::copy(from, &part)
        .and_then(|_| fs::rename(&part, to))
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

fn script(path: &Path, line: &str) -> Result<()> {
    fs::write(path, format!("#!/bin/sh\n{line}\n"))
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("cannot write {}", path.display()))
}
