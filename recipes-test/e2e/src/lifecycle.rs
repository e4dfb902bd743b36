//! Terminals, signals, exit codes; and what becomes of whom when something dies.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::firmware::{OURS_ARM64, OURS_RISCV64, OURS_X86};
use micrun_testkit::{Console, observe, wait};

use crate::node::{RUNTIME, Stage, Story};
use crate::{kill_process, signal_process, story};
use nix::sys::signal::Signal;

pub fn stories() -> Vec<Story> {
    vec![
        story("a terminal, left with Ctrl-C", terminal),
        story("attach, leave, attach again", attach),
        story("a flood of output", flood),
        story("Ctrl-C under a flood of output", interrupted_flood),
        story("power off with a code", power_off),
        story("SIGTERM, then a kill that comes too late", terminate),
        story("an id that is taken", taken_id),
        story("QEMU is confined", confined),
        story("the shim is a daemon", daemon),
        story("containerd restarts under a guest", containerd_restarts),
        story("the shim is killed", shim_is_killed),
        story("QEMU is killed", qemu_is_killed),
        story("QEMU hangs", qemu_hangs),
        story("input from a pipe that ends", piped_input),
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

/// A guest that does nothing but print is stopped as fast as any other.
fn interrupted_flood(stage: &mut Stage<'_>) -> Result<()> {
    stage.import_firmware(&OURS_ARM64)?;
    let mut console = stage.terminal(&OURS_ARM64, "flooding")?;
    console.wait_for_prompt(&OURS_ARM64)?;
    console.send("flood 999999")?;
    console.wait_for("flood 001000")?;
    console.type_bytes(&[0x03])?;
    let status = console.exit()?;
    ensure!(status == 130, "Ctrl-C should end ctr with 130, not {status}");
    ensure!(!console.seen().contains("flood 999999 "), "the guest printed to its end");
    Ok(())
}

/// A guest that powers itself off ends with its own code, where its board can tell one, else with 0.
fn power_off(stage: &mut Stage<'_>) -> Result<()> {
    for (firmware, expected) in [(OURS_RISCV64, 7), (OURS_X86, 7), (OURS_ARM64, 0)] {
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

/// QEMU has no privileges, sees an empty folder that it cannot write to, and has nothing open but its own.
fn confined(stage: &mut Stage<'_>) -> Result<()> {
    stage.import_firmware(&OURS_ARM64)?;
    stage.start(&OURS_ARM64, "confined")?;
    let qemu = stage.qemu()?.pid;
    for ids in ["Uid", "Gid"] {
        let ids = observe::status(qemu, ids)?;
        ensure!(ids.split_whitespace().all(|id| id != "0"), "QEMU runs as root: {ids}");
    }
    ensure!(observe::status(qemu, "Groups")?.is_empty(), "QEMU has further groups");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        let capabilities = observe::status(qemu, set)?;
        ensure!(capabilities.trim_start_matches('0').is_empty(), "QEMU has {set} {capabilities}");
    }
    ensure!(observe::status(qemu, "NoNewPrivs")? == "1", "QEMU can gain privileges");
    ensure!(observe::status(qemu, "Seccomp")? == "2", "no system calls are denied to QEMU");

    let root = PathBuf::from(format!("/proc/{qemu}/root"));
    let seen: Vec<_> = root.read_dir().context("cannot look into QEMU's root")?.flatten().collect();
    ensure!(seen.is_empty(), "QEMU sees {seen:?}");
    let mounts = std::fs::read_to_string(format!("/proc/{qemu}/mountinfo"))?;
    let options = mounts.split_whitespace().nth(5).unwrap_or_default();
    ensure!(mounts.lines().count() == 1 && options.starts_with("ro,"), "QEMU has mounts: {mounts}");

    let own = ["/dev/null", "socket:", "pipe:", "anon_inode:[event", "anon_inode:[signalfd]"];
    for target in observe::descriptors(qemu)? {
        ensure!(own.iter().any(|kind| target.starts_with(kind)), "QEMU has {target} open");
    }
    stage.kill("confined", "SIGKILL")?;
    stage.reap("confined")?;
    Ok(())
}

/// The shim leads a session of its own and has nothing open that was its caller's.
fn daemon(stage: &mut Stage<'_>) -> Result<()> {
    stage.import_firmware(&OURS_ARM64)?;
    stage.start(&OURS_ARM64, "daemon")?;
    let shim = stage.shim()?.pid;
    ensure!(observe::status(shim, "NSsid")? == observe::status(shim, "NSpid")?, "its session is another's");
    wait::until("the shim to have one thread", || Ok((observe::threads(shim)? == 1).then_some(())))?;
    let log = stage.log("daemon").display().to_string();
    let state = format!("/run/micrun/{}/daemon", stage.containers());
    for target in observe::descriptors(shim)? {
        let kinds = ["/dev/null", "socket:", "pipe:", "anon_inode:"];
        // The FIFO in its bundle, the output of the container, the lock on its state.
        let files = target.ends_with("/daemon/log") || target == log || target == state;
        ensure!(files || kinds.iter().any(|kind| target.starts_with(kind)), "the shim has {target} open");
    }
    stage.kill("daemon", "SIGKILL")?;
    stage.reap("daemon")?;
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

/// A QEMU that does not answer: a pause fails and says so, the state stays true, and a kill still works.
fn qemu_hangs(stage: &mut Stage<'_>) -> Result<()> {
    stage.import_firmware(&OURS_ARM64)?;
    stage.start(&OURS_ARM64, "hangs")?;
    let qemu = stage.qemu()?.pid;
    signal_process(qemu, Signal::SIGSTOP)?;
    let pause = stage.try_ctr(["task", "pause", "hangs"])?;
    let said = String::from_utf8_lossy(&pause.stderr);
    ensure!(!pause.status.success() && said.contains("no answer"), "pause of a hanging QEMU said: {said:?}");
    stage.wait_state("hangs", "RUNNING")?;
    // It carries the command out as soon as it can, and the engine is told.
    signal_process(qemu, Signal::SIGCONT)?;
    stage.wait_state("hangs", "PAUSED")?;
    stage.run_ctr(["task", "resume", "hangs"])?;
    stage.wait_state("hangs", "RUNNING")?;
    signal_process(qemu, Signal::SIGSTOP)?;
    stage.kill("hangs", "SIGKILL")?;
    let status = stage.reap("hangs")?;
    ensure!(status == 137, "a hanging QEMU that is killed ends with 137, not {status}");
    Ok(())
}

/// `script | ctr run`: every line reaches the guest, also those that are left when the pipe ends.
fn piped_input(stage: &mut Stage<'_>) -> Result<()> {
    const LINES: usize = 12_000;
    stage.import_firmware(&OURS_ARM64)?;
    let mut console = stage.foreground(&OURS_ARM64, "piped")?;
    console.wait_for_prompt(&OURS_ARM64)?;
    let script: String = (1..=LINES).map(|number| format!("echo line {number}\n")).collect();
    console.type_bytes(script.as_bytes())?;
    console.close_input();
    console.wait_for(&format!("\nline {LINES}"))?;
    stage.kill("piped", "SIGKILL")?;
    console.exit()?;
    Ok(())
}
