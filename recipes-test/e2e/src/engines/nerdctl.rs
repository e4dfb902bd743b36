//! nerdctl's ways to run a container.

use std::io::Write as _;

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::client::{Fifos, Status, Stdio, refusal};
use micrun_testkit::wait;
use serde_json::json;

use super::{FIRMWARE, SIGINT, SIGKILL, SIGTERM};
use crate::node::{Stage, Story};
use crate::story;

pub fn stories() -> Vec<Story> {
    vec![
        story("engines / nerdctl: run -d, a logging program", logged),
        story("engines / nerdctl: run -it, detach, attach, Ctrl-C", interactive),
        story("engines / nerdctl: run -i, bytes as they are, stdin ends", piped),
        story("engines / nerdctl: run, stop", stopped),
        story("engines / nerdctl: hooks for a network", hooks),
    ]
}

/// What nerdctl's logger does with the streams, without nerdctl: it says that it is ready, and keeps both until their ends.
const LOGGER: &str = r#"#!/bin/sh
echo "$CONTAINER_NAMESPACE/$CONTAINER_ID $*" > "$2/started"
exec 5>&-
cat <&4 > "$2/stderr" &
cat <&3 > "$2/stdout"
wait
touch "$2/ended"
"#;

/// Detached: both streams are one URI of nerdctl's own program, whose query becomes its arguments. It has all output before
/// it ends, and so does `logs`.
fn logged(stage: &mut Stage<'_>) -> Result<()> {
    stage.container("d", &["--label", "nerdctl/log-uri=binary"])?;
    let client = stage.client()?;
    let (program, store) = (stage.scratch_file("logger"), stage.scratch_file("store"));
    std::fs::create_dir(&store)?;
    std::fs::write(&program, LOGGER)?;
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let stdout = format!("binary://{}?_NERDCTL_INTERNAL_LOGGING={}", program.display(), store.display());
    let stdio = Stdio { stderr: stdout.clone(), stdout, ..Stdio::default() };
    client.create("d", &stdio)?;
    let started = std::fs::read_to_string(store.join("started")).context("the logger is not there")?;
    let expected = format!("{}/d _NERDCTL_INTERNAL_LOGGING {}\n", stage.containers(), store.display());
    ensure!(started == expected, "the logger was started as {started:?}");
    client.start("d", "")?;
    micrun_testkit::console::wait_for_log(&store.join("stdout"), FIRMWARE.banner)?;
    client.kill("d", "", SIGTERM)?;
    ensure!(client.wait("d", "")? == 143, "stop should give 143");
    wait::until("the logger to end", || Ok(store.join("ended").exists().then_some(())))?;
    ensure!(std::fs::read(store.join("stderr"))?.is_empty(), "a guest has one console");
    stage.delete_ended(&client, "d", 143)
}

/// A terminal: FIFOs for stdin and stdout. nerdctl tells of the terminal's size, eats its detach keys itself, and comes
/// back to the same FIFOs.
fn interactive(stage: &mut Stage<'_>) -> Result<()> {
    stage.container("it", &["--tty", "--label", "nerdctl/name=it"])?;
    let client = stage.client()?;
    let fifos = Fifos::new(stage, "it", true, true)?;
    stage.at_its_prompt(&client, "it", &fifos)?;
    client.resize("it", 132, 50)?;
    let process = client.get("it", "")?;
    ensure!(process.terminal && process.stdout == fifos.stdio().stdout, "attach finds {process:?}");
    fifos.type_line("echo one  two")?;
    fifos.stdout.wait_for("\none  two")?;

    // Detached: the writer of stdin is gone, and its FIFO is not at its end. The guest runs on.
    for visit in ["second", "third"] {
        client.resize("it", 80, 24)?;
        fifos.type_line(&format!("echo {visit}"))?;
        fifos.stdout.wait_for(&format!("\n{visit}"))?;
        ensure!(client.get("it", "")?.status() == Status::Running, "it ended when its client left");
    }
    fifos.stdin()?.write_all(&[0x03]).context("cannot type Ctrl-C")?;
    fifos.stdout.wait_for_end()?;
    stage.delete_ended(&client, "it", 130)
}

/// Pipes: stdout and stderr apart, every byte is data, and the end of stdin is told with CloseIO alone.
fn piped(stage: &mut Stage<'_>) -> Result<()> {
    stage.container("i", &[])?;
    let client = stage.client()?;
    let fifos = Fifos::new(stage, "i", true, false)?;
    stage.at_its_prompt(&client, "i", &fifos)?;
    let mut stdin = fifos.stdin()?;
    stdin.write_all(b"echo a\x03b\r").context("cannot type")?;
    // The firmware repeats what it takes: Ctrl-C reached it as a byte, and nothing ended.
    fifos.stdout.wait_for("b\r\n")?;
    ensure!(client.get("i", "")?.status() == Status::Running, "a byte of a pipe ended the guest");
    stdin.write_all(b"echo last words\r").context("cannot type")?;
    drop(stdin);
    client.close_stdin("i", "")?;
    fifos.stdout.wait_for("\nlast words")?;
    ensure!(client.get("i", "")?.status() == Status::Running, "a guest does not end with its input");
    client.kill("i", "", SIGINT)?;
    fifos.stdout.wait_for_end()?;
    fifos.stderr.wait_for_end()?;
    ensure!(fifos.stderr.seen().is_empty(), "a guest has one console: {:?}", fifos.stderr.seen());
    stage.delete_ended(&client, "i", 130)
}

/// `stop`: the stop signal, a wait, SIGKILL. The last one may come too late, which is no error to an engine.
fn stopped(stage: &mut Stage<'_>) -> Result<()> {
    stage.container("stop", &["--label", "nerdctl/restart-count=0"])?;
    let client = stage.client()?;
    let fifos = Fifos::new(stage, "stop", false, false)?;
    stage.at_its_prompt(&client, "stop", &fifos)?;
    client.kill("stop", "", SIGTERM)?;
    ensure!(client.wait("stop", "")? == 143, "stop should give 143");
    let (code, said) = refusal(client.kill("stop", "", SIGKILL))?;
    ensure!(code == 5 && said.contains("process already finished"), "SIGKILL after the end: {code}, {said}");
    fifos.stdout.wait_for_end()?;
    stage.delete_ended(&client, "stop", 143)
}

/// nerdctl's own network is a createRuntime hook on the namespaces of the pid. A guest has none, and the shim's are the
/// host's: the hook does not run, and the log says so once.
fn hooks(stage: &mut Stage<'_>) -> Result<()> {
    stage.container("hooks", &[])?;
    let client = stage.client()?;
    let mark = stage.scratch_file("the-hook-ran");
    let hook = json!({ "path": "/usr/bin/touch", "args": ["touch", mark] });
    client.edit_spec("hooks", |spec| {
        spec["hooks"] = json!({ "createRuntime": [hook], "poststop": [hook] });
    })?;
    let logged = stage.log_length();
    client.create("hooks", &stage.to_log("hooks"))?;
    client.start("hooks", "")?;
    stage.wait_for_log("hooks", FIRMWARE.banner)?;
    client.kill("hooks", "", SIGKILL)?;
    stage.delete_ended(&client, "hooks", 137)?;
    ensure!(!mark.exists(), "a hook ran on the host");
    let warning = "OCI hooks are skipped";
    wait::until("the warning", || Ok(stage.log_since(logged).contains(warning).then_some(())))?;
    let count = stage.log_since(logged).matches(warning).count();
    ensure!(count == 1, "the log speaks of the hooks {count} times");
    Ok(())
}
