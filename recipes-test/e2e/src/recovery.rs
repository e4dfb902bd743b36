//! What must hold whatever dies, as somebody with `ctr` sees it: containerd is killed and started again under guests
//! that print, are paused, are talked to or are just being made; shims die on every containerd.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::firmware::{OURS_ARM64, OURS_RISCV64};
use micrun_testkit::{Console, wait};
use nix::sys::signal::Signal;

use crate::node::{RUNTIME, Stage, Story};
use crate::{crash, kill_process, signal_process, story};

/// Told with the shim that users have.
pub fn stories() -> Vec<Story> {
    vec![
        story("containerd is killed while output flows", output_flows),
        story("containerd is killed under a client", client_is_attached),
        story("containerd is killed while a guest is paused", guest_is_paused),
        story("a guest ends while containerd is away", guest_ends_meanwhile),
    ]
}

/// Told with the shim that can be told to die, or to wait.
pub fn stories_with_crash_points() -> Vec<Story> {
    // One of each kind: the rest is told without containerd, see `crash`.
    let points = [
        "start: server started",
        "create: directory reserved",
        "create: state saved, with claims",
        "create: guest made",
        "task start: guest runs",
        "exit: state set",
        "task delete: guest destroyed",
        "task delete: event queued",
    ];
    let dies = |point: &'static str| {
        story(format!("the shim is killed at {point}"), move |stage: &mut Stage<'_>| dies(stage, point))
    };
    let mut stories: Vec<Story> = points.map(dies).into();
    stories.push(story("containerd is killed while a container is created", container_is_created));
    stories
}

/// Lines of the firmware's flood: `flood 000001 abc…`; the command's echo has no third word.
fn numbers(output: &str) -> Vec<usize> {
    let number = |line: &str| match line.split_whitespace().collect::<Vec<_>>()[..] {
        ["flood", number, _] => number.parse().ok(),
        _ => None,
    };
    output.lines().filter_map(number).collect()
}

/// The input of a container that runs detached.
fn stdin(stage: &Stage<'_>, id: &str) -> Result<PathBuf> {
    let folders = stage.namespace().path("/run/containerd/fifo").read_dir()?;
    let mut fifos = folders.flatten().map(|folder| folder.path().join(format!("{id}-stdin")));
    fifos.find(|fifo| fifo.exists()).context("the container has no stdin")
}

/// Nobody reads, and containerd is gone while the guest prints: whoever comes later gets every line.
fn output_flows(stage: &mut Stage<'_>) -> Result<()> {
    const LINES: usize = 1500;
    stage.import_firmware(&OURS_ARM64)?;
    stage.run_ctr(["run", "--detach", "--runtime", RUNTIME, &OURS_ARM64.image(), "flows"])?;
    let mut keys = OpenOptions::new().write(true).open(stdin(stage, "flows")?)?;
    keys.write_all(format!("flood {LINES}\n").as_bytes())?;
    let before = stage.task("flows")?;
    stage.containerd.restart()?;
    ensure!(stage.task("flows")? == before && before.is_some(), "it is another task than {before:?}");
    let mut console = Console::pipes(stage, &["task", "attach", "flows"])?;
    let last = format!("flood {LINES:06} ");
    console.wait_for(&last)?;
    let seen = numbers(&console.wait_for("micrun> ").map(|_| console.seen())?);
    ensure!(seen.len() == LINES && seen.is_sorted(), "{} of {LINES} lines came", seen.len());
    // ctr deletes a task that it is attached to when it ends.
    drop(console);
    stage.kill("flows", "SIGKILL")?;
    ensure!(stage.reap("flows")? == 137, "after the restart a kill should give 137");
    Ok(())
}

/// What a client had not taken when containerd died, the next one gets, in order. The first one is stopped before: it
/// would remove the FIFOs when it ends by itself.
fn client_is_attached(stage: &mut Stage<'_>) -> Result<()> {
    stage.import_firmware(&OURS_ARM64)?;
    stage.run_ctr(["run", "--detach", "--runtime", RUNTIME, &OURS_ARM64.image(), "talks"])?;
    let mut first = Console::pipes(stage, &["task", "attach", "talks"])?;
    first.send("flood 1500")?;
    first.wait_for("flood 000100")?;
    signal_process(first.pid().context("the client is gone")?, Signal::SIGSTOP)?;
    stage.containerd.restart()?;
    stage.wait_state("talks", "RUNNING")?;
    let taken = numbers(&first.seen());
    drop(first);
    let mut second = Console::pipes(stage, &["task", "attach", "talks"])?;
    second.send("echo still here")?;
    second.wait_for("\nstill here")?;
    let rest = numbers(&second.seen());
    let all: Vec<usize> = taken.iter().chain(&rest).copied().collect();
    ensure!(all.is_sorted(), "the lines came out of order: {} and then {}", taken.len(), rest.len());
    ensure!(all.last() == Some(&1500), "the end of the flood is not there: {:?}", all.last());
    ensure!(rest.windows(2).all(|pair| pair[1] == pair[0] + 1), "lines are missing in the rest");
    drop(second);
    stage.kill("talks", "SIGKILL")?;
    ensure!(stage.reap("talks")? == 137, "after the restart a kill should give 137");
    Ok(())
}

