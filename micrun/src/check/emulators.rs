//! The QEMUs of this node.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use micrun_image_spec::firmware::Arch;
use serde::Serialize;

use crate::pedestal::{Node, qemu};

/// An emulator, or the place where there should be one.
#[derive(Clone, Debug, Serialize)]
pub struct Emulator {
    /// The cores that it emulates.
    pub arch: Arch,
    /// Its name.
    pub name: &'static str,
    /// Where it is; `None` where it is not.
    pub program: Option<PathBuf>,
    /// What it says of its version; `None` where it is not there or does not run.
    pub version: Option<String>,
    /// The package of Debian and Ubuntu that has it.
    pub package: &'static str,
}

/// All that boards can need.
pub fn find(node: &Node) -> Vec<Emulator> {
    Arch::ALL.map(|arch| emulator(arch, node)).into()
}

fn emulator(arch: Arch, node: &Node) -> Emulator {
    let name = arch.qemu_program();
    let program = node.find_program(name);
    let version = program.as_deref().and_then(version);
    Emulator { arch, name, program, version, package: qemu::debian_package(arch) }
}

/// The number in `QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)`.
fn version(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output().ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

fn parse_version(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("version ")?;
    rest.split_ascii_whitespace().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_number_alone() {
        let said = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\nCopyright (c) 2003-2022";
        assert_eq!(parse_version(said).as_deref(), Some("7.2.22"));
        assert_eq!(parse_version("something else"), None);
        assert_eq!(parse_version("version "), None);
    }
}
