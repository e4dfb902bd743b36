//! Builds run as the user, guests as root: what was prepared is handed to a second run of this program, under sudo.

use std::ffi::OsString;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use micrun_testkit::{Workspace, packages, shell, step};

/// Set for the second run: everything is built and installed.
const PREPARED: &str = "MICRUN_XTASK_PREPARED";

/// Names clones of OpenEmbedded's layers, for tests that can make use of them.
const LAYERS: &str = "MICRUN_OE_LAYERS";

/// Does `prepare` as the user and `job` as root. Without root, sudo runs this program again with the same arguments
/// for the second half.
///
/// # Errors
/// Those of either half, or if there is no way to become root.
pub fn prepare_then_as_root(
    workspace: &Workspace,
    prepare: impl FnOnce() -> Result<()>,
    job: impl FnOnce() -> Result<()>,
) -> Result<()> {
    if std::env::var_os(PREPARED).is_none() {
        prepare()?;
    }
    if packages::is_root() {
        return job();
    }
    let program = std::env::current_exe().context("cannot find this program's own path")?;
    let mut again = as_root(workspace, program.into_os_string())?;
    again.args(std::env::args_os().skip(1));
    step("Guests and containerd need root: continuing under sudo");
    shell::run(&mut again)
}

/// A command that runs `program` as root, and finds the workspace there.
///
/// # Errors
/// If this is not root and there is no sudo.
pub fn as_root(workspace: &Workspace, program: OsString) -> Result<Command> {
    let mut command = if packages::is_root() {
        Command::new("env")
    } else {
        let Some(sudo) = shell::which("sudo") else {
            bail!("this needs root, and there is no sudo: run it as root");
        };
        let mut command = Command::new(sudo);
        command.arg("env");
        command
    };
    let mut set = |name: &str, value: OsString| {
        let mut pair = OsString::from(format!("{name}="));
        pair.push(value);
        command.arg(pair);
    };
    set(PREPARED, "1".into());
    set("CARGO_TARGET_DIR", workspace.target().into());
    set("PATH", std::env::var_os("PATH").unwrap_or_default());
    if let Some(clones) = std::env::var_os(LAYERS) {
        set(LAYERS, clones);
    }
    command.arg(program);
    Ok(command)
}
