//! The image builder beside umoci, on the same ELF.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};
use micrun_testkit::firmware::U_BOOT_ARM64;
use micrun_testkit::{Product, shell, step};

use super::report::{Report, Row, median};

/// One run of a packer.
struct Sample {
    ms: f64,
    /// Peak resident memory of its largest process, MiB.
    peak: f64,
}

/// Packs U-Boot with both, in turns. umoci writes a directory and no archive, so it has less to do.
pub fn measure(product: &Product, runs: u32, report: &mut Report) -> Result<()> {
    let dir = tempfile::tempdir().context("cannot make a temporary folder")?;
    let elf = U_BOOT_ARM64.elf(product.firmware());
    let size = elf.metadata().with_context(|| format!("cannot look at {}", elf.display()))?.len();
    step(format_args!("Packing {} ({size} bytes), {runs} times each, in turns", elf.display()));
    let mut samples: [[Vec<f64>; 2]; 2] = Default::default();
    for round in 0..runs {
        let archive = dir.path().join(format!("{round}.oci.tar"));
        let ours = timed(&product.pack_command(&U_BOOT_ARM64, &archive), dir.path())?;
        let umoci = timed(&umoci(&elf, &dir.path().join(format!("{round}"))), dir.path())?;
        for (which, sample) in [ours, umoci].into_iter().enumerate() {
            samples[0][which].push(sample.ms);
            samples[1][which].push(sample.peak);
        }
    }
    let [[ours, umoci], [our_peak, umoci_peak]] = samples.map(|pair| pair.map(median));
    let name = format!("pack of a {:.1} MB ELF", size as f64 / 1e6);
    report.add(Row::new(name, "ms", ours, umoci).beside("umoci").at_most(40.0));
    report.add(Row::new("peak memory of pack", "MiB", our_peak, umoci_peak).beside("umoci"));
    Ok(())
}

fn umoci(elf: &Path, layout: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args([
        "-ec",
        "umoci init --layout \"$1\"; umoci new --image \"$1:t\"; umoci insert --image \"$1:t\" \"$2\" /firmware.elf",
        "sh",
    ]);
    command.args([layout, elf]);
    command
}

/// Runs it under time(1), which knows the peak memory of what it ran.
fn timed(command: &Command, dir: &Path) -> Result<Sample> {
    let record: PathBuf = dir.join("peak");
    let mut time = Command::new("/usr/bin/time");
    time.args(["--format", "%M", "--output"]).arg(&record);
    time.arg(command.get_program()).args(command.get_args());
    let start = Instant::now();
    shell::quietly(&mut time)?;
    let ms = start.elapsed().as_secs_f64() * 1e3;
    let peak = std::fs::read_to_string(&record).context("time(1) wrote nothing")?;
    let peak: f64 = peak.trim().parse().with_context(|| format!("time(1) wrote {peak:?}"))?;
    Ok(Sample { ms, peak: peak / 1024.0 })
}
