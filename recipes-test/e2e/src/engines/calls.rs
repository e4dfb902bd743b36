//! Every call of the Task service as a client of containerd sees it: codes, words, states, and the events in their order.

use anyhow::{Result, ensure};
use micrun_testkit::client::{Client, Status, refusal};
use serde_json::json;

use super::{FIRMWARE, SIGKILL, SIGTERM};
use crate::node::{Stage, Story};
use crate::story;

/// gRPC's codes.
const NOT_FOUND: u32 = 5;
const ALREADY_EXISTS: u32 = 6;
const FAILED_PRECONDITION: u32 = 9;
const UNIMPLEMENTED: u32 = 12;

pub fn stories() -> Vec<Story> {
    vec![
        story("engines / calls: a life, every call in every state", life),
        story("engines / calls: created, and killed or deleted", created),
        story("engines / calls: waiting from before the start, through a restart", waits),
    ]
}

#[track_caller]
fn refused<T>(answer: Result<T, micrun_unix_grpc::GrpcError>, code: u32, words: &str) -> Result<()> {
    let (is, said) = refusal(answer)?;
    ensure!(is == code && said.contains(words), "refused with {is} and {said:?}, not {code} and {words:?}");
    Ok(())
}

fn in_state(client: &Client, id: &str, status: Status) -> Result<()> {
    let is = client.get(id, "")?.status();
    ensure!(is == status, "{id} is {is:?}, not {status:?}");
    let pids = client.pids(id)?;
    ensure!(pids.len() == 1 && pids[0] != 0, "{id} {status:?} has the PIDs {pids:?}");
    Ok(())
}

/// From Create to Delete; what the state does not allow is refused in runc's words.
fn life(stage: &mut Stage<'_>) -> Result<()> {
    stage.container("life", &[])?;
    let client = stage.client()?;
    let mut events = stage.subscribe()?;

    let pid = client.create("life", &stage.to_log("life"))?;
    in_state(&client, "life", Status::Created)?;
    ensure!(client.pids("life")? == [pid], "Pids and Create know different PIDs");
    refused(client.pause("life"), FAILED_PRECONDITION, "cannot pause task in created state")?;
    refused(client.resume("life"), FAILED_PRECONDITION, "cannot resume task in created state")?;
    let (code, said) = match client.create("life", &stage.to_log("life")) {
        Ok(_) => anyhow::bail!("a second task of the same container was created"),
        Err(error) => refusal::<()>(Err(error.downcast()?))?,
    };
    ensure!(code == ALREADY_EXISTS, "a second task of the same container: {code}, {said}");

    ensure!(client.start("life", "")? == pid, "Start knows another PID");
    in_state(&client, "life", Status::Running)?;
    stage.wait_for_log("life", FIRMWARE.banner)?;
    refused(client.start("life", ""), FAILED_PRECONDITION, "cannot start a running process")?;
    refused(client.resume("life"), FAILED_PRECONDITION, "cannot resume a running process")?;
    refused(client.delete("life"), FAILED_PRECONDITION, "")?;
    refused(client.checkpoint("life"), UNIMPLEMENTED, "checkpoint")?;
    refused(client.get("life", "nobody"), NOT_FOUND, "nobody")?;
    refused(client.kill("life", "nobody", SIGKILL), NOT_FOUND, "nobody")?;
    for harmless in [0, 17, 18, 23, 28] {
        client.kill("life", "", harmless)?;
    }
    client.resize("life", 80, 24)?;
    client.close_stdin("life", "")?;
    // What it has already: kubelet's CPU manager repeats itself.
    for _ in 0..3 {
        client.update("life", &json!({ "cpu": { "shares": 1024 } }))?;
    }
    let metrics = client.metrics("life")?.map(|any| any.type_url);
    let known = ["io.containerd.cgroups.v1.Metrics", "io.containerd.cgroups.v2.Metrics"];
    ensure!(known.iter().any(|name| metrics.as_deref() == Some(name)), "the metrics are {metrics:?}");

    client.pause("life")?;
    in_state(&client, "life", Status::Paused)?;
    refused(client.pause("life"), FAILED_PRECONDITION, "cannot pause a paused container")?;
    refused(client.start("life", ""), FAILED_PRECONDITION, "cannot start a paused process")?;
    client.resume("life")?;
    in_state(&client, "life", Status::Running)?;

    client.pause("life")?;
    client.kill("life", "", SIGTERM)?;
    ensure!(client.wait("life", "")? == 143, "SIGTERM of a paused guest gives 143");
    ensure!(client.get("life", "")?.status() == Status::Stopped, "Wait answers before the state is true");
    refused(client.kill("life", "", SIGKILL), NOT_FOUND, "process already finished")?;
    refused(client.pause("life"), FAILED_PRECONDITION, "cannot pause a stopped container")?;
    refused(client.start("life", ""), FAILED_PRECONDITION, "cannot start a stopped process")?;
    refused(client.update("life", &json!({})), FAILED_PRECONDITION, "cannot update a stopped container")?;
    stage.delete_ended(&client, "life", 143)?;
    refused(client.delete("life"), NOT_FOUND, "")?;
    refused(client.get("life", ""), NOT_FOUND, "")?;

    let topics = events.topics_until("/tasks/delete", "life")?;
    let expected = ["create", "start", "paused", "resumed", "paused", "exit", "delete"];
    ensure!(topics == expected.map(|topic| format!("/tasks/{topic}")), "subscribers saw {topics:?}");
    let exit = events.wait_for("/tasks/exit", "life")?;
    ensure!(exit.id == "life" && exit.status == Some(143), "the exit is told as {exit:?}");
    Ok(())
}

/// A task that never ran ends like any other: with an exit that everyone is told of.
fn created(stage: &mut Stage<'_>) -> Result<()> {
    let client = stage.client()?;
    let mut events = stage.subscribe()?;
    for id in ["killed", "deleted"] {
        stage.container(id, &[])?;
        client.create(id, &stage.to_log(id))?;
    }
    client.kill("killed", "", SIGKILL)?;
    stage.delete_ended(&client, "killed", 137)?;
    ensure!(client.delete("deleted")? == 137, "what is deleted before it ran was killed");
    stage.run_ctr(["container", "rm", "deleted"])?;
    for id in ["killed", "deleted"] {
        let topics = events.topics_until("/tasks/delete", id)?;
        ensure!(topics == ["/tasks/create", "/tasks/exit", "/tasks/delete"], "of {id} was told: {topics:?}");
        ensure!(events.wait_for("/tasks/exit", id)?.status == Some(137), "{id} was killed");
    }
    Ok(())
}

/// Who waits is answered, also where containerd was away when the guest ended: then by the next Wait.
fn waits(stage: &mut Stage<'_>) -> Result<()> {
    stage.container("waits", &[])?;
    let (client, waiting) = (stage.client()?, stage.client()?);
    client.create("waits", &stage.to_log("waits"))?;
    std::thread::scope(|scope| -> Result<()> {
        let early = scope.spawn(|| waiting.wait("waits", ""));
        client.start("waits", "")?;
        stage.wait_for_log("waits", FIRMWARE.banner)?;
        client.kill("waits", "", SIGKILL)?;
        let status = early.join().map_err(|_| anyhow::anyhow!("a thread that waits panicked"))??;
        ensure!(status == 137, "the Wait from before the start was answered with {status}");
        Ok(())
    })?;
    drop((client, waiting));
    stage.containerd.restart()?;
    let client = stage.client()?;
    in_state(&client, "waits", Status::Stopped)?;
    stage.delete_ended(&client, "waits", 137)
}
