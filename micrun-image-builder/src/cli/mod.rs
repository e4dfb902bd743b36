//! The command line.
//!
//! Exit status: 0 done; 1 something is wrong with the input or the output; 2 the command line makes no sense; 141 the
//! reader of standard output went away.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use micrun_image_spec::board::{BoardError, Boards};

#[cfg(unix)]
use crate::containerd::ContainerdError;
use crate::contents::ContentsError;
use crate::diff::DiffError;
use crate::image::{ArtifactError, BadEpoch, ImageError};
use crate::project::ProjectError;
use crate::sbom::SbomError;
use crate::sign::{SignError, VerifyError};
use crate::store::StoreError;

mod boards;
mod check;
mod copy;
mod diff;
mod extract;
mod index;
mod input;
mod inspect;
mod job;
mod load;
mod man;
mod pack;
mod places;
mod progress;
mod registry;
mod render;
mod sign;
mod subject;
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
  micrun-image-builder check zephyr.elf
  micrun-image-builder pack zephyr.elf
  micrun-image-builder pack build/zephyr/zephyr.elf --tag registry.example/demo/zephyr:3.5
  micrun-image-builder pack app.elf --board qemu_cortex_m3 --rtos freertos -o oci:app
  micrun-image-builder pack -f firmware.yaml
  micrun-image-builder inspect zephyr.elf
  micrun-image-builder push zephyr.oci.tar docker://registry.example/demo/zephyr:3.5
  micrun-image-builder boards list

Results go to standard output, everything else to standard error; with --format json they are for programs.

Exit status: 0 done, 1 the input has errors or something cannot be read or written, 2 wrong usage, 141 nobody reads \
the output.";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  source <(micrun-image-builder completions bash)
  micrun-image-builder completions fish > ~/.config/fish/completions/micrun-image-builder.fish";

#[derive(Subcommand)]
enum Command {
    /// Check a firmware or an image, and make nothing
    Check(Box<check::CheckArgs>),
    /// Check a firmware and pack it into an image
    Pack(Box<pack::PackArgs>),
    /// Show what is in a firmware or an image: core, RTOS, memory map; manifest, layers, files
    Inspect(Box<inspect::InspectArgs>),
    /// Show what changed from one firmware or image to another
    Diff(Box<diff::DiffArgs>),
    /// Take the firmware, the boot image and client.conf out of an image
    Extract(Box<extract::ExtractArgs>),
    /// Sign an image with a key, as cosign does
    Sign(Box<sign::SignArgs>),
    /// Verify that the owner of a key signed an image
    Verify(Box<sign::VerifyArgs>),
    /// Load an image into a running containerd
    Load(load::LoadArgs),
    /// Copy an image from one place to another
    #[command(visible_aliases = ["push", "pull"])]
    Copy(copy::CopyArgs),
    /// Join images under one index
    Index(index::IndexArgs),
    /// List, show and validate board profiles
    Boards(boards::BoardsArgs),
    /// Print a completion script for a shell
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print or write the manual pages
    Man(man::ManArgs),
}

/// Prints JSON for programs.
fn print_json(value: &impl serde::Serialize) -> io::Result<()> {
    summary::print_json(value, false)
}

/// How results are printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

/// How the result of a command is printed.
#[derive(clap::Args)]
struct Printing {
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Print errors only
    #[arg(short, long)]
    quiet: bool,
}

/// The directories with this machine's own boards.
#[derive(clap::Args)]
struct BoardDirs {
    /// Directory with further board profiles (*.yaml); may be given several times [default on Unix:
    /// /etc/mica/micrun/boards.d]
    #[arg(long = "boards-dir", value_name = "DIR", global = true)]
    dirs: Vec<PathBuf>,
}

impl BoardDirs {
    /// Only the default directory may be missing.
    fn load(&self) -> Result<Boards, CliError> {
        if self.dirs.is_empty() && cfg!(unix) {
            return Ok(Boards::load(&[PathBuf::from("/etc/mica/micrun/boards.d")])?);
        }
        if let Some(dir) = self.dirs.iter().find(|dir| !dir.is_dir()) {
            let dir = dir.display();
            return Err(CliError::Usage(format!("--boards-dir {dir}: there is no such directory")));
        }
        Ok(Boards::load(&self.dirs)?)
    }
}

/// Why a command did not do what it was asked for, apart from findings in the firmware.
#[derive(Debug, thiserror::Error)]
enum CliError {
    /// The command line makes no sense.
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Epoch(#[from] BadEpoch),
    #[error(transparent)]
    Board(#[from] BoardError),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Contents(#[from] ContentsError),
    #[error(transparent)]
    Diff(#[from] DiffError),
    #[error(transparent)]
    Project(#[from] ProjectError),
    #[error(transparent)]
    Sbom(#[from] SbomError),
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    #[error(transparent)]
    Key(#[from] sign::KeyPlaceError),
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error(transparent)]
    Verify(#[from] VerifyError),
    #[cfg(unix)]
    #[error(transparent)]
    Containerd(#[from] ContainerdError),
    #[error("cannot print the result: {0}")]
    Print(#[from] io::Error),
}

impl CliError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            CliError::Usage(_) => 2,
            _ if self.is_broken_pipe() => DIED_OF_SIGPIPE,
            _ => 1,
        })
    }

    /// The reader of standard output has seen enough, as in `boards list | head -1`.
    fn is_broken_pipe(&self) -> bool {
        match self {
            CliError::Print(source) | CliError::Store(StoreError::Write { source, .. }) => {
                source.kind() == io::ErrorKind::BrokenPipe
            }
            _ => false,
        }
    }
}

/// What shells report for a program that the signal ends. Rust programs ignore it and get an error instead.
const DIED_OF_SIGPIPE: u8 = 128 + 13;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Check(args) => check::run(&args),
        Command::Pack(args) => pack::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Extract(args) => extract::run(&args),
        Command::Sign(args) => sign::sign(&args),
        Command::Verify(args) => sign::verify(&args),
        Command::Load(args) => load::run(&args),
        Command::Copy(args) => copy::run(&args),
        Command::Index(args) => index::run(&args),
        Command::Boards(args) => boards::run(&args),
        Command::Man(args) => man::run(&args, Cli::command()),
        Command::Completions { shell } => {
            // Into memory first: clap_complete panics where its output cannot be written.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "micrun-image-builder", &mut script);
            io::stdout().write_all(&script).map(|()| ExitCode::SUCCESS).map_err(CliError::from)
        }
    };
    result.unwrap_or_else(|error| {
        if !error.is_broken_pipe() {
            render::error(&error);
        }
        error.exit_code()
    })
}
