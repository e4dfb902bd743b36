//! Programs from the Python package index, each in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Workspace, shell, step};
use anyhow::Result;

/// A package and its version. Pinned: a new one must not fail an old commit.
#[derive(Debug)]
pub struct Wheel {
    /// Its name in the index.
    pub package: &'static str,
    /// Of the package; what it depends on is as new as it allows.
    pub version: &'static str,
    /// The program that it brings.
    pub program: &'static str,
    /// What it needs that is there as source only, in pure Python.
    sources: &'static str,
}

/// Looks for misspelt words.
pub const TYPOS: Wheel = Wheel { package: "typos", version: "1.52.0", program: "typos", sources: "" };
/// Checks and converts SPDX documents; its makers are those of SPDX.
pub const SPDX: Wheel =
    Wheel { package: "spdx-tools", version: "0.8.3", program: "pyspdxtools", sources: "" };
/// Zephyr's meta-tool: runs the command that we offer to firmware projects.
pub const WEST: Wheel = Wheel { package: "west", version: "1.5.0", program: "west", sources: "docopt" };
/// Validates documents against a JSON schema.
pub const JSON_SCHEMA: Wheel =
    Wheel { package: "check-jsonschema", version: "0.39.0", program: "check-jsonschema", sources: "" };
/// Reads and resolves the build descriptions in `kas/`, and runs bitbake as they say.
pub const KAS: Wheel = Wheel { package: "kas", version: "5.5", program: "kas", sources: "" };
/// Looks at recipes as OpenEmbedded's style guide does.
pub const OELINT: Wheel =
    Wheel { package: "oelint-adv", version: "9.11.2", program: "oelint-adv", sources: "" };

/// Validates Kubernetes objects, and carries the schemas of its releases.
pub const KUBERNETES: Wheel =
    Wheel { package: "kubernetes-validate", version: "1.37.0", program: "kubernetes-validate", sources: "" };

impl Wheel {
    /// The program's path; fetched once.
    ///
    /// # Errors
    /// If the index cannot be reached, or this Python has no pip.
    pub fn ensure(&self, workspace: &Workspace) -> Result<PathBuf> {
        self.install("python3", &workspace.kit("tools")?)
    }

    /// The same below another folder, with a Python that another user may run, too.
    ///
    /// # Errors
    /// As [`Wheel::ensure`].
    pub fn install(&self, python: &str, folder: &Path) -> Result<PathBuf> {
        let Wheel { package, version, program, sources } = self;
        let venv = folder.join(format!("{package}-{version}"));
        let program = venv.join("bin").join(program);
        if !program.is_file() {
            step(format_args!("Fetching {package} {version} (a wheel, into {})", venv.display()));
            shell::quietly(Command::new(python).args(["-m", "venv"]).arg(&venv))?;
            let mut pip = Command::new(venv.join("bin/pip"));
            pip.args(["install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]);
            if !sources.is_empty() {
                pip.args(["--no-binary", sources]);
            }
            shell::quietly(pip.arg(format!("{package}=={version}")))?;
        }
        Ok(program)
    }
}
