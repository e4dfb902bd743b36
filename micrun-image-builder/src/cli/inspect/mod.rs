//! `inspect`.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::job::board;
use super::{BoardDirs, CliError, Format, render};
use crate::check::{self, Report};
use crate::inspect::Facts;
use crate::source::RegularFile;

mod firmware;
mod table;

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct InspectArgs {
    /// The ELF file that the linker wrote
    firmware: PathBuf,
    /// Board whose memory the map is compared with [default: the usual one for RTOS and architecture, if it fits]
    #[arg(long)]
    board: Option<String>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    boards: BoardDirs,
}

const EXAMPLES: &str = "\
Examples:
  micrun-image-builder inspect zephyr.elf
  micrun-image-builder inspect app.elf --board qemu_cortex_m3
  micrun-image-builder inspect app.elf --format json | jq .firmware.memory

Sizes are rounded for people; --format json has them in bytes. Errors in the file are reported, but do not hide its facts.";

/// What `--format json` prints. The names of its parts stay; more may come.
#[derive(Serialize)]
struct Inspected<'a> {
    file: String,
    /// None where the file cannot be read as firmware; the findings say why.
    firmware: Option<&'a Facts>,
    findings: &'a Report,
}

pub(super) fn run(args: &InspectArgs) -> Result<ExitCode, CliError> {
    let boards = args.boards.load()?;
    let given = args.board.as_deref().map(|name| board(&boards, name)).transpose()?;
    let mut report = Report::default();
    let facts = RegularFile::open(&args.firmware).and_then(|file| match check::examine(&file, &mut report) {
        Some(elf) => Facts::of(&elf, given, &boards).map(Some),
        None => Ok(None),
    });
    let facts = facts.unwrap_or_else(|error| {
        check::unreadable(&error, &mut report);
        None
    });
    let file = args.firmware.display().to_string();
    match args.format {
        Format::Json => {
            let inspected = Inspected { file, firmware: facts.as_ref(), findings: &report };
            let text = serde_json::to_string_pretty(&inspected).map_err(io::Error::from)?;
            writeln!(io::stdout(), "{text}")?;
        }
        Format::Text => {
            // Facts of a broken file are worth less than they look.
            render::report(&report, &args.firmware, true);
            let text = facts.as_ref().map(|facts| firmware::text(&file, facts)).unwrap_or_default();
            io::stdout().write_all(text.as_bytes())?;
        }
    }
    Ok(if facts.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
