//! The image builder beside umoci and buildah, on firmware of several sizes, and beside what its format costs at the least.
//!
//! - [`firmware`]: what is packed, made here, the same on every machine
//! - [`packer`]: the three, and what each run costs
//! - [`table`]: the numbers, and what the targets say

mod firmware;
mod packer;
mod table;

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use micrun_testkit::firmware::U_BOOT_ARM64;
use micrun_testkit::{Product, Workspace, shell, step};

use super::report::median;
use firmware::Firmware;
use packer::{Cost, Packer, measure, peak_mib, threads};
pub use table::Table;
use table::{Row, Target};

/// The most that a larger firmware may add to the memory of `pack`, MiB.
const CONSTANT: f64 = 24.0;

/// Packs, checks, and compares; `packaged`: not with what had to be built.
pub fn run(workspace: &Workspace, product: &Product, runs: u32, packaged: bool) -> Result<Table> {
    let made = workspace.kit("bench")?;
    let scratch = tempfile::tempdir().context("cannot make a temporary folder")?;
    let u_boot = U_BOOT_ARM64.elf(product.firmware());
    let firmwares = [
        Firmware::at("U-Boot", &u_boot)?,
        Firmware::make(&made, "1 MB", 1_000_000)?,
        Firmware::make(&made, "16 MB", 16_000_000)?,
        Firmware::make(&made, "256 MB", 256_000_000)?,
    ];
    let mut table = Table::default();
    for firmware in &firmwares {
        let rows = pack(product, firmware, scratch.path(), runs_for(firmware, runs))?;
        table.rows.extend(rows);
    }
    add_targets(&mut table);
    if !packaged {
        yardstick(workspace, product, &firmwares[3], scratch.path(), runs, &mut table)?;
    }
    check(product, &made, runs, &mut table)?;
    Ok(table)
}

/// Large ones take their time, and vary less.
fn runs_for(firmware: &Firmware, runs: u32) -> u32 {
    match firmware.size {
        0..4_000_000 => runs,
        4_000_000..64_000_000 => runs.div_ceil(3),
        _ => runs.div_ceil(9),
    }
}

/// Every packer, in turns.
fn pack(product: &Product, firmware: &Firmware, scratch: &Path, runs: u32) -> Result<Vec<Row>> {
    step(format_args!("Packing {} ({} bytes), {runs} times each, in turns", firmware.name, firmware.size));
    let mut samples: [Vec<Cost>; 3] = Default::default();
    for _ in 0..runs {
        for (packer, samples) in Packer::ALL.into_iter().zip(&mut samples) {
            samples.push(packer.run(product, &firmware.path, scratch)?);
        }
    }
    let row = |(packer, samples): (Packer, Vec<Cost>)| {
        let peak = packer.peak_mib(product, &firmware.path, scratch)?;
        Ok(Row::of(firmware.name, packer.name(), &samples, peak))
    };
    Packer::ALL.into_iter().zip(samples).map(row).collect()
}

fn add_targets(table: &mut Table) {
    let row = |firmware, packer| table.row(firmware, packer);
    let (small, large) = (row("1 MB", "micrun"), row("256 MB", "micrun"));
    let smallest_peer = |firmware| row(firmware, "umoci").bytes.min(row(firmware, "buildah").bytes);
    let mut targets = vec![
        Target::at_most("pack of 1 MB", "ms", small.wall_ms, 15.0),
        Target::at_most("peak memory of it", "MiB", small.peak_mib, 12.0),
        Target::at_least("times faster than umoci", "", row("1 MB", "umoci").wall_ms / small.wall_ms, 4.0),
        Target::at_most(
            "more memory for 256 MB than for 1 MB",
            "MiB",
            large.peak_mib - small.peak_mib,
            CONSTANT,
        )
        .sure(),
        Target::at_most("256 MB over 16 MB, time", "", large.wall_ms / row("16 MB", "micrun").wall_ms, 20.0),
    ];
    for firmware in ["U-Boot", "1 MB", "16 MB", "256 MB"] {
        let share = 100.0 * row(firmware, "micrun").bytes / smallest_peer(firmware);
        targets.push(
            Target::at_most(format!("layer of {firmware}, of the smallest peer's"), "%", share, 100.0).sure(),
        );
    }
    table.targets.extend(targets);
}

/// What zstd with the same parameters takes on the same bytes together with the three digests that the format
/// needs, in one thread and with nothing written.
fn yardstick(
    workspace: &Workspace,
    product: &Product,
    firmware: &Firmware,
    scratch: &Path,
    runs: u32,
    table: &mut Table,
) -> Result<()> {
    let program = workspace.target().join("release/examples/yardstick");
    step(format_args!("What packing {} costs at the least", firmware.name));
    let mut samples: [Vec<f64>; 2] = Default::default();
    for _ in 0..runs.div_ceil(3) {
        samples[0].push(measure(Command::new(&program).arg(&firmware.path))?.wall_ms);
        samples[1].push(Packer::Micrun.run(product, &firmware.path, scratch)?.wall_ms);
    }
    let [least, ours] = samples.map(median);
    let speed = |ms: f64| firmware.size as f64 / 1e3 / ms;
    let name = format!(
        "speed of {} ({:.0} MB/s), of the yardstick's ({:.0} MB/s)",
        firmware.name,
        speed(ours),
        speed(least)
    );
    table.targets.push(Target::at_least(name, "%", 100.0 * least / ours, 80.0));
    let used = threads(Packer::Micrun.command(product, &firmware.path, scratch))?;
    table.targets.push(Target::known("threads that pack used for it", f64::from(used)));
    Ok(())
}

/// An unstripped ELF file with a hundred thousand symbols.
fn check(product: &Product, made: &Path, runs: u32, table: &mut Table) -> Result<()> {
    let firmware = Firmware::unstripped(made, "10 MB")?;
    step(format_args!("Checking {} bytes with symbols and debug information, {runs} times", firmware.size));
    let mut command = Command::new(product.builder());
    command.arg("check").arg(&firmware.path);
    let samples = (0..runs).map(|_| measure(&mut command)).collect::<Result<Vec<_>>>()?;
    let row = Row::of("check 10 MB", "micrun", &samples, peak_mib(&command, made)?);
    table.targets.push(Target::at_most("check of an unstripped 10 MB", "ms", row.wall_ms, 10.0));
    table.rows.push(row);
    Ok(())
}

/// Builds what is compared with; the builder itself is built with the product.
pub fn prepare(workspace: &Workspace) -> Result<()> {
    let mut build = micrun_testkit::product::cargo(workspace);
    build.args(["build", "--release", "-p", "micrun-image-builder", "--example", "yardstick"]);
    step(format_args!("Building the yardstick: {}", shell::line(&build)));
    shell::run(&mut build)
}
