//! The table of `run` and `attach` with `ctr`, and logs that programs take (`binary://`): lines of shell here.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::client::{Fifos, Stdio};
use micrun_testkit::console::wait_for_log;
use micrun_testkit::firmware::OURS_ARM64;
use micrun_testkit::{Console, observe, wait};

use crate::node::{RUNTIME, Stage, Story};
use crate::{kill_process, story};

pub fn stories() -> Vec<Story> {
    vec![
        story("streams / a detached terminal, attached again and again", detached_terminal),
        story("streams / input that is closed, no streams, FIFOs elsewhere", other_forms),
        story("streams / a logging program has everything at the exit", logged_to_the_end),
        story("streams / a logging program dies, another hangs", bad_loggers),
        story("streams / the shim is killed before its logging program", orphaned_logger),
    ]
}

/// `run -d -t`, then `attach`: the session is the guest's until Ctrl-C.
fn detached_terminal(stage: &mut Stage<'_>) -> Result<()> {
    stage.import_firmware(&OURS_ARM64)?;
    let run = ["run", "--detach", "--tty", "--runtime", RUNTIME, &OURS_ARM64.image(), "tty"];
    ensure!(Console::terminal(stage, &run)?.exit()? == 0, "ctr run --detach --tty failed");
    let attach = ["task", "attach", "tty"];
    for visitor in ["first", "second", "third"] {
        let mut console = Console::terminal(stage, &attach)?;
        // Ctrl-P Ctrl-Q: ctr does not detach with them, and the guest gets them.
        console.type_bytes(&[0x10, 0x11])?;
        console.send("")?;
        console.send(&format!("echo {visitor}"))?;
        // Only the guest's answer begins a line.
        console.wait_for(&format!("\n{visitor}"))?;
    }
    stage.wait_state("tty", "RUNNING")?;
    let mut console = Console::terminal(stage, &attach)?;
    // Until `ctr` is there, the key would be its own.
    console.send("echo last")?;
    console.wait_for("\nlast")?;
    console.type_bytes(&[0x03])?;
    // This `ctr` waits for the task and deletes it.
    let status = console.exit()?;
    ensure!(status == 130, "Ctrl-C ends a guest with 130, not {status}");
    stage.run_ctr(["container", "rm", "tty"])?;
    Ok(())
}

/// What is left of the table: `run` without input, `--null-io`, and `--fifo-dir`.
fn other_forms(stage: &mut Stage<'_>) -> Result<()> {
    stage.import_firmware(&OURS_ARM64)?;
    let mut console = stage.foreground(&OURS_ARM64, "closed")?;
    console.close_input();
    console.wait_for(OURS_ARM64.banner)?;
    // The end of the input is not the end of the guest.
    stage.wait_state("closed", "RUNNING")?;
    stage.kill("closed", "SIGKILL")?;
    ensure!(console.exit()? == 137, "a killed guest ends with 137");

    let image = OURS_ARM64.image();
    stage.run_ctr(["run", "--detach", "--null-io", "--runtime", RUNTIME, &image, "null"])?;
    stage.wait_state("null", "RUNNING")?;
    stage.kill("null", "SIGTERM")?;
    ensure!(stage.reap("null")? == 143, "SIGTERM gives 143");

    let folder = stage.scratch_file("fifos").display().to_string();
    let run = ["run", "--rm", "--fifo-dir", &folder, "--runtime", RUNTIME, &image, "fifos"];
    let mut console = Console::pipes(stage, &run)?;
    let shell = console.wait_for_prompt(&OURS_ARM64)?;
    // In a pipe Ctrl-C is data.
    console.type_bytes(&[0x03])?;
    console.send("")?;
    console.send(shell.command)?;
    console.wait_for(shell.answer)?;
    stage.kill("fifos", "SIGKILL")?;
    ensure!(console.exit()? == 137, "a killed guest ends with 137");
    Ok(())
}

/// A logging program: `sh -c SCRIPT`, with `$d` for the folder of the trial.
fn program(stage: &Stage<'_>, script: &str) -> String {
    let script = format!("d={}; {script}", stage.scratch.path().display());
    let encoded: String = script.bytes().map(|byte| format!("%{byte:02X}")).collect();
    format!("binary:///bin/sh?-c={encoded}")
}

