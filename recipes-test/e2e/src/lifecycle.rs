//! Terminals, signals, exit codes; and what becomes of whom when something dies.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::firmware::{OURS_ARM64, OURS_RISCV64};
use micrun_testkit::{Console, observe, wait};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::node::{RUNTIME, Stage, Story};
use crate::story;

pub fn stories() -> Vec<Story> {
    vec![
        story("a terminal, left with Ctrl-C", terminal),
        story("attach, leave, attach again", attach),
        story("a flood of output", flood),
        story("power off with a code", power_off),
        story("SIGTERM, then a kill that comes too late", terminate),
        story("an id that is taken", taken_id),
        story("QEMU is confined", confined),
        story("containerd restarts under a guest", containerd_restarts),
        story("the shim is killed", shim_is_killed),
        story("QEMU is killed", qemu_is_killed),
    ]
}

/// On a terminal the guest's lines arrive once, and Ctrl-C stops it as a Linux user expects.
fn terminal(stage: &mut Stage<'_>) -> Result<()> {
    stage.import_firmware(&OURS_ARM64)?;
    let mut console = stage.terminal(&OURS_ARM64, "terminal")?;
    let shell = console.wait_for_prompt(&OURS_ARM64)?;
    console.send("echo one  two")?;
    let answer = console.wait_for(shell.prompt)?;
    ensure!(answer.matches("one  two").count() == 2, "one echo and one answer expected: {answer:?}");
    console.type_bytes(&[0x03])?;
    let status = console.exit()?;
    ensure!(status == 130, "Ctrl-C should end ctr with 130, not {status}");
    Ok(())
}

/// Clients of a detached guest come and go, however rudely; it talks to each of them.
fn attach(stage: &mut Stage<'_>) -> Result<()> {
    stage.import_firmware(&OURS_ARM64)?;
    stage.run_ctr(["run", "--detach", "--runtime", RUNTIME, &OURS_ARM64.image(), "attached"])?;
    for visitor in ["first", "second", "third"] {
        let mut console = Console::pipes(stage, &["task", "attach", "attached"])?;
        console.send(&format!("echo {visitor}"))?;
        // The firmware repeats what is typed; only its answer begins a line.
        console.wait_for(&format!("\n{visitor}"))?;
    }
    stage.kill("attached", "SIGKILL")?;
    let status = stage.reap("attached")?;
    ensure!(status == 137, "a killed guest ends with 137, not {status}");
    Ok(())
}

/// Output that a client reads arrives whole and in order.
fn flood(stage: &mut Stage<'_>) -> Result<()> {
    const LINES: usize = 3000;
    stage.import_firmware(&OURS_ARM64)?;
    let mut console = stage.foreground(&OURS_ARM64, "flood")?;
    let shell = console.wait_for_prompt(&OURS_ARM64)?;
    console.send(&format!("flood {LINES}"))?;
    let output = console.wait_for(shell.prompt)?;
    // `flood 000001 abc…`: the command's echo has no third word.
    let number = |line: &str| match line.split_whitespace().collect::<Vec<_>>()[..] {
        ["flood", number, _] => number.parse().ok(),
        _ => None,
    };
    let numbers: Vec<usize> = output.lines().filter_map(number).collect();
    ensure!(numbers.len() == LINES, "{} of {LINES} lines came", numbers.len());
    ensure!(numbers.is_sorted(), "the lines came out of order");
    stage.kill("flood", "SIGKILL")?;
    console.exit()?;
    Ok(())
}

/// A guest that powers itself off ends with its own code, where its board can tell one, else with 0.
fn power_off(stage: &mut Stage<'_>) -> Result<()> {
    for (firmware, expected) in [(OURS_RISCV64, 7), (OURS_ARM64, 0)] {
        stage.import_firmware(&firmware)?;
        let mut console = stage.foreground(&firmware, &format!("{}-off", firmware.tag))?;
        console.wait_for_prompt(&firmware)?;
        console.send("poweroff 7")?;
        let status = console.exit()?;
        ensure!(status == expected, "{} ended with {status}, not {expected}", firmware.name);
    }
    Ok(())
}

/// SIGTERM ends it with 128 + 15; whoever kills it again learns that it is over.
fn terminate(stage: &mut Stage<'_>) -> Result<()> {
    stage.import_firmware(&OURS_ARM64)?;
    stage.start(&OURS_ARM64, "terminated")?;
    stage.kill("terminated", "SIGTERM")?;
    stage.wait_state("terminated", "STOPPED")?;
    let late = stage.try_ctr(["task", "kill", "--signal", "SIGKILL", "terminated"])?;
    let said = String::from_utf8_lossy(&late.stderr);
    ensure!(
        !late.status.success() && said.contains("already finished"),
        "a kill after the exit said: {said:?}"
    );
    let status = stage.reap("terminated")?;
    ensure!(status == 143, "SIGTERM should give 143, not {status}");
    Ok(())
}

