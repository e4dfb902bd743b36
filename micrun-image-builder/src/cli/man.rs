//! `man`: one page for the program and one for each command.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use clap_mangen::Man;

use super::CliError;
use crate::store::StoreError;

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ManArgs {
    /// Write a page for the program and one for each command into this directory
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  micrun-image-builder man | man -l -
  micrun-image-builder man --output /usr/share/man/man1";

pub(super) fn run(args: &ManArgs, program: clap::Command) -> Result<ExitCode, CliError> {
    let mut program = program.disable_help_subcommand(true);
    program.build();
    let Some(dir) = &args.output else {
        io::stdout().write_all(&page(&program)?)?;
        return Ok(ExitCode::SUCCESS);
    };
    fs::create_dir_all(dir).map_err(StoreError::write(dir.display().to_string()))?;
    let mut commands = vec![program];
    while let Some(command) = commands.pop() {
        let path = dir.join(format!("{}.1", command.get_display_name().unwrap_or(command.get_name())));
        fs::write(&path, page(&command)?).map_err(StoreError::write(path.display().to_string()))?;
        commands.extend(command.get_subcommands().filter(|command| !command.is_hide_set()).cloned());
    }
    Ok(ExitCode::SUCCESS)
}

fn page(command: &clap::Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page)?;
    Ok(page)
}
