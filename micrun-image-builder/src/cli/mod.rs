//! The command line.
//!
//! Exit status: 0 done; 1 something is wrong with the input or the output; 2 the command line makes no sense.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use micrun_image_spec::board::{BoardError, Boards};

use crate::image::{BadEpoch, ImageError};

mod boards;
mod pack;
mod render;
mod summary;

/// Checks RTOS firmware and packs it into OCI images, which containerd runs with the runtime io.containerd.mica.v2.
#[derive(Parser)]
#[command(name = "micrun-image-builder", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  micrun-image-builder pack zephyr.elf
  micrun-image-builder pack build/zephyr/zephyr.elf --tag registry.example/demo/zephyr:3.5
  micrun-image-builder pack app.elf --board qemu_cortex_m3 --rtos freertos -o oci:app
  micrun-image-builder boards list

Exit status: 0 done, 1 the input has errors or a file cannot be written, 2 wrong usage.";

#[derive(Subcommand)]
enum Command {
    /// Check a firmware and pack it into an image
    Pack(Box<pack::PackArgs>),
    /// List, show and validate board profiles
    Boards(boards::BoardsArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// How results are printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

/// The directories with this machine's own boards.
#[derive(clap::Args)]
struct BoardDirs {
    /// Directory with further board profiles (*.yaml); may be given several times [default on Unix:
    /// /etc/mica/micrun/boards.d]
    #[arg(long = "boards-dir", value_name = "DIR")]
    dirs: Vec<PathBuf>,
}

impl BoardDirs {
    fn load(&self) -> Result<Boards, BoardError> {
        if self.dirs.is_empty() && cfg!(unix) {
            return Boards::load(&[PathBuf::from("/etc/mica/micrun/boards.d")]);
        }
        Boards::load(&self.dirs)
    }
}

/// Why a command did not do what it was asked for, apart from findings in the firmware.
#[derive(Debug, thiserror::Error)]
enum CliError {
    /// The command line makes no sense.
    #[error("{0}")]
    Usage(String),
    #[error("cannot read the firmware {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Epoch(#[from] BadEpoch),
    #[error(transparent)]
    Board(#[from] BoardError),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error("cannot print the result: {0}")]
    Print(#[from] io::Error),
}

impl CliError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::from(if matches!(self, CliError::Usage(_)) { 2 } else { 1 })
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Pack(args) => pack::run(&args),
        Command::Boards(args) => boards::run(&args),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "micrun-image-builder", &mut io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    };
    result.unwrap_or_else(|error| {
        render::error(&error);
        error.exit_code()
    })
}