/// It is paused afterwards, too, and goes on where it was.
fn guest_is_paused(stage: &mut Stage<'_>) -> Result<()> {
    stage.import_firmware(&OURS_ARM64)?;
    stage.run_ctr(["run", "--detach", "--runtime", RUNTIME, &OURS_ARM64.image(), "still"])?;
    stage.run_ctr(["task", "pause", "still"])?;
    stage.containerd.restart()?;
    stage.wait_state("still", "PAUSED")?;
    stage.run_ctr(["task", "resume", "still"])?;
    stage.wait_state("still", "RUNNING")?;
    let mut console = Console::pipes(stage, &["task", "attach", "still"])?;
    console.send("echo goes on")?;
    console.wait_for("\ngoes on")?;
    drop(console);
    stage.kill("still", "SIGKILL")?;
    ensure!(stage.reap("still")? == 137, "after the restart a kill should give 137");
    Ok(())
}

/// Nobody is there to be told. The state is true as soon as somebody asks, and the status is kept.
fn guest_ends_meanwhile(stage: &mut Stage<'_>) -> Result<()> {
    stage.import_firmware(&OURS_ARM64)?;
    stage.start(&OURS_ARM64, "ended")?;
    let qemu = stage.qemu()?.pid;
    stage.containerd.kill()?;
    kill_process(qemu)?;
    stage.containerd.start_again()?;
    stage.wait_state("ended", "STOPPED")?;
    let removed = stage.try_ctr(["task", "rm", "ended"])?;
    let said = String::from_utf8_lossy(&removed.stderr);
    ensure!(removed.status.success() && said.contains("255"), "ctr task rm said {said:?}");
    stage.run_ctr(["container", "rm", "ended"]).map(drop)
}

/// containerd dies between its request and the answer, and nobody is left who could say what to do.
fn container_is_created(stage: &mut Stage<'_>) -> Result<()> {
    stage.import_firmware(&OURS_RISCV64)?;
    crash::arm(stage.namespace(), "hold", "create: image mounted")?;
    let image = OURS_RISCV64.image();
    let mut creating = Console::pipes(stage, &["run", "--detach", "--runtime", RUNTIME, &image, "begun"])?;
    wait::until("Create to be under way", || Ok(crash::is_reached(stage.namespace()).then_some(())))?;
    stage.containerd.restart()?;
    ensure!(creating.exit()? != 0, "ctr does not know that its containerd died");
    crash::disarm(stage.namespace())?;
    // ctr took the FIFOs with it when it ended, so there is nothing for the guest to write to: Create fails, and its
    // shim, which nobody tells to end, ends.
    wait::until("the shim to end", || Ok(stage.guests()?.is_empty().then_some(())))?;
    remove(stage, "begun")?;
    lives(stage, "begun")
}

/// Whatever a user does when the shim dies at this point, the same container starts afterwards.
fn dies(stage: &mut Stage<'_>, point: &str) -> Result<()> {
    const ID: &str = "dies";
    stage.import_firmware(&OURS_RISCV64)?;
    crash::arm(stage.namespace(), "kill", point)?;
    let lived = lives(stage, ID);
    crash::disarm(stage.namespace()).with_context(|| format!("without it: {lived:?}"))?;
    remove(stage, ID)?;
    lives(stage, ID).context("the next container")
}

/// Starts a container, and ends it.
fn lives(stage: &Stage<'_>, id: &str) -> Result<()> {
    stage.start(&OURS_RISCV64, id)?;
    stage.kill(id, "SIGKILL")?;
    stage.wait_state(id, "STOPPED")?;
    stage.run_ctr(["task", "rm", id])?;
    stage.run_ctr(["container", "rm", id]).map(drop)
}

/// Removes what there is of a container, with what a user would type.
fn remove(stage: &Stage<'_>, id: &str) -> Result<()> {
    wait::until("the container to be removed", || {
        if stage.task(id)?.is_some() {
            stage.try_ctr(["task", "rm", "--force", id])?;
        }
        if stage.list(["container", "ls", "-q"])?.iter().any(|known| known == id) {
            stage.try_ctr(["container", "rm", id])?;
            return Ok(None);
        }
        Ok(stage.task(id)?.is_none().then_some(()))
    })?;
    let log = stage.log(id);
    if log.exists() {
        std::fs::remove_file(log)?;
    }
    Ok(())
}
