//! Builds what is tested, with the workspace's own cargo and target directory.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::{Firmware, Workspace, shell, step};

/// The shim's file name.
pub const SHIM: &str = "containerd-shim-mica-v2";

/// The operator's command.
pub const COMMAND: &str = "micrun";

/// The folder of the shim that can be told to die.
const CRASH_POINTS: &str = "crash-points";

/// How cargo builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Quick to build: the demo.
    Dev,
    /// What users get: tests and measurements.
    Release,
}

impl Profile {
    /// What cargo is told.
    pub(crate) fn cargo_option(self) -> Option<&'static str> {
        (self == Self::Release).then_some("--release")
    }

    /// Its folder in a target directory.
    pub(crate) fn folder(self) -> &'static str {
        if self == Self::Release { "release" } else { "debug" }
    }
}

/// The binaries and the firmware that were built.
#[derive(Clone, Debug)]
pub struct Product {
    bin: PathBuf,
    firmware: PathBuf,
}

impl Product {
    /// Builds the shim, the image builder and the test firmware (of these boards, none for all).
    ///
    /// # Errors
    /// If one of them does not build.
    pub fn build(workspace: &Workspace, profile: Profile, boards: &[&str]) -> Result<Self> {
        let mut cargo = cargo(workspace);
        cargo.args(["build", "-p", "micrun", "-p", "micrun-cli", "-p", "micrun-image-builder"]);
        cargo.args(profile.cargo_option());
        step(format_args!("Building the product: {}", shell::line(&cargo)));
        shell::run(&mut cargo)?;
        let firmware = workspace.kit("firmware")?;
        let mut make = Command::new("make");
        make.arg("--no-print-directory").arg("-C").arg(workspace.root().join("recipes-test/firmware"));
        make.arg(format!("OUT={}", firmware.display()));
        if !boards.is_empty() {
            make.arg(format!("BOARD={}", boards.join(" ")));
        }
        step("Building the test firmware with Debian's cross compilers");
        shell::quietly(&mut make)?;
        Self::find(workspace, profile)
    }

    /// Builds the shim and the operator's command with their crash points, which no product has, into a folder of their own.
    ///
    /// # Errors
    /// If it does not build.
    pub fn build_with_crash_points(workspace: &Workspace) -> Result<()> {
        let mut cargo = cargo(workspace);
        cargo.args(["build", "-p", "micrun", "-p", "micrun-cli"]);
        cargo.args(["--features", "micrun/crash-points,micrun-cli/crash-points"]);
        step(format_args!("Building programs that can be told to die: {}", shell::line(&cargo)));
        shell::run(&mut cargo)?;
        for program in [SHIM, COMMAND] {
            let built = workspace.target().join(Profile::Dev.folder()).join(program);
            let kept = workspace.kit(CRASH_POINTS)?.join(program);
            // Not over the old one, which may be running.
            let new = kept.with_extension("new");
            std::fs::copy(&built, &new)
                .and_then(|_| std::fs::rename(&new, &kept))
                .with_context(|| format!("cannot copy {}", built.display()))?;
        }
        Ok(())
    }

    /// The folder of those programs.
    ///
    /// # Errors
    /// If it was not built.
    pub fn with_crash_points(workspace: &Workspace) -> Result<PathBuf> {
        let folder = workspace.kit(CRASH_POINTS)?;
        ensure!(
            folder.join(SHIM).is_file(),
            "{} is not built: start this through cargo xtask",
            folder.join(SHIM).display()
        );
        Ok(folder)
    }

    /// What an earlier [`Product::build`] left.
    ///
    /// # Errors
    /// If it did not run.
    pub fn find(workspace: &Workspace, profile: Profile) -> Result<Self> {
        let bin = workspace.target().join(profile.folder());
        let product = Self { bin, firmware: workspace.kit("firmware")? };
        for program in [product.shim(), product.command(), product.builder()] {
            ensure!(program.is_file(), "{} is not built: start this through cargo xtask", program.display());
        }
        Ok(product)
    }

    /// The folder of the binaries, for containerd's PATH.
    pub fn bin(&self) -> &Path {
        &self.bin
    }

    /// `containerd-shim-mica-v2`.
    pub fn shim(&self) -> PathBuf {
        self.bin.join(SHIM)
    }

    /// `micrun`, the operator's command.
    pub fn command(&self) -> PathBuf {
        self.bin.join(COMMAND)
    }

    /// `micrun-image-builder`.
    pub fn builder(&self) -> PathBuf {
        self.bin.join("micrun-image-builder")
    }

    /// The folder of the test firmware.
    pub fn firmware(&self) -> &Path {
        &self.firmware
    }

    /// Packs a firmware for its board into the folder, and returns the OCI archive.
    ///
    /// # Errors
    /// If the builder refuses.
    pub fn pack(&self, firmware: &Firmware, folder: &Path) -> Result<PathBuf> {
        let archive = folder.join(format!("{}.oci.tar", firmware.tag));
        shell::quietly(&mut self.pack_command(firmware, &archive))
            .with_context(|| format!("cannot pack {}", firmware.name))?;
        Ok(archive)
    }

    /// The command that packs a firmware into `archive`, as a user would type it.
    pub fn pack_command(&self, firmware: &Firmware, archive: &Path) -> Command {
        self.pack_command_for(firmware, &firmware.elf(&self.firmware), archive)
    }

    /// The same, for another build of the firmware.
    pub fn pack_command_for(&self, firmware: &Firmware, elf: &Path, archive: &Path) -> Command {
        let mut output = OsStr::new("oci-archive:").to_owned();
        output.push(archive);
        let mut command = Command::new(self.builder());
        command.arg("pack").arg(elf).args(["--board", firmware.board]);
        command.args(firmware.rtos.map(|rtos| ["--rtos", rtos]).into_iter().flatten());
        command.args(["-t", &firmware.image()]).arg("-o").arg(output);
        command
    }
}

/// Builds the test firmware of a board into `folder`, with further options of the compiler.
///
/// # Errors
/// If it does not build.
pub fn build_firmware(board: &str, folder: &Path, extra: &str) -> Result<()> {
    let mut make = Command::new("make");
    make.arg("--no-print-directory").arg("-C").arg(Workspace::find()?.root().join("recipes-test/firmware"));
    make.args([format!("OUT={}", folder.display()), format!("BOARD={board}"), format!("EXTRA={extra}")]);
    shell::quietly(&mut make)
}

/// The cargo that runs us, in the workspace.
pub fn cargo(workspace: &Workspace) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace.root());
    cargo
}
