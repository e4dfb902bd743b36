//! Fuzz for a long time; then start, kill and delete for a long time, and after each round nothing may be left. Or do it
//! so many times, and nothing may have grown.
//!
//! - [`cycles`]: a number of cycles of containers
//! - [`pods`]: a number of cycles of pods
//! - [`counts`]: what is counted before and after them

mod counts;
mod cycles;
mod pods;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;
use micrun_testkit::firmware::{OURS_ARM64, OURS_RISCV64};
use micrun_testkit::releases::ALL;
use micrun_testkit::{Containerd, Firmware, Product, Profile, Release, Workspace, packages, step};

use crate::fuzz;
use crate::privileges::prepare_then_as_root;

const RUNTIME: &str = "io.containerd.mica.v2";

/// They take turns.
const FIRMWARES: [Firmware; 2] = [OURS_ARM64, OURS_RISCV64];

/// Containers at a time in one round.
const BATCH: usize = 8;

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  cargo xtask soak                one hour\n  cargo xtask soak --minutes 1 --fuzz 0\n  \
                        cargo xtask soak --cycles 500   ten minutes\n  \
                        cargo xtask soak --pods 200     a quarter of an hour\n\n\
                        Ends with status 1 after a finding, or the first round that leaves something behind, or \
                        if something has grown after all cycles."
)]
pub struct Arguments {
    /// For how long, the fuzzing not counted
    #[arg(long, default_value_t = 60)]
    minutes: u64,

    /// Fuzzes for so many minutes before
    #[arg(long, value_name = "MINUTES", default_value_t = 20)]
    fuzz: u64,

    /// Instead of that, so many cycles without fuzzing; descriptors, memory, threads, mounts and files are counted
    /// before and after
    #[arg(long, conflicts_with_all = ["minutes", "fuzz"], value_parser = clap::value_parser!(u32).range(1..))]
    cycles: Option<u32>,

    /// The same with pods, over CRI: so many with pause containers, and so many with the Sandbox service
    #[arg(long, value_name = "CYCLES", conflicts_with_all = ["minutes", "fuzz", "cycles"],
          value_parser = clap::value_parser!(u32).range(1..))]
    pods: Option<u32>,
}

/// Runs rounds until the time is over.
pub fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    prepare_then_as_root(workspace, || prepare(workspace, arguments), || soak(workspace, arguments))
}

fn prepare(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    if arguments.fuzz > 0 && arguments.cycles.is_none() && arguments.pods.is_none() {
        fuzz::for_minutes(workspace, arguments.fuzz)?;
    }
    packages::ensure("the soak test", &[&packages::DEMO, &packages::GUESTS, &packages::RELEASES])?;
    if arguments.pods.is_some() {
        packages::ensure("pods", &[&packages::IMAGES, &packages::PODS])?;
    }
    Product::build(workspace, Profile::Release, &[])?;
    Release::all(workspace).map(drop)
}

fn soak(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let product = Product::find(workspace, Profile::Release)?;
    if let Some(cycles) = arguments.cycles {
        return cycles::run(workspace, &product, cycles);
    }
    if let Some(cycles) = arguments.pods {
        return pods::run(workspace, &product, cycles);
    }
    let images = workspace.kit("soak")?;
    let archives = [product.pack(&FIRMWARES[0], &images)?, product.pack(&FIRMWARES[1], &images)?];
    let mut nodes = Vec::new();
    for series in ALL {
        nodes.push(Containerd::start(&Release::of(workspace, series)?, product.bin())?);
    }
    step(format_args!("{BATCH} containers per round, for {} minutes", arguments.minutes));
    println!("{:>6} {:>10} {:>11} {:>9} {:>5}", "round", "containerd", "containers", "seconds", "left");
    let end = Instant::now() + Duration::from_secs(arguments.minutes * 60);
    let mut containers = 0;
    for number in 1_u64.. {
        for containerd in &nodes {
            let start = Instant::now();
            round(containerd, &archives, number)?;
            containers += BATCH;
            let left = containerd.leftovers()?;
            let name = &containerd.release().name;
            let seconds = start.elapsed().as_secs_f64();
            println!("{number:>6} {name:>10} {containers:>11} {seconds:>9.1} {:>5}", left.len());
            ensure!(left.is_empty(), "round {number} on containerd {name} left:\n  {}", left.join("\n  "));
        }
        if Instant::now() >= end {
            break;
        }
    }
    Ok(())
}

/// Starts a batch, then ends it: every third container by SIGTERM, the others by SIGKILL.
fn round(containerd: &Containerd, archives: &[PathBuf], number: u64) -> Result<()> {
    for archive in archives {
        containerd.import(archive)?;
    }
    let ids: Vec<String> = (0..BATCH).map(|index| format!("soak-{number}-{index}")).collect();
    for (index, id) in ids.iter().enumerate() {
        let image = FIRMWARES[index % FIRMWARES.len()].image();
        containerd.run_ctr(["run", "--detach", "--runtime", RUNTIME, &image, id])?;
    }
    for (index, id) in ids.iter().enumerate() {
        end(containerd, id, if index % 3 == 0 { "SIGTERM" } else { "SIGKILL" })?;
    }
    containerd.remove_images()
}

/// Ends a container by a signal and deletes it.
fn end(containerd: &Containerd, id: &str, signal: &str) -> Result<()> {
    let expected = if signal == "SIGTERM" { 143 } else { 137 };
    containerd.run_ctr(["task", "kill", "--signal", signal, id])?;
    let status = containerd.reap(id)?;
    ensure!(status == expected, "{id} ended with {status} after {signal}, not with {expected}");
    Ok(())
}