fn said(stage: &Stage<'_>, file: &str) -> Result<String> {
    let path: PathBuf = stage.scratch_file(file);
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// A flood, then the end: the program has read every line when the exit is told, and sees the end of its streams. It is
/// started as containerd's own shim starts it, with nothing of the shim's.
fn logged_to_the_end(stage: &mut Stage<'_>) -> Result<()> {
    const LINES: usize = 3000;
    stage.import_firmware(&OURS_ARM64)?;
    // The shell itself has 6, for the answer of `ls`.
    let script = "fds=$(sleep 0.2; ls /proc/$$/fd); exec 5>&-; echo \"$fds\" >$d/fds; tr '\\0' '\\n' </proc/$$/environ >$d/env; \
        cat <&3 >$d/out; cat <&4 >$d/err; echo done >$d/end";
    let uri = program(stage, script);
    stage.create_container(RUNTIME, &OURS_ARM64.image(), "logged", &[])?;
    let fifos = Fifos::new(stage, "logged", true, false)?;
    let stdin = fifos.stdio().stdin.clone();
    let client = stage.client()?;
    client.create("logged", &Stdio { stdin, stdout: uri.clone(), stderr: uri, terminal: false })?;
    client.start("logged", "")?;
    wait_for_log(&stage.scratch_file("out"), "micrun> ")?;
    fifos.type_line(&format!("flood {LINES}"))?;
    fifos.type_line("poweroff")?;
    ensure!(client.wait("logged", "")? == 0, "the guest powered itself off");
    // The last lines are read; `cat` may be about to write them.
    wait_for_log(&stage.scratch_file("out"), &format!("flood {LINES:06} "))?;
    let out = said(stage, "out")?;
    let lines = out.lines().filter(|line| line.starts_with("flood 0")).count();
    ensure!(lines == LINES, "{lines} of {LINES} lines came");
    client.delete("logged")?;
    wait_for_log(&stage.scratch_file("end"), "done")?;
    ensure!(said(stage, "err")?.is_empty(), "a guest has one console");
    ensure!(said(stage, "fds")? == "0\n1\n2\n3\n4\n5\n6\n", "its descriptors: {}", said(stage, "fds")?);
    let mut env: Vec<String> = said(stage, "env")?.lines().map(str::to_owned).collect();
    env.sort_unstable();
    let namespace = format!("CONTAINER_NAMESPACE={}", stage.containers());
    ensure!(env == ["CONTAINER_ID=logged".to_owned(), namespace], "its environment: {env:?}");
    stage.run_ctr(["container", "rm", "logged"])?;
    Ok(())
}

/// Neither takes the guest with it, and the one that hangs is ended some time behind its streams.
fn bad_loggers(stage: &mut Stage<'_>) -> Result<()> {
    stage.import_firmware(&OURS_ARM64)?;
    for (id, script) in [
        ("dies", "exec 5>&-; head -c 5 <&3 >$d/dies; exit 1"),
        ("hangs", "echo here >$d/hangs; exec 5>&-; exec sleep 600"),
    ] {
        let log = program(stage, script);
        let image = OURS_ARM64.image();
        stage.run_ctr(["run", "--detach", "--log-uri", &log, "--runtime", RUNTIME, &image, id])?;
        wait::until("the logging program", || Ok(said(stage, id).ok().filter(|text| text.len() == 5)))?;
        stage.wait_state(id, "RUNNING")?;
        stage.kill(id, "SIGKILL")?;
        ensure!(stage.reap(id)? == 137, "a killed guest ends with 137");
    }
    // What is left of the second one is looked for, as after every story.
    let log = "binary:///no/such/program";
    let image = OURS_ARM64.image();
    let refused =
        stage.try_ctr(["run", "--detach", "--log-uri", log, "--runtime", RUNTIME, &image, "none"])?;
    let why = String::from_utf8_lossy(&refused.stderr);
    ensure!(!refused.status.success() && why.contains(log), "ctr run said {why:?}");
    if stage.list(["container", "ls", "-q"])?.contains(&"none".to_owned()) {
        stage.run_ctr(["container", "rm", "none"])?;
    }
    Ok(())
}

/// The shim held the only ends for writing, QEMU none: the program sees the end at once and can finish.
fn orphaned_logger(stage: &mut Stage<'_>) -> Result<()> {
    stage.import_firmware(&OURS_ARM64)?;
    let log =
        program(stage, "exec 5>&-; readlink /proc/$$/fd/3 >$d/pipe; cat <&3 >$d/out; echo done >$d/end");
    let image = OURS_ARM64.image();
    stage.run_ctr(["run", "--detach", "--log-uri", &log, "--runtime", RUNTIME, &image, "orphan"])?;
    wait_for_log(&stage.scratch_file("out"), OURS_ARM64.banner)?;
    let pipe = said(stage, "pipe")?;
    let has_it = |pid| Ok::<_, anyhow::Error>(observe::descriptors(pid)?.iter().any(|fd| fd == pipe.trim()));
    ensure!(has_it(stage.shim()?.pid)?, "the shim writes to {pipe}");
    ensure!(!has_it(stage.qemu()?.pid)?, "QEMU has {pipe} open");
    // Idle, it does nothing: neither for the guest nor for the program.
    let shim = stage.shim()?.pid;
    let before = observe::switches(shim)?;
    std::thread::sleep(Duration::from_secs(2));
    let wakeups = observe::switches(shim)? - before;
    ensure!(wakeups <= 2, "an idle shim woke up {wakeups} times in 2 s");
    kill_process(shim)?;
    wait_for_log(&stage.scratch_file("end"), "done")?;
    wait::until("the task to be gone", || Ok(stage.task("orphan")?.is_none().then_some(())))?;
    stage.run_ctr(["container", "rm", "orphan"])?;
    Ok(())
}
