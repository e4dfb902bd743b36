//! What containerd's CRI plugin does with a container of a pod.

use std::io::Write as _;

use anyhow::{Context as _, Result, anyhow, ensure};
use micrun_testkit::client::{Fifos, Status, refusal};
use micrun_testkit::wait;
use serde_json::json;

use super::{FIRMWARE, SIGKILL, SIGTERM};
use crate::node::{Stage, Story};
use crate::story;

/// What CRI writes into the configuration of every container of a pod.
const OF_A_POD: [&str; 8] = [
    "--annotation",
    "io.kubernetes.cri.sandbox-id=sandbox",
    "--annotation",
    "io.kubernetes.cri.container-type=container",
    "--annotation",
    "io.kubernetes.cri.container-name=rtos",
    "--label",
    "io.cri-containerd.kind=container",
];

/// The default of kubelet's grace periods is 30 s; nobody waits for that here.
const STOPS: u32 = SIGTERM;

pub fn stories() -> Vec<Story> {
    vec![
        story("engines / cri: a container from Create to Remove", container),
        story("engines / cri: stdin once", stdin_once),
        story("engines / cri: the guest ends by itself under the event monitor", ends_by_itself),
    ]
}

/// Output goes to the log from before the task is there; Wait is asked before Start; statistics are read and the CPU manager
/// updates all the time; stopping escalates.
fn container(stage: &mut Stage<'_>) -> Result<()> {
    stage.container("cri", &OF_A_POD)?;
    let (client, monitor) = (stage.client()?, stage.client()?);
    let mut events = stage.subscribe()?;
    let fifos = Fifos::new(stage, "cri", false, false)?;
    client.create("cri", fifos.stdio())?;
    std::thread::scope(|scope| -> Result<()> {
        let exit = scope.spawn(|| monitor.wait("cri", ""));
        client.start("cri", "")?;
        fifos.stdout.wait_for(FIRMWARE.banner)?;
        for _ in 0..5 {
            ensure!(client.metrics("cri")?.is_some(), "a running container has no statistics");
            client.update("cri", &json!({ "cpu": { "shares": 1024 } }))?;
            ensure!(client.get("cri", "")?.status() == Status::Running, "an Update changed the state");
        }
        client.kill("cri", "", STOPS)?;
        // The shim is not told of the grace period; SIGKILL comes at its end, and may come too late.
        let status = exit.join().map_err(|_| anyhow!("the exit monitor panicked"))??;
        ensure!(status == 143, "the exit monitor saw {status}");
        if client.kill("cri", "", SIGKILL).is_ok() {
            return Err(anyhow!("a container that has ended was killed"));
        }
        Ok(())
    })?;
    fifos.stdout.wait_for_end()?;
    fifos.stderr.wait_for_end()?;
    ensure!(client.metrics("cri").is_ok(), "statistics of a stopped container are no error");
    stage.delete_ended(&client, "cri", 143)?;
    let topics = events.topics_until("/tasks/delete", "cri")?;
    ensure!(
        topics == ["create", "start", "exit", "delete"].map(|topic| format!("/tasks/{topic}")),
        "{topics:?}"
    );
    Ok(())
}

/// `stdin: true, stdinOnce: true`: the first client that attaches ends the input when it leaves.
fn stdin_once(stage: &mut Stage<'_>) -> Result<()> {
    stage.container("once", &OF_A_POD)?;
    let client = stage.client()?;
    let fifos = Fifos::new(stage, "once", true, false)?;
    stage.at_its_prompt(&client, "once", &fifos)?;
    let mut stdin = fifos.stdin()?;
    stdin.write_all(b"echo attached\r").context("cannot type")?;
    drop(stdin);
    client.close_stdin("once", "")?;
    client.close_stdin("once", "")?;
    fifos.stdout.wait_for("\nattached")?;
    client.kill("once", "", SIGKILL)?;
    fifos.stdout.wait_for_end()?;
    stage.delete_ended(&client, "once", 137)
}

/// CRI hears of the end by the event, reads the status from Delete, and leaves the container for `crictl ps -a`.
fn ends_by_itself(stage: &mut Stage<'_>) -> Result<()> {
    stage.container("ends", &OF_A_POD)?;
    let client = stage.client()?;
    let mut events = stage.subscribe()?;
    let fifos = Fifos::new(stage, "ends", true, false)?;
    stage.at_its_prompt(&client, "ends", &fifos)?;
    fifos.type_line("poweroff 0")?;
    let exit = events.wait_for("/tasks/exit", "ends")?;
    ensure!(exit.id == "ends" && exit.status == Some(0), "the monitor heard {exit:?}");
    fifos.stdout.wait_for_end()?;
    ensure!(client.delete("ends")? == 0, "Delete knows another status");
    wait::until("the task to be gone", || Ok(client.get("ends", "").is_err().then_some(())))?;
    let (code, _) = refusal(client.delete("ends"))?;
    ensure!(code == 5, "a second Delete is answered with {code}");
    stage.run_ctr(["container", "rm", "ends"]).map(drop)
}
