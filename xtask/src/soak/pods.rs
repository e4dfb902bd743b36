//! Cycles of pods, as kubelet makes them, with everything counted before and after.
//!
//! In a cycle a pod with a guest comes and goes, and a guest comes and goes in a pod that lives through all of them.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::cri::{self, Cri, MICA, PAUSE, Pod, Sandboxer, Settings};
use micrun_testkit::firmware::OURS_ARM64;
use micrun_testkit::product::SHIM;
use micrun_testkit::releases::{ALL, Series};
use micrun_testkit::{Containerd, Firmware, Product, Release, Workspace, step, wait};

use super::counts::Counts;

const FIRMWARE: Firmware = OURS_ARM64;

/// Both ways to keep pods, each with the containerd that is most in use for it.
const NODES: [(Series, Sandboxer); 2] = [(ALL[1], Sandboxer::PodSandbox), (ALL[2], Sandboxer::Shim)];

/// Cycles before the first count: caches fill, databases grow to their size, and so does a heap.
const WARM_UP: u32 = 100;

/// How long memory may take to go back, and files that a garbage collector removes to vanish.
const SETTLE: Duration = Duration::from_secs(5);

/// Runs them on each node, and compares.
pub fn run(workspace: &Workspace, product: &Product, cycles: u32) -> Result<()> {
    let folder = workspace.kit("soak")?;
    let images = [
        (PAUSE.to_owned(), cri::pack_linux(&folder, PAUSE)?),
        (FIRMWARE.image(), product.pack(&FIRMWARE, &folder)?),
    ];
    for (series, sandboxer) in NODES {
        let release = Release::of(workspace, series)?;
        let mut containerd = Containerd::with_cri(&release, product.bin(), &Settings { sandboxer })?;
        for (reference, archive) in &images {
            containerd.import_for_cri(archive, reference)?;
        }
        containerd.keep()?;
        soak(&containerd, cycles, sandboxer)?;
    }
    Ok(())
}

fn soak(containerd: &Containerd, cycles: u32, sandboxer: Sandboxer) -> Result<()> {
    let logs = tempfile::tempdir().context("cannot make a temporary folder")?;
    let cri = containerd.cri()?;
    let resident = cri.run_pod(cri.pod_config("resident", logs.path()), MICA)?;
    let shim = shims(containerd)?.pop().context("no shim is running")?;

    step(format_args!("{WARM_UP} cycles of pods before anything is counted"));
    let mut number = 0;
    let mut turn = |count| -> Result<()> {
        for _ in 0..count {
            number += 1;
            cycle(&cri, &resident, number, logs.path()).with_context(|| format!("cycle {number}"))?;
        }
        wait::until("the other shims to exit", || Ok((shims(containerd)?.len() == 1).then_some(())))?;
        std::thread::sleep(SETTLE);
        Ok(())
    };
    turn(WARM_UP)?;
    let before = Counts::take(containerd, shim)?;
    step(format_args!("{cycles} cycles of pods"));
    let begin = Instant::now();
    turn(cycles)?;
    let seconds = begin.elapsed().as_secs_f64();
    let after = Counts::take(containerd, shim)?;
    let kept =
        if sandboxer == Sandboxer::Shim { "with the Sandbox service" } else { "with pause containers" };
    println!(
        "{cycles} cycles of pods {kept}, under containerd {} in {seconds:.0} s",
        containerd.release().version
    );
    let compared = before.compare(&after);

    cri.stop_pod(&resident.id)?;
    cri.remove_pod(&resident.id)?;
    let left = containerd.leftovers()?;
    ensure!(left.is_empty(), "left behind:\n  {}", left.join("\n  "));
    compared
}

/// Every third pod is removed with what is in it; the others in kubelet's order.
fn cycle(cri: &Cri, resident: &Pod, number: u32, logs: &Path) -> Result<()> {
    let guest = cri.run(resident, "guest", &FIRMWARE.image(), number)?;
    let pod = cri.run_pod(cri.pod_config("pod", logs), MICA)?;
    let own = cri.run(&pod, "own", &FIRMWARE.image(), number)?;
    cri::log::wait_for(&logs.join(format!("own-{number}.log")), FIRMWARE.banner)?;
    if !number.is_multiple_of(3) {
        cri.stop(&own, 30)?;
        cri.remove(&own)?;
    }
    cri.stop_pod(&pod.id)?;
    cri.remove_pod(&pod.id)?;
    cri.stop(&guest, 30)?;
    Ok(cri.remove(&guest)?)
}

fn shims(containerd: &Containerd) -> Result<Vec<u32>> {
    let processes = containerd.namespace().processes()?;
    let shims = processes.iter().filter(|process| process.program() == SHIM);
    Ok(shims.map(|process| process.pid).collect())
}
