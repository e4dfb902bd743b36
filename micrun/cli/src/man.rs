//! `man`: one page for the program and one for each command.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use clap_mangen::Man;

use super::CliError;

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ManArgs {
    /// Write a page for the program and one for each command into this directory
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  micrun man | man -l -
  micrun man --output /usr/share/man/man1";

pub(super) fn run(args: &ManArgs, program: clap::Command) -> Result<ExitCode, CliError> {
    let mut program = program.disable_help_subcommand(true);
    program.build();
    let Some(dir) = &args.output else {
        io::stdout().write_all(&page(&program)?)?;
        return Ok(ExitCode::SUCCESS);
    };
    fs::create_dir_all(dir).map_err(failed(dir))?;
    let mut commands = vec![program];
    while let Some(command) = commands.pop() {
        let path = dir.join(format!("{}.1", command.get_display_name().unwrap_or(command.get_name())));
        fs::write(&path, page(&command)?).map_err(failed(&path))?;
        commands.extend(command.get_subcommands().filter(|command| !command.is_hide_set()).cloned());
    }
    Ok(ExitCode::SUCCESS)
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> CliError {
    move |source| CliError::Write { path: path.to_owned(), source }
}

fn page(command: &clap::Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page)?;
    Ok(page)
}
