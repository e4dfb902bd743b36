//! A number of cycles with everything counted before and after.
//!
//! A cycle is two containers, each created, started, killed and deleted: one in the shim of a pod, which lives through
//! all of them, and one in a shim of its own.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::firmware::OURS_ARM64;
use micrun_testkit::releases::ALL;
use micrun_testkit::{Containerd, Firmware, Product, Release, Workspace, step, wait};

use super::counts::Counts;
use super::{RUNTIME, end};

const FIRMWARE: Firmware = OURS_ARM64;

/// What CRI says of every container of a pod.
const POD: &str = "io.kubernetes.cri.sandbox-id=soak";

/// Cycles before the first count: caches fill, databases grow to their size, and so does a heap.
const WARM_UP: u32 = 100;

/// How long memory may take to go back, and files that a garbage collector removes to vanish.
const SETTLE: Duration = Duration::from_secs(5);

/// Runs them under the containerd that openEuler has, and compares.
pub fn run(workspace: &Workspace, product: &Product, cycles: u32) -> Result<()> {
    let containerd = Containerd::start(&Release::of(workspace, ALL[1])?, product.bin())?;
    containerd.import(&product.pack(&FIRMWARE, &workspace.kit("soak")?)?)?;
    start(&containerd, "resident", true)?;
    let shim = shims(&containerd)?.pop().context("no shim is running")?;

    step(format_args!("{WARM_UP} cycles before anything is counted"));
    let mut number = 0;
    let mut turn = |count| -> Result<()> {
        for _ in 0..count {
            number += 1;
            cycle(&containerd, number)?;
        }
        settle(&containerd)
    };
    turn(WARM_UP)?;
    let before = Counts::take(&containerd, shim)?;
    step(format_args!("{cycles} cycles of two containers"));
    let begin = Instant::now();
    turn(cycles)?;
    let seconds = begin.elapsed().as_secs_f64();
    let after = Counts::take(&containerd, shim)?;
    println!(
        "{cycles} cycles, {} containers, under containerd {} in {seconds:.0} s",
        2 * cycles,
        containerd.release().version
    );
    let compared = before.compare(&after);

    end(&containerd, "resident", "SIGKILL")?;
    containerd.remove_images()?;
    let left = containerd.leftovers()?;
    ensure!(left.is_empty(), "left behind:\n  {}", left.join("\n  "));
    compared
}

fn cycle(containerd: &Containerd, number: u32) -> Result<()> {
    for (kind, in_pod) in [("pod", true), ("own", false)] {
        let id = format!("{kind}-{number}");
        start(containerd, &id, in_pod)?;
        end(containerd, &id, if number.is_multiple_of(3) { "SIGTERM" } else { "SIGKILL" })?;
    }
    Ok(())
}

fn start(containerd: &Containerd, id: &str, in_pod: bool) -> Result<()> {
    let image = FIRMWARE.image();
    let pod = if in_pod { &["--annotation", POD][..] } else { &[] };
    let run = [&["run", "--detach", "--runtime", RUNTIME][..], pod, &[&image, id]].concat();
    containerd.run_ctr(run).map(drop)
}

/// Only the resident container's shim and guest are left.
fn settle(containerd: &Containerd) -> Result<()> {
    wait::until("the other shims to exit", || Ok((shims(containerd)?.len() == 1).then_some(())))?;
    std::thread::sleep(SETTLE);
    Ok(())
}

fn shims(containerd: &Containerd) -> Result<Vec<u32>> {
    let processes = containerd.namespace().processes()?;
    let shims = processes.iter().filter(|process| process.program() == "containerd-shim-mica-v2");
    Ok(shims.map(|process| process.pid).collect())
}
