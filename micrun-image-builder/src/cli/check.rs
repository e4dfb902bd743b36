//! `check`.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use micrun_image_spec::firmware::{Pedestal, Rtos};
use serde::Serialize;

use super::input::{Input, RawArgs, refuse_for_image};
use super::job::board;
use super::pack::allowable_code;
use super::places::Places;
use super::registry::RegistryArgs;
use super::render::{self, printable};
use super::subject::{Opened, Subject};
use super::{BoardDirs, CliError, print_json};
use crate::audit::{self, audit};
use crate::check::{self, Code, Report, Severity, sarif};
use crate::image::Platform;
use crate::pack::{Checked, Choice, Request};
use crate::source::RegularFile;

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CheckArgs {
    /// The ELF file that the linker wrote, or a Zephyr build directory; or an image: docker://NAME[:TAG], oci:DIR[:TAG], oci-archive:FILE, or the path
    /// of a layout or archive
    #[arg(required_unless_present = "explain")]
    subject: Option<Subject>,
    /// Board to check it for [default: as the image says, else the usual one for RTOS and architecture]
    #[arg(long)]
    board: Option<String>,
    /// What the guest runs on: qemu, xen, baremetal, jailhouse, hetero, remoteproc [default: as the image says, else
    /// the board's first]
    #[arg(long)]
    pedestal: Option<Pedestal>,
    /// Name of the RTOS, a lower-case word [default: as the image says, else as recognised in the file]
    #[arg(long)]
    rtos: Option<Rtos>,
    /// Of an image for several platforms, the one to look at [default: all]
    #[arg(long, value_name = "linux/ARCH")]
    platform: Option<Platform>,
    #[command(flatten)]
    raw: RawArgs,
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
    /// Say what a code means, and what to do; `all` lists the codes
    #[arg(long, value_name = "CODE", exclusive = true)]
    explain: Option<String>,
    #[command(flatten)]
    boards: BoardDirs,
    #[command(flatten)]
    registry: RegistryArgs,
}

const EXAMPLES: &str = "\
Examples:
  micrun-image-builder check zephyr.elf
  micrun-image-builder check app.elf --board qemu_cortex_m3 --rtos baremetal --deny-warnings
  micrun-image-builder check zephyr.elf --format sarif > findings.sarif
  micrun-image-builder check build
  micrun-image-builder check zephyr.oci.tar
  micrun-image-builder check docker://registry.example/demo/zephyr:1 --format json
  micrun-image-builder check --explain MIC302

Exit status: 0 no errors, 1 errors (or warnings with --deny-warnings), 2 wrong usage.";

/// How findings are printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ReportFormat {
    /// For people
    Text,
    /// For programs
    Json,
    /// For code hosts and editors: SARIF 2.1.0
    Sarif,
}

pub(super) fn run(args: &CheckArgs) -> Result<ExitCode, CliError> {
    if let Some(code) = &args.explain {
        return explain(code);
    }
    let Some(subject) = &args.subject else {
        return Err(CliError::Usage("give the file or the image to check".to_owned()));
    };
    let mut report = Report::default();
    let checked = args.check(subject, &mut report)?;
    let outcome = Outcome::new(subject.to_string(), &report, checked.as_ref());
    let status = u8::from(report.has_errors() || (args.deny_warnings && outcome.warnings > 0));
    match args.format {
        ReportFormat::Text => outcome.print_text(args.quiet)?,
        ReportFormat::Json => print_json(&outcome)?,
        ReportFormat::Sarif => print_json(&sarif::Log::new(&report, &subject.uri(), status))?,
    }
    Ok(ExitCode::from(status))
}

impl CheckArgs {
    /// Gives what would stand in the image of a firmware; an image says itself what stands in it.
    fn check(&self, subject: &Subject, report: &mut Report) -> Result<Option<Checked>, CliError> {
        let boards = self.boards.load()?;
        let board = self.board.as_deref().map(|name| board(&boards, name)).transpose()?;
        match subject.open(&Places::new(&self.registry, self.quiet)) {
            Ok(Opened::Firmware(path)) => {
                let input = Input::find(&path, None, report);
                if report.has_errors() {
                    return Ok(None);
                }
                let request = Request {
                    board,
                    raw: self.raw.options(),
                    build: input.build.as_ref(),
                    pedestal: self.pedestal,
                    rtos: self.rtos.clone(),
                    allow: self.allow.clone(),
                    ..Request::new(&boards)
                };
                return Ok(check_firmware(&request, &input.path, report));
            }
            Ok(Opened::Image(source)) => {
                refuse_for_image(&self.raw)?;
                let options = audit::Options {
                    boards: &boards,
                    board,
                    pedestal: self.pedestal,
                    rtos: self.rtos.clone(),
                    platform: self.platform.clone(),
                    allow: self.allow.clone(),
                };
                audit(source.as_ref(), &options, report);
            }
            Err(CliError::Store(error)) => audit::unreadable(&error, report),
            Err(error) => return Err(error),
        }
        Ok(None)
    }
}

fn check_firmware(request: &Request<'_>, path: &Path, report: &mut Report) -> Option<Checked> {
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
    board: Option<Choice<Option<String>>>,
    pedestal: Option<Choice<String>>,
    findings: &'a Report,
}

impl<'a> Outcome<'a> {
    fn new(file: String, findings: &'a Report, checked: Option<&Checked>) -> Self {
        let decisions = checked.map(|checked| &checked.decisions);
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
    let list = || Code::ALL.iter().map(|code| format!("  {code}  {}\n", code.title())).collect::<String>();
    if text == "all" {
        io::stdout().write_all(list().as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let Ok(code) = text.parse::<Code>() else {
        render::error(&CliError::Usage(format!("`{text}` is no code of a finding; the codes are:")));
        io::stderr().write_all(list().as_bytes())?;
        return Ok(ExitCode::from(2));
    };
    let mut text = format!("{code}: {} ({})\n\n{}\n", code.title(), code.severity(), code.explanation());
    if let Some(example) = code.example() {
        text += &format!("\nFor example:\n\n    {}\n", example.replace('\n', "\n    "));
    }
    if code.can_be_allowed() {
        text += &format!("\nIf it is as you want it, allow it: --allow {code}\n");
    }
    io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
