//! What the tests share: an ELF file made to order, and the command.
#![allow(dead_code, unused_imports, reason = "each test file uses its part")]

use std::path::PathBuf;
use std::process::{Command, Output};

use micrun_image_builder::check::{Code, Report, examine};

pub mod layout;
#[path = "../../../crates/firmware-elf/tests/support/test_elf.rs"]
mod test_elf;
pub use test_elf::*;

/// The codes of all errors in a file.
pub fn errors(bytes: &[u8]) -> Vec<Code> {
    let mut report = Report::default();
    examine(&bytes, &mut report);
    let errors = report.iter().filter(|f| f.severity == micrun_image_builder::check::Severity::Error);
    errors.map(|finding| finding.code).collect()
}

/// Firmware that anyone can install.
pub fn debian_firmware(path: &str) -> PathBuf {
    let path = PathBuf::from(path);
    assert!(path.exists(), "{} is missing: install u-boot-qemu opensbi", path.display());
    path
}

/// The command under test, without anything from this machine's environment that would change its output.
pub fn builder() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_micrun-image-builder"));
    command.env_remove("SOURCE_DATE_EPOCH");
    command
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a tool of the machine and gives what it prints; it has to be there and has to succeed.
pub fn tool(package: &str, command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}: install {package}"));
    assert!(output.status.success(), "{command:?}: {}", stderr(&output));
    stdout(&output)
}
