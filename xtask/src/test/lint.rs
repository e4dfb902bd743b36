//! Formatting, clippy, spelling, dependencies, shell scripts, systemd's units, Kubernetes' YAML.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use micrun_testkit::product::cargo;
use micrun_testkit::{Workspace, note, packages, shell, step};

use super::{kubernetes, spelling, units};

/// cargo-deny's version. No registry that we use has it built, so cargo builds it, once.
const CARGO_DENY: &str = "0.20.2";

pub fn run(workspace: &Workspace) -> Result<()> {
    packages::ensure("the lints", &[&packages::LINT, &packages::WHEELS, &packages::RELEASES])?;
    check(cargo(workspace).args(["fmt", "--all", "--check"]), "`cargo fmt --all` mends it")?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    check(cargo(workspace).args(clippy), "the lines above say how")?;
    let clippy = ["clippy", "-p", "micrun", "--features", "crash-points", "--", "-D", "warnings"];
    check(cargo(workspace).args(clippy), "the lines above say how")?;
    spelling::run(workspace)?;
    shellcheck(workspace)?;
    units::run(workspace)?;
    kubernetes::run(workspace)?;
    deny(workspace)
}

/// Runs one tool; `remedy` says what to do about a finding.
pub fn check(command: &mut Command, remedy: &str) -> Result<()> {
    step(shell::line(command));
    shell::run(command).with_context(|| remedy.to_owned())
}

/// Every file that git knows, relative to the workspace.
pub fn tracked(workspace: &Workspace) -> Result<Vec<String>> {
    let mut git = Command::new("git");
    let files = shell::output(git.arg("-C").arg(workspace.root()).args(["ls-files", "-z"]))?;
    Ok(files.split_terminator('\0').map(str::to_owned).collect())
}

/// Every tracked shell script, told by its first line.
fn shellcheck(workspace: &Workspace) -> Result<()> {
    let is_script = |file: &String| {
        let text = std::fs::read(workspace.root().join(file)).unwrap_or_default();
        let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        first.starts_with(b"#!") && (first.ends_with(b"bash") || first.ends_with(b"sh"))
    };
    let scripts: Vec<String> = tracked(workspace)?.into_iter().filter(is_script).collect();
    if scripts.is_empty() {
        note("no shell scripts to check");
        return Ok(());
    }
    check(
        Command::new("shellcheck").current_dir(workspace.root()).args(scripts),
        "the wiki pages named above say how to mend it",
    )
}

/// Licences, sources and duplicates of dependencies; advisories too where their database can be fetched.
fn deny(workspace: &Workspace) -> Result<()> {
    let tool = cargo_deny(workspace)?;
    let deny = |checks: &[&str]| {
        let mut command = Command::new(&tool);
        command.current_dir(workspace.root()).args(["deny", "--log-level", "warn", "check"]).args(checks);
        command
    };
    check(&mut deny(&["bans", "licenses", "sources"]), "deny.toml says what is allowed and why")?;
    let mut fetch = Command::new(&tool);
    fetch.current_dir(workspace.root()).args(["deny", "fetch", "db"]);
    match shell::quietly(&mut fetch) {
        Ok(()) => check(&mut deny(&["advisories", "--disable-fetch"]), "update the crate that is named"),
        Err(_) => {
            note("NOT CHECKED: security advisories. Their database cannot be fetched from this machine");
            Ok(())
        }
    }
}

/// The program, from PATH if somebody has installed it there.
fn cargo_deny(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(installed) = shell::which("cargo-deny") {
        return Ok(installed);
    }
    let root = workspace.kit("tools")?;
    let tool = root.join("bin/cargo-deny");
    if !tool.is_file() {
        let mut install = cargo(workspace);
        install.args(["install", "--locked", "--debug", "--version", CARGO_DENY, "--root"]).arg(&root);
        install.arg("cargo-deny").env("CARGO_TARGET_DIR", root.join("build"));
        step(format_args!("Building cargo-deny {CARGO_DENY}, once (about a minute)"));
        shell::quietly(&mut install)?;
        // Only the program is of use; what it was built from takes a gigabyte.
        std::fs::remove_dir_all(root.join("build")).context("cannot remove cargo-deny's build folder")?;
    }
    Ok(tool)
}