/// A second container of the same id is refused, and the first one does not notice.
fn taken_id(stage: &mut Stage<'_>) -> Result<()> {
    stage.import_firmware(&OURS_ARM64)?;
    let mut first = stage.foreground(&OURS_ARM64, "taken")?;
    let shell = first.wait_for_prompt(&OURS_ARM64)?;
    let second = stage.try_run_detached(&OURS_ARM64.image(), "taken", &[])?;
    let said = String::from_utf8_lossy(&second.stderr);
    ensure!(!second.status.success() && said.contains("already exists"), "the second one said: {said:?}");
    first.send(shell.command)?;
    first.wait_for(shell.answer)?;
    stage.kill("taken", "SIGKILL")?;
    first.exit()?;
    Ok(())
}

/// QEMU has no privileges, and sees none of the machine's files.
fn confined(stage: &mut Stage<'_>) -> Result<()> {
    stage.import_firmware(&OURS_ARM64)?;
    stage.start(&OURS_ARM64, "confined")?;
    let qemu = stage.qemu()?;
    let ids = observe::status(qemu.pid, "Uid")?;
    ensure!(ids.split_whitespace().all(|id| id != "0"), "QEMU runs as root: Uid {ids}");
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        let capabilities = observe::status(qemu.pid, set)?;
        ensure!(capabilities.trim_start_matches('0').is_empty(), "QEMU has {set} {capabilities}");
    }
    let root = PathBuf::from(format!("/proc/{}/root", qemu.pid));
    root.read_dir().context("cannot look into QEMU's root")?;
    for private in ["etc/passwd", "etc/shadow", "root", "home", "run", "var", "tmp", "proc", "sys", "usr/bin"]
    {
        let seen = root.join(private);
        let is_there = seen.symlink_metadata().is_ok();
        ensure!(!is_there, "QEMU sees the machine's /{private}");
    }
    stage.kill("confined", "SIGKILL")?;
    stage.reap("confined")?;
    Ok(())
}

/// While containerd is away the guest runs on; afterwards it is the same task, and its output still flows.
fn containerd_restarts(stage: &mut Stage<'_>) -> Result<()> {
    stage.import_firmware(&OURS_ARM64)?;
    stage.start(&OURS_ARM64, "restart")?;
    let before = stage.task("restart")?;
    let qemu = stage.qemu()?;
    stage.containerd.restart()?;
    let after = stage.task("restart")?;
    ensure!(before == after && after.is_some(), "the task was {before:?} and became {after:?}");
    ensure!(stage.qemu()?.pid == qemu.pid, "another QEMU runs now");
    stage.kill("restart", "SIGKILL")?;
    let status = stage.reap("restart")?;
    ensure!(status == 137, "after the restart a kill should give 137, not {status}");
    Ok(())
}

/// containerd cleans up after a shim that died: no guest lives on unnoticed.
fn shim_is_killed(stage: &mut Stage<'_>) -> Result<()> {
    stage.import_firmware(&OURS_ARM64)?;
    stage.start(&OURS_ARM64, "orphan")?;
    kill_process(stage.shim()?.pid)?;
    let status = stage.events()?.exit_status("orphan")?;
    ensure!(status == 137, "a task whose shim was killed should end with 137, not {status}");
    wait::until("QEMU to follow its shim", || Ok(stage.guests()?.is_empty().then_some(())))?;
    wait::until("the task to be gone", || Ok(stage.task("orphan")?.is_none().then_some(())))?;
    stage.run_ctr(["container", "rm", "orphan"])?;
    Ok(())
}

/// A guest whose QEMU died has failed, and says so at once.
fn qemu_is_killed(stage: &mut Stage<'_>) -> Result<()> {
    stage.import_firmware(&OURS_ARM64)?;
    stage.start(&OURS_ARM64, "failed")?;
    kill_process(stage.qemu()?.pid)?;
    let status = stage.reap("failed")?;
    ensure!(status == 255, "a guest whose QEMU was killed should end with 255, not {status}");
    Ok(())
}

fn kill_process(pid: u32) -> Result<()> {
    let pid = i32::try_from(pid).context("no PID is this large")?;
    kill(Pid::from_raw(pid), Signal::SIGKILL).with_context(|| format!("cannot kill process {pid}"))
}
