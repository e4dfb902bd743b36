//! The commands of this repository: `cargo xtask demo|test|node|fuzz|crates|bench|soak`.
//!
//! - [`demo`]: from a clone to a prompt of a firmware that containerd started
//! - [`mod@test`]: all checks, or parts of them
//! - [`fuzz`]: bytes that may be anything, for whatever reads bytes from outside
//! - [`crates`]: the recipes' list of crates
//! - [`mod@bench`]: our numbers beside runc's shim, umoci and buildah
//! - [`soak`]: start, kill and delete for a long time, and count what leaks
//! - [`privileges`]: builds run as the user, guests as root
//!
//! What they share with the tests lives in recipes-test/kit.

mod bench;
mod crates;
mod demo;
mod fuzz;
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
                  cargo xtask fuzz --minutes 10 look for inputs that break something\n  \
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
    /// Runs the tests: lint, unit, layer, fuzz, e2e, pods, system, or all of them in this order
    Test(test::Arguments),
    /// Boots the arm64 node of the system tests and gives you a shell in it
    Node,
    /// Feeds parsers with inputs that coverage guides, and reports what breaks
    Fuzz(fuzz::Arguments),
    /// Writes the list of crates that the layer's recipes fetch, from Cargo.lock
    Crates,
    /// Measures the shim beside runc's, and the image builder beside umoci and buildah
    Bench(bench::Arguments),
    /// Starts, kills and deletes containers for a long time and counts what leaks
    Soak(soak::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = Workspace::find().and_then(|workspace| match arguments.command {
        Command::Demo(arguments) => demo::run(&workspace, &arguments),
        Command::Test(arguments) => test::run(&workspace, &arguments),
        Command::Node => test::system::shell(&workspace),
        Command::Fuzz(arguments) => fuzz::run(&workspace, &arguments),
        Command::Crates => crates::write(&workspace),
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
