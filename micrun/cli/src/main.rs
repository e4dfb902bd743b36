//! The command `micrun`: what an operator asks a node. Everything but `guests` reads what shims write and changes nothing.
//!
//! - [`check`]: what this node can run, and what was left behind on it.
//! - [`config`]: what micrun.conf says.
//! - [`explain`]: where each value of a container came from.
//! - [`guests`]: guests that files declare: started, updated, rolled back.
//! - `man`, and completions here: the command line for people.
//! - [`print`]: tables, JSON, colours.
//!
//! Exit status: 0 done; 1 something is wrong, or could not be read; 2 the command line makes no sense; 141 the reader of
//! standard output went away.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use micrun::bundle::BundleError;
use micrun::config::node::NodeConfigError;
use micrun::resources::ResourceError;
use micrun::store::StoreError;

mod check;
mod config;
mod explain;
mod guests;
mod man;
mod print;

/// Asks a node that runs RTOS firmware as containers: what it would do, and why.
#[derive(Parser)]
#[command(name = "micrun", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  micrun check
  micrun explain z1
  micrun config
  micrun guests list
  source <(micrun completions bash)
  micrun man | man -l -

Results go to standard output, everything else to standard error; with --format json they are for programs.

Exit status: 0 done, 1 something is wrong or cannot be read, 2 wrong usage, 141 nobody reads the output.";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  source <(micrun completions bash)
  micrun completions fish > ~/.config/fish/completions/micrun.fish";

#[derive(Subcommand)]
enum Command {
    /// Show what this node can run, and what was left behind on it
    Check(check::CheckArgs),
    /// Show what micrun.conf and its drop-ins say, or try a file
    Config(config::ConfigArgs),
    /// Show where each value of a container came from
    Explain(explain::ExplainArgs),
    /// Start, update and roll back the guests that files declare
    Guests(guests::GuestsArgs),
    /// Print a completion script for a shell
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print or write the manual pages
    Man(man::ManArgs),
}

/// Why a command did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error(transparent)]
    Config(#[from] NodeConfigError),
    #[error("container {name}: {why}")]
    Container { name: String, why: String },
    #[error(transparent)]
    Bundle(#[from] BundleError),
    #[error(transparent)]
    Resources(#[from] ResourceError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Guests(#[from] guests::GuestsError),
    #[error("this node's board profiles: {0}; correct or remove the file")]
    Boards(String),
    #[error("cannot write {}: {source}", .path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot print the result: {0}")]
    Print(#[from] io::Error),
}

impl CliError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::from(if self.is_broken_pipe() { DIED_OF_SIGPIPE } else { 1 })
    }

    /// The reader of standard output has seen enough.
    fn is_broken_pipe(&self) -> bool {
        matches!(self, CliError::Print(source) if source.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// What shells report for a program that the signal ends. Rust programs ignore it and get an error instead.
const DIED_OF_SIGPIPE: u8 = 128 + 13;

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Check(args) => check::run(&args),
        Command::Config(args) => config::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Guests(args) => guests::run(&args),
        Command::Man(args) => man::run(&args, Cli::command()),
        Command::Completions { shell } => {
            // Into memory first: clap_complete panics where its output cannot be written.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "micrun", &mut script);
            io::stdout().write_all(&script).map(|()| ExitCode::SUCCESS).map_err(CliError::from)
        }
    };
    result.unwrap_or_else(|error| {
        if !error.is_broken_pipe() {
            print::error(&error);
        }
        error.exit_code()
    })
}
