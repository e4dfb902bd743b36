//! `check`: what this node can run, and what was left behind on it.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use micrun::check::micad::Presence;
use micrun::check::{Report, xen};
use micrun::config::node::{self, NodeConfig};
use micrun::pedestal::Node;
use micrun::store;
use micrun_image_spec::firmware::Pedestal;

use super::CliError;
use super::print::{self, Style, Table};

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CheckArgs {
    /// Where shims keep the state of containers
    #[arg(long, value_name = "DIR", default_value = store::ROOT)]
    state: PathBuf,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// How the result is printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs
    Json,
    /// For Kubernetes: labels of a node that can run guests; nothing for one that cannot
    Labels,
}

/// In front of the names of labels.
const LABEL: &str = "micrun.openeuler.org/";

const EXAMPLES: &str = "\
Examples:
  micrun check
  micrun check --format labels > /etc/kubernetes/node-feature-discovery/features.d/micrun
  micrun check --format json | jq -r '.boards[] | select(.usable_on != []) | .name'

It asks Xen and the emulators what they are, and changes nothing. Run it as root: others do not see everything.

Exit status: 0 nothing is wrong, 1 something is wrong or was left behind.";

pub(super) fn run(args: &CheckArgs) -> Result<ExitCode, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let config = NodeConfig::load(Path::new(node::PATH));
    let report = runtime.block_on(Report::of(Node::read(), config, &args.state));
    match args.format {
        Format::Json => print::json(&report)?,
        Format::Labels => io::stdout().write_all(labels(&report).as_bytes())?,
        Format::Text => io::stdout().write_all(text(&report, Style::of(&io::stdout())).as_bytes())?,
    }
    let is_good = report.faults.is_empty() && report.left_behind.is_empty();
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What runtime classes and workloads can select nodes by: `kubectl label` and node-feature-discovery read the same lines.
fn labels(report: &Report) -> String {
    let mut text = String::new();
    for board in report.boards.iter().filter(|board| !board.usable_on.is_empty()) {
        // A label's name has no second slash.
        text += &format!("{LABEL}board-{}=true\n", board.name.replace('/', "."));
    }
    if text.is_empty() {
        return text;
    }
    if !report.own_cores.is_empty() {
        text += &format!("{LABEL}cores={}\n", report.own_cores.len());
    }
    format!("{LABEL}runtime=mica\n{text}")
}

fn text(report: &Report, style: Style) -> String {
    let mut text = pedestals(report).text(style);
    let mut add = |part: String| text.extend(["\n", &part]);
    add(emulators(report).text(style));
    add(boards(report).text(style));
    add(daemons(report));
    if !report.left_behind.is_empty() {
        let mut table = Table::with_header(["left behind", "name", "what to do"]);
        for one in &report.left_behind {
            table.row([one.kind.to_string(), one.name.clone(), one.remedy.clone()]);
        }
        add(table.text(style));
    }
    if !report.faults.is_empty() {
        let line = |fault: &String| format!("{}: {}\n", style.red("wrong"), print::printable(fault));
        add(report.faults.iter().map(line).collect());
    }
    text
}

fn pedestals(report: &Report) -> Table<3> {
    let mut table = Table::with_header(["pedestal", "driver", "what is lacking"]);
    for serving in &report.pedestals {
        let lacking = serving.lacking.iter().map(|lacking| format!("{}; {}", lacking.fault, lacking.remedy));
        let driver = serving.driver.unwrap_or("-");
        table.row([
            serving.pedestal.to_string(),
            driver.to_owned(),
            lacking.collect::<Vec<_>>().join(", or: "),
        ]);
    }
    table
}

fn emulators(report: &Report) -> Table<3> {
    let mut table = Table::with_header(["cores", "emulator", "version"]);
    for emulator in &report.emulators {
        let (program, version) = match &emulator.program {
            Some(path) => (path.display().to_string(), emulator.version.as_deref().unwrap_or("does not run")),
            None => (format!("- (Debian, Ubuntu: install {})", emulator.package), ""),
        };
        table.row([emulator.arch.to_string(), program, version.to_owned()]);
    }
    table
}

fn boards(report: &Report) -> Table<3> {
    let mut table = Table::with_header(["board", "runs here on", "from"]);
    for board in &report.boards {
        let on: Vec<&str> = board.usable_on.iter().copied().map(Pedestal::as_str).collect();
        let on = if on.is_empty() { format!("- ({})", board.lacking.join(", ")) } else { on.join(", ") };
        table.row([board.name.clone(), on, board.origin.clone()]);
    }
    table
}

fn daemons(report: &Report) -> String {
    let mut text = String::new();
    let clients = match report.micad.clients.len() {
        0 => "no client".to_owned(),
        count => format!("{count} clients: {}", report.micad.clients.join(", ")),
    };
    let micad = match report.micad.presence {
        Presence::Absent => "does not run".to_owned(),
        Presence::Stale => "does not run, and has left its sockets".to_owned(),
        Presence::Running => format!("runs, {clients}"),
    };
    let xen = match &report.xen {
        None => "this node does not run on it".to_owned(),
        Some(xen::Found::Silent(why)) => format!("does not answer: {why}"),
        Some(xen::Found::Answers(machine)) => format!(
            "{} cores, {} of {} free, scheduler {}, {} domains",
            machine.cores,
            machine.free_mib,
            machine.total_mib,
            machine.scheduler,
            machine.domains.len()
        ),
    };
    // Writing to a string does not fail.
    let _ = writeln!(text, "micad  {}\nxen    {}", print::printable(&micad), print::printable(&xen));
    text
}
