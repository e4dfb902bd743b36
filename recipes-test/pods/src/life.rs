//! Pods from their start to their end.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use micrun_testkit::cri::{self, PodState, State};
use micrun_unix_grpc::Status;
use nix::sys::signal::Signal;

use crate::deaths::signal;
use crate::node::{FIRMWARE, OTHER, SHELL, Stage, Story};
use crate::story;

/// The grace period that kubelet has by default, seconds.
const GRACE: i64 = 30;

pub fn stories() -> Vec<Story> {
    vec![
        story("a pod with one guest, from its start to its end", life),
        story("every call again", again),
        story("removed in every order", orders),
        story("a guest ends by itself, and kubelet starts another one in its pod", restarts),
        story("a guest that hangs is stopped when its grace is over", hangs),
        story("a pod in the node's network", host_network).with_pause_containers(),
    ]
}

fn life(stage: &mut Stage<'_>) -> Result<()> {
    let pod = stage.pod("life", &[])?;
    let status = stage.cri.pod(&pod.id)?;
    ensure!(status.is() == PodState::Ready && status.created_at > 0, "{status:?}");
    let address = status.network.map(|network| network.ip).unwrap_or_default();
    ensure!(stage.addresses()? == [address.clone()], "CNI gave another address than {address:?}");

    let id = stage.cri.create(&pod, cri::container("rtos", &FIRMWARE.image()))?;
    ensure!(stage.cri.status(&id)?.is() == State::Created, "{:?}", stage.cri.status(&id)?);
    stage.cri.start(&id)?;
    let status = stage.cri.status(&id)?;
    ensure!(status.is() == State::Running && status.started_at >= status.created_at, "{status:?}");
    stage.wait_for_log("rtos", 0, FIRMWARE.banner)?;
    stage.emulator()?;

    // No guest of today's boards can be asked, so nobody waits.
    let begin = Instant::now();
    stage.cri.stop(&id, GRACE)?;
    ensure!(begin.elapsed() < Duration::from_secs(GRACE.unsigned_abs()), "the grace period was waited for");
    stage.ended(&id, 143, "Error")?;
    stage.cri.remove(&id)?;
    stage.cri.stop_pod(&pod.id)?;
    ensure!(stage.cri.pod(&pod.id)?.is() == PodState::NotReady, "a stopped pod is ready");
    ensure!(stage.addresses()?.is_empty(), "the address is kept");
    stage.cri.remove_pod(&pod.id)?;
    let gone = stage.cri.pod(&pod.id).err();
    ensure!(gone.as_ref().is_some_and(|error| error.is(Status::NOT_FOUND)), "a removed pod: {gone:?}");
    Ok(())
}

/// Kubelet repeats what it has heard no answer to.
fn again(stage: &mut Stage<'_>) -> Result<()> {
    let pod = stage.pod("again", &[])?;
    let twice = stage.cri.run_pod(pod.config.clone(), cri::MICA).err();
    ensure!(twice.is_some(), "one pod runs twice");
    let id = stage.guest(&pod, "rtos")?;
    let same = stage.cri.create(&pod, cri::container("rtos", &FIRMWARE.image())).err();
    ensure!(same.is_some(), "one container was created twice");
    let started = stage.cri.start(&id).err();
    ensure!(started.is_some(), "one container was started twice");
    ensure!(stage.cri.status(&id)?.is() == State::Running, "asking twice ended it");
    for _ in 0..2 {
        stage.cri.stop(&id, GRACE)?;
        stage.ended(&id, 143, "Error")?;
    }
    ensure!(stage.cri.start(&id).is_err(), "a container that has ended runs again");
    for _ in 0..2 {
        stage.cri.remove(&id)?;
    }
    for _ in 0..2 {
        stage.cri.stop_pod(&pod.id)?;
    }
    for _ in 0..2 {
        stage.cri.remove_pod(&pod.id)?;
    }
    // What is gone is gone; 1.6 says so.
    match stage.cri.stop_pod(&pod.id) {
        Err(error) if !error.is(Status::NOT_FOUND) => Err(error.into()),
        _ => Ok(()),
    }
}

