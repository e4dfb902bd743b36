//! `config`: what micrun.conf says, and whether a file can be used.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use micrun::config::node::{self, NodeConfig, keys};
use serde::Serialize;

use super::CliError;
use super::print::{self, Format, Style, Table};

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ConfigArgs {
    /// The file to read, with its drop-ins in FILE.d/*.conf
    #[arg(long, value_name = "FILE", default_value = node::PATH)]
    file: PathBuf,
    /// Only try these files, before they are installed
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "file")]
    check: Vec<PathBuf>,
    /// Print a file with every key, as a beginning of one's own
    #[arg(long, conflicts_with_all = ["check", "format"])]
    toml: bool,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  micrun config
  micrun config --toml > micrun.conf
  micrun config --check 10-lab.conf && cp 10-lab.conf /etc/mica/micrun/micrun.conf.d/

Exit status: 0 the configuration can be used, 1 it cannot.";

/// A key as `--format json` shows it.
#[derive(Serialize)]
struct Line {
    key: &'static str,
    /// As it stands in a file; null where it is not set.
    value: Option<String>,
    /// `default`, or file and line.
    origin: String,
}

pub(super) fn run(args: &ConfigArgs) -> Result<ExitCode, CliError> {
    if !args.check.is_empty() {
        return check(&args.check);
    }
    let config = NodeConfig::load(&args.file)?;
    if args.toml {
        io::stdout().write_all(node::file::to_toml(&config).trim_start().as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let lines = keys::ALL.iter().map(|key| {
        let origin = config.place(key.name).map_or_else(|| "default".to_owned(), ToString::to_string);
        Line { key: key.name, value: (key.get)(&config), origin }
    });
    match args.format {
        Format::Json => print::json(&lines.collect::<Vec<_>>())?,
        Format::Text => {
            let mut table = Table::with_header(["key", "value", "from"]);
            lines.for_each(|line| {
                table.row([line.key.to_owned(), line.value.unwrap_or_default(), line.origin])
            });
            io::stdout().write_all(table.text(Style::of(&io::stdout())).as_bytes())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Each file as it would be alone.
fn check(files: &[PathBuf]) -> Result<ExitCode, CliError> {
    let mut all_good = true;
    for file in files {
        match NodeConfig::default().add_file(file) {
            Ok(()) => writeln!(io::stdout(), "{}: good", print::printable(&file.display().to_string()))?,
            Err(error) => {
                all_good = false;
                print::error(&CliError::Config(error));
            }
        }
    }
    Ok(if all_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
