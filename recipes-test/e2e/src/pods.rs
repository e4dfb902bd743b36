//! Containers of a pod share one shim. A sandbox is not needed for that: the annotation that CRI writes is.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use micrun_testkit::firmware::OURS_RISCV64;
use micrun_testkit::{observe, wait};

use crate::node::{Stage, Story};
use crate::{kill_process, story};

/// What CRI says of every container of a pod.
const POD: &str = "io.kubernetes.cri.sandbox-id=pod";

pub fn stories() -> Vec<Story> {
    vec![
        story("a pod: two guests, one shim, a restart of containerd", share),
        story("a pod: its shim is killed", shim_is_killed),
    ]
}

/// Each guest is a task of its own; the shim stays until the last one is deleted.
fn share(stage: &mut Stage<'_>) -> Result<()> {
    start(stage, "first")?;
    let shim = stage.shim()?;
    start(stage, "second")?;
    ensure!(stage.shim()?.pid == shim.pid, "the second container has another shim");
    ensure!(stage.guests()?.len() == 3, "one shim and two QEMUs should run, not {:?}", stage.guests()?);

    let users: BTreeSet<String> = (stage.guests()?.iter())
        .filter(|process| process.program().starts_with("qemu-system-"))
        .map(|qemu| observe::status(qemu.pid, "Uid"))
        .collect::<Result<_>>()?;
    ensure!(users.len() == 2, "a guest could signal the other: both run as {users:?}");

    stage.containerd.restart()?;
    for id in ["first", "second"] {
        stage.wait_state(id, "RUNNING")?;
    }
    stage.kill("first", "SIGKILL")?;
    ensure!(stage.reap("first")? == 137, "the first guest was killed");
    stage.wait_state("second", "RUNNING")?;
    ensure!(stage.shim()?.pid == shim.pid, "the shim stays for the second container");
    stage.kill("second", "SIGKILL")?;
    ensure!(stage.reap("second")? == 137, "the second guest was killed");
    Ok(())
}

/// All of the pod's containers end with their shim.
fn shim_is_killed(stage: &mut Stage<'_>) -> Result<()> {
    start(stage, "one")?;
    start(stage, "two")?;
    kill_process(stage.shim()?.pid)?;
    for id in ["one", "two"] {
        ensure!(stage.events()?.exit_status(id)? == 137, "{id} should end with 137");
        wait::until("the task to be gone", || Ok(stage.task(id)?.is_none().then_some(())))?;
        stage.run_ctr(["container", "rm", id])?;
    }
    Ok(())
}

fn start(stage: &Stage<'_>, id: &str) -> Result<()> {
    stage.import_firmware(&OURS_RISCV64)?;
    let run = stage.try_run_detached(&OURS_RISCV64.image(), id, &["--annotation", POD])?;
    let said = String::from_utf8_lossy(&run.stderr);
    ensure!(run.status.success(), "ctr run --detach failed: {said}");
    stage.wait_for_log(id, OURS_RISCV64.banner)
}
