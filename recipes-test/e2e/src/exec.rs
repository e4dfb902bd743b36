//! Commands in the guest's own shell, as `ctr task exec` runs them.

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::firmware::{Firmware, OURS_ARM64, U_BOOT_ARM64};
use micrun_testkit::{Console, wait};

use crate::node::{RUNTIME, Stage, Story};
use crate::story;

/// The builder takes the test firmware for what it is, a program on the bare machine: who starts it knows its shell.
const OS: &str = "org.openeuler.micrun.container.os=micrun-test";

pub fn stories() -> Vec<Story> {
    vec![
        story("exec: output and status", output_and_status),
        story("exec: killed, in turn, beside a client that is attached", together),
        story("exec: the guest's end", guests_end),
        story("exec: U-Boot, which still counts down", u_boot),
    ]
}

fn start(stage: &Stage<'_>, firmware: &Firmware, id: &str, options: &[&str]) -> Result<()> {
    stage.import_firmware(firmware)?;
    let image = firmware.image();
    let run = [&["run", "--detach", "--runtime", RUNTIME], options, &[&image, id]].concat();
    stage.run_ctr(run).map(drop)
}

/// Runs a command to its end: what it wrote, and ctr's own exit status.
fn exec(stage: &Stage<'_>, id: &str, command: &[&str]) -> Result<(String, i32)> {
    let done = stage.try_ctr([&["task", "exec", "--exec-id", "e1", id], command].concat())?;
    let said = String::from_utf8_lossy(&done.stderr);
    let status = done.status.code().with_context(|| format!("ctr was killed: {said}"))?;
    ensure!(said.is_empty() || status != 0, "ctr said {said:?}");
    Ok((String::from_utf8(done.stdout)?, status))
}

fn expect(stage: &Stage<'_>, id: &str, command: &[&str], output: &str, status: i32) -> Result<()> {
    let came = exec(stage, id, command)?;
    ensure!(came == (output.to_owned(), status), "{command:?} gave {came:?}, not {output:?} and {status}");
    Ok(())
}

fn stop(stage: &Stage<'_>, id: &str, status: i32) -> Result<()> {
    stage.kill(id, "SIGKILL")?;
    let came = stage.reap(id)?;
    ensure!(came == status, "{id} ended with {came}, not {status}");
    Ok(())
}

/// Kills a command as soon as ctr has started it.
fn kill_exec(stage: &Stage<'_>, id: &str, exec: &str, signal: &str) -> Result<()> {
    let kill = || stage.try_ctr(["task", "kill", "--exec-id", exec, "--signal", signal, id]);
    wait::until("the command can be killed", || Ok(kill()?.status.success().then_some(())))
}

/// Scripts get what the command wrote and nothing else, at once after the start as well, and a status to go by.
fn output_and_status(stage: &mut Stage<'_>) -> Result<()> {
    const LINES: usize = 1000;
    start(stage, &OURS_ARM64, "talks", &["--annotation", OS])?;
    expect(stage, "talks", &["echo", "one", "two"], "one two\n", 0)?;
    expect(stage, "talks", &["echo", "one  two"], "one  two\n", 0)?;
    expect(stage, "talks", &["nonsense"], "unknown command: nonsense (try help)\n", 1)?;
    let (flood, status) = exec(stage, "talks", &["flood", &LINES.to_string()])?;
    ensure!(status == 0 && flood.lines().count() == LINES, "{} of {LINES} lines came", flood.lines().count());
    ensure!(flood.ends_with("flood 001000 abcdefghijklmnopqrstuvwxyz0123456789\n"), "it ends otherwise");
    let refused = stage.try_ctr(["task", "exec", "--exec-id", "e2", "talks", "a\nb"])?;
    let said = String::from_utf8_lossy(&refused.stderr);
    ensure!(said.contains("control character"), "a line feed is no part of a command: {said:?}");
    stop(stage, "talks", 137)?;

    start(stage, &OURS_ARM64, "nameless", &[])?;
    let refused = stage.try_ctr(["task", "exec", "--exec-id", "e1", "nameless", "help"])?;
    let said = String::from_utf8_lossy(&refused.stderr);
    ensure!(said.contains("no OS profile says how the shell of baremetal looks"), "ctr said {said:?}");
    stop(stage, "nameless", 137)
}

/// Two commands take turns; one that is killed is over; a client that is attached sees all of it, and its keys wait.
fn together(stage: &mut Stage<'_>) -> Result<()> {
    start(stage, &OURS_ARM64, "busy", &["--annotation", OS])?;
    let mut client = Console::pipes(stage, &["task", "attach", "busy"])?;
    client.type_bytes(b"half a line")?;
    client.wait_for("half a line")?;
    let mut burns = Console::pipes(stage, &["task", "exec", "--exec-id", "burns", "busy", "burn", "3000"])?;
    client.wait_for("burn 3000")?;
    let mut waits =
        Console::pipes(stage, &["task", "exec", "--exec-id", "waits", "busy", "echo", "my turn"])?;
    client.send("echo mine")?;
    kill_exec(stage, "busy", "burns", "SIGKILL")?;
    let status = burns.exit()?;
    ensure!(status == 137, "a command that is killed ends with 137, not {status}");
    let status = waits.exit()?;
    ensure!((status, waits.seen().as_str()) == (0, "my turn\n"), "{status} and {:?}", waits.seen());
    client.wait_for("\nmine")?;
    // An attached ctr would delete the task at its end.
    drop(client);
    stop(stage, "busy", 137)
}

/// A command that ends its guest ends with it; afterwards there is nobody to talk to.
fn guests_end(stage: &mut Stage<'_>) -> Result<()> {
    for (command, status, container) in [("poweroff", 137, 0), ("crash", 255, 255)] {
        // Events are told apart by the id.
        let id = format!("ends-by-{command}");
        start(stage, &OURS_ARM64, &id, &["--annotation", OS])?;
        let (output, came) = exec(stage, &id, &[command])?;
        ensure!(came == status, "{command} ended with {came}, not {status}, and wrote {output:?}");
        ensure!(command != "crash" || output.contains("FAULT:"), "the last words are missing: {output:?}");
        stage.wait_state(&id, "STOPPED")?;
        let late = stage.try_ctr(["task", "exec", "--exec-id", "late", &id, "help"])?;
        ensure!(!late.status.success(), "nobody can have answered");
        let came = stage.reap(&id)?;
        ensure!(came == container, "the container ended with {came}, not {container}");
    }
    Ok(())
}

/// Nothing has to be waited for: the command is typed when the prompt is there.
fn u_boot(stage: &mut Stage<'_>) -> Result<()> {
    start(stage, &U_BOOT_ARM64, "u-boot", &[])?;
    let (version, status) = exec(stage, "u-boot", &["version"])?;
    ensure!(status == 0 && version.starts_with("U-Boot 20"), "{status} and {version:?}");
    ensure!(!version.contains("=> "), "a prompt is no output: {version:?}");
    expect(stage, "u-boot", &["echo", "one  two"], "one  two\n", 0)?;
    expect(stage, "u-boot", &["nonsense"], "Unknown command 'nonsense' - try 'help'\n", 1)?;
    let mut sleeps = Console::pipes(stage, &["task", "exec", "--exec-id", "s", "u-boot", "sleep", "3600"])?;
    kill_exec(stage, "u-boot", "s", "SIGTERM")?;
    let status = sleeps.exit()?;
    ensure!(status == 143, "SIGTERM gives 143, not {status}");
    expect(stage, "u-boot", &["echo", "awake"], "awake\n", 0)?;
    stop(stage, "u-boot", 137)
}
