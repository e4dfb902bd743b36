//! `boards list`, `boards show` and `boards validate`.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use micrun_image_spec::board::{BoardProfile, Boards, Origin};
use serde::Serialize;

use super::job::unknown_board;
use super::render::{self, printable};
use super::{BoardDirs, CliError, Format, print_json};

#[derive(Args)]
#[command(arg_required_else_help = true, after_help = EXAMPLES)]
pub(super) struct BoardsArgs {
    #[command(subcommand)]
    command: BoardsCommand,
    #[command(flatten)]
    boards: BoardDirs,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::Text, global = true)]
    format: Format,
}

#[derive(Subcommand)]
enum BoardsCommand {
    /// List all boards, the built-in ones and those of this machine
    #[command(after_help = EXAMPLES)]
    List,
    /// Show a board's profile
    #[command(after_help = EXAMPLES)]
    Show {
        /// Its name or alias
        board: String,
    },
    /// Check board profiles before they are installed
    #[command(after_help = EXAMPLES)]
    Validate {
        /// Board files (YAML)
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

const EXAMPLES: &str = "\
Examples:
  micrun-image-builder boards list
  micrun-image-builder boards show qemu_cortex_m3 > my_board.yaml
  micrun-image-builder boards validate my_board.yaml";

/// A board as `--format json` shows it.
#[derive(Serialize)]
struct BoardRecord<'a> {
    #[serde(flatten)]
    profile: &'a BoardProfile,
    origin: String,
}

pub(super) fn run(args: &BoardsArgs) -> Result<ExitCode, CliError> {
    match &args.command {
        BoardsCommand::List => list(&args.boards.load()?, args.format)?,
        BoardsCommand::Show { board } => show(&args.boards.load()?, board, args.format)?,
        BoardsCommand::Validate { files } => return validate(args.boards.load()?, files, args.format),
    }
    Ok(ExitCode::SUCCESS)
}

fn list(boards: &Boards, format: Format) -> Result<(), CliError> {
    if format == Format::Json {
        let records: Vec<_> = boards.iter().map(|(profile, origin)| record(profile, origin)).collect();
        return Ok(print_json(&records)?);
    }
    let mut text = String::new();
    for (board, origin) in boards.iter() {
        let from = match origin {
            Origin::BuiltIn => String::new(),
            Origin::File(path) => format!(" [{}]", printable(&path.display().to_string())),
        };
        let description = printable(&board.description);
        // Writing into a string cannot fail.
        let _ = writeln!(text, "{:<18} {:<8} {description}{from}", board.name, board.arch);
    }
    Ok(io::stdout().write_all(text.as_bytes())?)
}

fn show(boards: &Boards, name: &str, format: Format) -> Result<(), CliError> {
    let (Some(board), Some(origin)) = (boards.get(name), boards.origin(name)) else {
        return Err(unknown_board(boards, name));
    };
    match format {
        Format::Json => Ok(print_json(&record(board, origin))?),
        Format::Text => {
            Ok(write!(io::stdout(), "# {}\n{}", printable(&origin.to_string()), board.to_yaml())?)
        }
    }
}

#[derive(Serialize)]
struct Validation {
    file: String,
    board: Option<String>,
    error: Option<String>,
}

/// Adds the files to the boards of this machine, as installing them would: their names may not collide.
fn validate(mut boards: Boards, files: &[PathBuf], format: Format) -> Result<ExitCode, CliError> {
    let mut results = Vec::new();
    for file in files {
        let added = BoardProfile::read(file).and_then(|board| {
            let name = board.name.to_string();
            boards.add(board, Origin::File(file.clone())).map(|()| name)
        });
        let (board, error) = match added {
            Ok(name) => (Some(name), None),
            Err(error) => (None, Some(CliError::from(error))),
        };
        if format == Format::Text {
            match (&board, &error) {
                (Some(board), _) => writeln!(
                    io::stdout(),
                    "{}: board {board} is valid",
                    printable(&file.display().to_string())
                )?,
                (None, error) => error.iter().for_each(render::error),
            }
        }
        results.push(Validation {
            file: file.display().to_string(),
            board,
            error: error.map(|error| error.to_string()),
        });
    }
    if format == Format::Json {
        print_json(&results)?;
    }
    let valid = results.iter().all(|result| result.error.is_none());
    Ok(if valid { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn record<'a>(profile: &'a BoardProfile, origin: &Origin) -> BoardRecord<'a> {
    BoardRecord { profile, origin: origin.to_string() }
}
