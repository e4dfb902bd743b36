//! The firmware that a command is given: an ELF file, a Zephyr build directory, or raw bytes with what they do not say.

use std::path::{Path, PathBuf};

use clap::Args;
use micrun_image_spec::firmware::Arch;

use super::CliError;
use crate::boot::raw::{Address, RawOptions};
use crate::check::{Code, Report};
use crate::zephyr::Build;

/// What raw firmware does not say.
#[derive(Args)]
pub(super) struct RawArgs {
    /// Where a raw binary is loaded, such as 0x8000000
    #[arg(long, value_name = "ADDRESS")]
    load_address: Option<Address>,
    /// Architecture of a raw binary or Intel HEX file: aarch64, arm, riscv64, riscv32, x86 or x86_64
    #[arg(long)]
    arch: Option<Arch>,
    /// Entry point of a raw binary or Intel HEX file [default: the reset vector on Cortex-M, else as the file
    /// says, else its first byte]
    #[arg(long, value_name = "ADDRESS")]
    entry: Option<Address>,
}

impl RawArgs {
    pub(super) fn options(&self) -> RawOptions {
        RawOptions { load_address: self.load_address, arch: self.arch, entry: self.entry }
    }
}

/// An image holds an ELF file, which says all of it.
pub(super) fn refuse_for_image(raw: &RawArgs) -> Result<(), CliError> {
    match raw.options().first_given() {
        Some(option) => {
            Err(CliError::Usage(format!("{option} is for raw firmware, and this is an image: leave it out")))
        }
        None => Ok(()),
    }
}

/// The firmware: the file that was given, or the one in the build directory that was given.
pub(super) struct Input {
    pub(super) path: PathBuf,
    pub(super) build: Option<Build>,
}

impl Input {
    /// Of a directory that is no build, the report says so.
    pub(super) fn find(firmware: &Path, domain: Option<&str>, report: &mut Report) -> Self {
        let given = || Input { path: firmware.to_owned(), build: None };
        if !firmware.is_dir() && domain.is_none() {
            return given();
        }
        match Build::open(firmware, domain) {
            Ok(build) => Input { path: build.elf.clone(), build: Some(build) },
            Err(error) => {
                let message = format!("cannot read the firmware: {error}");
                report.add(Code::Unreadable, None, message, error.remedy());
                given()
            }
        }
    }
}
