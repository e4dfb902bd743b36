//! Our numbers beside those of our peers, measured in the same run on the same machine: ratios hold better than figures.
//!
//! - [`shim`]: the shim beside both of runc's
//! - [`report`]: the table, and what the targets say
//! - [`pods`]: pods of guests beside pods of Linux programs
//! - [`builder`]: the image builder beside umoci and buildah

mod builder;
mod pods;
mod report;
mod shim;

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};
use micrun_testkit::{Product, Profile, Workspace, packages};
use serde_json::json;

use crate::privileges::prepare_then_as_root;

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  cargo xtask bench\n  cargo xtask bench builder --runs 3\n  \
                        cargo xtask bench --json > numbers.json\n  \
                        cargo xtask bench shim --crates   what the shim is made of\n\n\
                        containerd 2 keeps its data on a tmpfs meanwhile. The exit status is 1 if a target is \
                        missed that does not depend on the machine. docs/benchmarks.md says what each figure means.")]
pub struct Arguments {
    /// What to measure; everything if no part is named
    #[arg(value_enum, value_name = "PART")]
    parts: Vec<Part>,

    /// Prints JSON instead of the tables
    #[arg(long)]
    json: bool,

    /// Interleaved runs of each measurement; their median counts. What takes seconds runs less often
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,

    /// Leaves out the peers that have to be compiled first, which takes minutes: runc's shim in Rust, the yardstick of `pack`
    #[arg(long)]
    packaged_peers: bool,

    /// Prints the shim's size, section by section and crate by crate, and measures nothing
    #[arg(long, conflicts_with_all = ["json", "packaged_peers"])]
    crates: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The shim beside runc's: starts, ends, consoles, idle containers, a hundred of them
    Shim,
    /// Pods of guests beside pods that runc runs: kubelet's calls, memory, the gap of an update
    Pods,
    /// The image builder beside umoci and buildah: 1 MB, 16 MB and 256 MB
    Builder,
}

impl Arguments {
    fn has(&self, part: Part) -> bool {
        self.parts.is_empty() || self.parts.contains(&part)
    }
}

/// Measures and prints.
pub fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    if arguments.crates {
        return shim::size::print_crates(workspace, &Product::build(workspace, Profile::Release, &[])?);
    }
    prepare_then_as_root(workspace, || prepare(workspace, arguments), || measure(workspace, arguments))
}

fn prepare(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let needs: [&[packages::Need]; 6] = [
        &packages::DEMO,
        &packages::GUESTS,
        &packages::IMAGES,
        &packages::READERS,
        &packages::RELEASES,
        &packages::BENCH,
    ];
    packages::ensure("the benchmark", &needs)?;
    Product::build(workspace, Profile::Release, &[])?;
    if arguments.has(Part::Builder) && !arguments.packaged_peers {
        builder::prepare(workspace)?;
    }
    if arguments.has(Part::Shim) {
        shim::prepare(workspace, arguments.packaged_peers)?;
    }
    if arguments.has(Part::Pods) {
        packages::ensure("the benchmark of pods", &[&packages::PODS])?;
        pods::prepare(workspace)?;
    }
    Ok(())
}

fn measure(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let product = Product::find(workspace, Profile::Release)?;
    let (runs, packaged) = (arguments.runs, arguments.packaged_peers);
    let shim =
        arguments.has(Part::Shim).then(|| shim::run(workspace, &product, runs, packaged)).transpose()?;
    let pods = arguments.has(Part::Pods).then(|| pods::run(workspace, &product, runs)).transpose()?;
    let builder = arguments
        .has(Part::Builder)
        .then(|| builder::run(workspace, &product, runs, packaged))
        .transpose()?;
    if arguments.json {
        let numbers = json!({
            "shim": shim.as_ref().map(report::Report::to_json),
            "pods": pods.as_ref().map(report::Report::to_json),
            "builder": builder.as_ref().map(builder::Table::to_json),
        });
        println!("{}", serde_json::to_string_pretty(&numbers).context("cannot print the numbers")?);
    } else {
        shim.iter().chain(&pods).for_each(report::Report::print_table);
        builder.iter().for_each(builder::Table::print);
    }
    let missed = shim
        .iter()
        .chain(&pods)
        .flat_map(|report| report.missed())
        .chain(builder.iter().flat_map(|table| table.missed()));
    let missed: Vec<&str> = missed.collect();
    ensure!(missed.is_empty(), "these targets are missed: {}", missed.join(", "));
    Ok(())
}