fn orders(stage: &mut Stage<'_>) -> Result<()> {
    // The container first, while it runs.
    let pod = stage.pod("container-first", &[])?;
    let id = stage.guest(&pod, "first")?;
    stage.cri.remove(&id)?;
    ensure!(stage.emulators()?.is_empty(), "the guest outlives its container");
    ensure!(stage.cri.pod(&pod.id)?.is() == PodState::Ready, "the pod ended with its container");
    stage.end(&pod)?;

    // The pod first: its guests end with it, and their containers stay until they are removed.
    let pod = stage.pod("pod-first", &[])?;
    let id = stage.guest(&pod, "second")?;
    stage.cri.stop_pod(&pod.id)?;
    stage.cri.wait_for(&id, State::Exited)?;
    ensure!(stage.emulators()?.is_empty(), "the guest outlives its pod");
    stage.cri.remove(&id)?;
    stage.cri.remove_pod(&pod.id)?;

    // The pod with its containers: one that ran, one that never did.
    let pod = stage.pod("all-at-once", &[])?;
    stage.guest(&pod, "third")?;
    stage.cri.create(&pod, cri::container("never", &FIRMWARE.image()))?;
    stage.end(&pod)?;

    // A pod without containers, and one that nobody stopped.
    stage.end(&stage.pod("empty", &[])?)?;
    let pod = stage.pod("not-stopped", &[])?;
    stage.guest(&pod, "fourth")?;
    Ok(stage.cri.remove_pod(&pod.id)?)
}

/// With a code, of its own, or by a crash; the shim of the pod stays, and so does its address.
fn restarts(stage: &mut Stage<'_>) -> Result<()> {
    let pod = stage.pod("restarts", &[SHELL])?;
    let address = stage.addresses()?;
    let mut shim = None;
    for (number, (command, status, reason)) in
        [("poweroff 0", 0, "Completed"), ("poweroff 7", 7, "Error"), ("crash", 255, "Error")]
            .into_iter()
            .enumerate()
    {
        let attempt = u32::try_from(number)?;
        let id = stage.start(&pod, cri::attempt("rtos", &OTHER.image(), attempt))?;
        stage.wait_for_log("rtos", attempt, OTHER.banner)?;
        let pid = stage.shim()?.pid;
        ensure!(*shim.get_or_insert(pid) == pid, "the pod has another shim now");
        // It ends with its guest, with a status or without one.
        let _ = stage.cri.exec_sync(&id, &command.split(' ').collect::<Vec<_>>(), 20);
        stage.ended(&id, status, reason)?;
    }
    let attempts: Vec<u32> =
        stage.cri.containers()?.into_iter().filter_map(|one| Some(one.metadata?.attempt)).collect();
    ensure!(attempts.len() == 3, "kubelet looks at earlier containers: {attempts:?}");
    ensure!(stage.addresses()? == address, "the pod's address has changed");
    ensure!(stage.cri.pod(&pod.id)?.is() == PodState::Ready, "the pod ended with its guest");
    stage.end(&pod)
}

/// An emulator that does not answer ends by force, when kubelet's time is over at the latest.
fn hangs(stage: &mut Stage<'_>) -> Result<()> {
    let pod = stage.pod("hangs", &[])?;
    let id = stage.guest(&pod, "rtos")?;
    signal(stage.emulator()?.pid, Signal::SIGSTOP)?;
    stage.cri.stop(&id, 1)?;
    let status = stage.cri.wait_for(&id, State::Exited)?;
    ensure!([137, 143].contains(&status.exit_code), "{status:?}");
    ensure!(stage.emulators()?.is_empty(), "the emulator outlives its container");
    stage.end(&pod)
}

/// `hostNetwork: true`: there is nothing to set up, and nothing to take down. With the Sandbox service, containerd 2.1 itself
/// ends at such a pod (its issue 12983).
fn host_network(stage: &mut Stage<'_>) -> Result<()> {
    let mut config = stage.config("host-network", &[]);
    if let Some(linux) = &mut config.linux {
        linux.security_context = Some(cri::in_the_nodes_network());
    }
    let pod = stage.cri.run_pod(config, cri::MICA)?;
    ensure!(stage.addresses()?.is_empty(), "a pod without a network has an address");
    stage.guest(&pod, "rtos")?;
    stage.end(&pod)
}
