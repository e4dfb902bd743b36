//! `check`.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use micrun_image_spec::firmware::{Pedestal, Rtos};
use serde::Serialize;

use super::job::board;
use super::pack::allowable_code;
use super::render::{self, printable};
use super::{BoardDirs, CliError};
use crate::check::{self, Code, Report, Severity};
use crate::pack::{Choice, Decisions, Request};
use crate::source::RegularFile;
use crate::store::Location;

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CheckArgs {
    /// The ELF file that the linker wrote
    #[arg(required_unless_present = "explain")]
    target: Option<Location>,
    /// Board to check it for [default: the usual one for RTOS and architecture]
    #[arg(long)]
    board: Option<String>,
    /// What the guest runs on: qemu, xen, baremetal, jailhouse, hetero, remoteproc [default: the board's first]
    #[arg(long)]
    pedestal: Option<Pedestal>,
    /// Name of the RTOS, a lower-case word [default: as recognised in the file]
    #[arg(long)]
    rtos: Option<Rtos>,
    /// Turn an error with this code into a warning; may be given several times
    #[arg(long, value_name = "CODE", value_parser = allowable_code)]
    allow: Vec<Code>,
    /// End with exit status 1 on warnings too
    #[arg(long)]
    deny_warnings: bool,
    /// How to print the findings
    #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
    format: ReportFormat,
    /// Print errors only
    #[arg(short, long)]
    quiet: bool,
    /// Say what a code means, and what to do
    #[arg(long, value_name = "CODE", exclusive = true)]
    explain: Option<String>,
    #[command(flatten)]
    boards: BoardDirs,
}

const EXAMPLES: &str = "\
Examples:
  micrun-image-builder check zephyr.elf
  micrun-image-builder check app.elf --board qemu_cortex_m3 --rtos baremetal --deny-warnings
  micrun-image-builder check zephyr.elf --format sarif > findings.sarif
  micrun-image-builder check --explain MIC302

Exit status: 0 no errors, 1 errors (or warnings with --deny-warnings), 2 wrong usage.";

/// How findings are printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ReportFormat {
    /// For people
    Text,
    /// For programs
    Json,
}

pub(super) fn run(args: &CheckArgs) -> Result<ExitCode, CliError> {
    if let Some(code) = &args.explain {
        return explain(code);
    }
    let Some(path) = args.target.as_ref().and_then(Location::path) else {
        return Err(CliError::Usage("give the file to check".to_owned()));
    };
    let boards = args.boards.load()?;
    let request = Request {
        board: args.board.as_deref().map(|name| board(&boards, name)).transpose()?,
        pedestal: args.pedestal,
        rtos: args.rtos.clone(),
        allow: args.allow.clone(),
        ..Request::new(&boards)
    };
    let mut report = Report::default();
    let decisions = check_firmware(&request, path, &mut report);
    let outcome = Outcome::new(path.display().to_string(), &report, decisions.as_ref());
    match args.format {
        ReportFormat::Text => outcome.print_text(args.quiet)?,
        ReportFormat::Json => outcome.print_json()?,
    }
    let fails = report.has_errors() || (args.deny_warnings && outcome.warnings > 0);
    Ok(if fails { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn check_firmware(request: &Request<'_>, path: &Path, report: &mut Report) -> Option<Decisions> {
    match RegularFile::open(path) {
        Ok(firmware) => crate::pack::check(request, &firmware, report),
        Err(error) => {
            check::unreadable(&error, report);
            None
        }
    }
}

/// What a check found, in the form in which programs get it.
#[derive(Serialize)]
struct Outcome<'a> {
    file: String,
    errors: usize,
    warnings: usize,
    notes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    board: Option<Choice<Option<String>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pedestal: Option<Choice<String>>,
    findings: &'a Report,
}

impl<'a> Outcome<'a> {
    fn new(file: String, findings: &'a Report, decisions: Option<&Decisions>) -> Self {
        Outcome {
            file,
            errors: findings.count(Severity::Error),
            warnings: findings.count(Severity::Warning),
            notes: findings.count(Severity::Note),
            board: decisions.map(|decisions| decisions.board.clone()),
            pedestal: decisions.map(|decisions| decisions.pedestal.map(ToString::to_string)),
            findings,
        }
    }

    fn print_json(&self) -> io::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        writeln!(io::stdout(), "{text}")
    }

    fn print_text(&self, quiet: bool) -> io::Result<()> {
        render::result(self.findings, &self.file, quiet)?;
        if quiet {
            return Ok(());
        }
        let mut text = String::new();
        if let (Some(board), Some(pedestal)) = (&self.board, &self.pedestal) {
            let name = board.value.as_deref().unwrap_or("none");
            text += &format!("checked for\n  {:<9} {name:<24} ({board})\n", "board");
            text += &format!("  {:<9} {:<24} ({pedestal})\n", "pedestal", pedestal.value);
        }
        let counts = [(self.errors, "error"), (self.warnings, "warning"), (self.notes, "note")];
        let counts =
            counts.map(|(count, what)| format!("{count} {what}{}", if count == 1 { "" } else { "s" }));
        text += &format!("{}: {}\n", printable(&self.file), counts.join(", "));
        io::stdout().write_all(text.as_bytes())
    }
}

/// Says what a code means, as `rustc --explain` does.
fn explain(text: &str) -> Result<ExitCode, CliError> {
    let Ok(code) = text.parse::<Code>() else {
        render::error(&CliError::Usage(format!("`{text}` is no code of a finding; the codes are:")));
        let list: String = Code::ALL.iter().map(|code| format!("  {code}  {}\n", code.title())).collect();
        io::stderr().write_all(list.as_bytes())?;
        return Ok(ExitCode::from(2));
    };
    let mut text = format!("{code}: {} ({})\n\n{}\n", code.title(), code.severity(), code.explanation());
    if code.can_be_allowed() {
        text += &format!("\nIf it is as you want it, allow it: --allow {code}\n");
    }
    io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
