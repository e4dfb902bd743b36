//! Running programs. Every failure repeats the command line, so that a user can type it again.

use std::ffi::OsStr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};

use anyhow::{Context, Result, bail};

/// The command as a user would type it.
pub fn line(command: &Command) -> String {
    std::iter::once(command.get_program()).chain(command.get_args()).map(quote).collect::<Vec<_>>().join(" ")
}

fn quote(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// How a program ended: `exit status 3` or `signal 9`.
pub fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// Runs it with the user's own stdin, stdout and stderr.
///
/// # Errors
/// If it cannot be started or does not end with status 0.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start `{}`", line(command)))?;
    if !status.success() {
        bail!("`{}` failed with {}", line(command), ending(status));
    }
    Ok(())
}

/// Runs it and shows nothing; what it wrote comes with the error.
///
/// # Errors
/// As [`run`].
pub fn quietly(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

/// Runs it without input and returns its stdout.
///
/// # Errors
/// As [`run`], with what it wrote to stderr, or to stdout when stderr is empty.
pub fn output(command: &mut Command) -> Result<String> {
    let output = capture(command)?;
    if !output.status.success() {
        let said = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
        let said = String::from_utf8_lossy(said);
        bail!("`{}` failed with {}:\n{}", line(command), ending(output.status), said.trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs it without input, whatever its exit status.
///
/// # Errors
/// Only if it cannot be started.
pub fn capture(command: &mut Command) -> Result<Output> {
    command.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{}`", line(command)))
}

/// Looks a program up as a shell would.
pub fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_repeats_the_command_and_what_it_said() {
        let error = output(Command::new("sh").args(["-c", "echo 'no such board' >&2; exit 3"])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`sh -c 'echo '\\''no such board'\\'' >&2; exit 3'` failed with exit status 3:\nno such board"
        );
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(&mut Command::new("micrun-no-such-program")).unwrap_err();
        assert_eq!(error.to_string(), "cannot start `micrun-no-such-program`");
        assert_eq!(which("micrun-no-such-program"), None);
        assert!(which("sh").is_some());
    }
}
