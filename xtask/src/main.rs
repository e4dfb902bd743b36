//! The commands of this repository: `cargo xtask demo|test|bench|soak`.
//!
//! - [`demo`]: from a clone to a prompt of a firmware that containerd started
//! - [`mod@test`]: all checks, or parts of them
//! - [`mod@bench`]: our numbers beside runc's shim and umoci
//! - [`soak`]: start, kill and delete for a long time, and count what leaks
//! - [`privileges`]: builds run as the user, guests as root
//!
//! What they share with the tests lives in recipes-test/kit.

mod bench;
mod demo;
mod privileges;
mod soak;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use micrun_testkit::Workspace;

/// Commands for people who work on MicRun.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    after_help = "Examples:\n  cargo xtask demo              see firmware run as a container, then type to it\n  \
                  cargo xtask test              everything that CI runs\n  \
                  cargo xtask test lint unit    two parts of it\n  \
                  cargo xtask bench --json      numbers for a machine to read"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Packs U-Boot and our test firmware, runs them under a private containerd, leaves you at a prompt
    Demo(demo::Arguments),
    /// Runs the tests: lint, unit, e2e, or all of them in this order
    Test(test::Arguments),
    /// Measures the shim and the image builder beside runc's shim and umoci
    Bench(bench::Arguments),
    /// Starts, kills and deletes containers for a long time and counts what leaks
    Soak(soak::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = Workspace::find().and_then(|workspace| match arguments.command {
        Command::Demo(arguments) => demo::run(&workspace, &arguments),
        Command::Test(arguments) => test::run(&workspace, &arguments),
        Command::Bench(arguments) => bench::run(&workspace, &arguments),
        Command::Soak(arguments) => soak::run(&workspace, &arguments),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
