//! Something dies under a pod: kubelet, containerd, the shim, an emulator.

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::cri::{self, PodState, State};
use micrun_testkit::wait;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::node::{FIRMWARE, SHELL, Stage, Story};
use crate::story;

pub fn stories() -> Vec<Story> {
    vec![
        story("kubelet restarts: it finds its pods", kubelet),
        story("containerd restarts under a pod", containerd),
        story("a guest ends while containerd is away", away),
        story("the shim is killed: the pod is not ready, its guests have ended, and it can be removed", shim),
        story("an emulator is killed: its guest has failed, the others run on", emulator),
    ]
}

/// Sends a signal to a process that a story has found.
pub fn signal(pid: u32, signal: Signal) -> Result<()> {
    let pid = i32::try_from(pid).context("no PID is this large")?;
    kill(Pid::from_raw(pid), signal).with_context(|| format!("cannot send {signal} to process {pid}"))
}

/// It knows nothing, lists everything, and goes on.
fn kubelet(stage: &mut Stage<'_>) -> Result<()> {
    let pod = stage.pod("kubelet", &[SHELL])?;
    let id = stage.guest(&pod, "rtos")?;
    stage.cri = stage.containerd.cri()?;
    let (pods, containers) = (stage.cri.pods()?, stage.cri.containers()?);
    ensure!(pods.len() == 1 && pods[0].id == pod.id && pods[0].state == 0, "{pods:?}");
    ensure!(pods[0].metadata == pod.config.metadata, "{pods:?}");
    ensure!(containers.len() == 1 && containers[0].id == id && containers[0].pod == pod.id, "{containers:?}");
    let done = stage.cri.exec_sync(&id, &["echo", "still here"], 20)?;
    ensure!(done.stdout == b"still here\n", "{done:?}");
    stage.end(&pod)
}

fn containerd(stage: &mut Stage<'_>) -> Result<()> {
    let pod = stage.pod("containerd", &[SHELL])?;
    let id = stage.guest(&pod, "rtos")?;
    let (shim, emulator) = (stage.shim()?.pid, stage.emulator()?.pid);
    for word in ["once", "twice"] {
        stage.containerd.restart()?;
        stage.cri = stage.containerd.cri()?;
        let status = wait::until("CRI to answer", || Ok(stage.cri.pod(&pod.id).ok()))?;
        ensure!(status.is() == PodState::Ready, "{status:?}");
        ensure!(stage.cri.status(&id)?.is() == State::Running, "{:?}", stage.cri.status(&id)?);
        ensure!((stage.shim()?.pid, stage.emulator()?.pid) == (shim, emulator), "these are others");
        let done = stage.cri.exec_sync(&id, &["echo", word], 20)?;
        ensure!(done.exit_code == 0, "{done:?}");
        stage.wait_for_log("rtos", 0, &format!("\n{word}"))?;
    }
    // Another guest joins the same shim.
    stage.guest(&pod, "second")?;
    ensure!(stage.shim()?.pid == shim, "the pod has another shim now");
    stage.cri.stop(&id, 5)?;
    stage.ended(&id, 143, "Error")?;
    stage.end(&pod)
}

/// The next containerd is told.
fn away(stage: &mut Stage<'_>) -> Result<()> {
    let pod = stage.pod("away", &[])?;
    let id = stage.guest(&pod, "rtos")?;
    stage.containerd.kill()?;
    signal(stage.emulator()?.pid, Signal::SIGKILL)?;
    wait::until("the emulator to end", || Ok(stage.emulators()?.is_empty().then_some(())))?;
    stage.containerd.start_again()?;
    stage.cri = stage.containerd.cri()?;
    wait::until("CRI to answer", || Ok(stage.cri.pod(&pod.id).ok()))?;
    stage.cri.wait_for(&id, State::Exited)?;
    ensure!(stage.cri.pod(&pod.id)?.is() == PodState::Ready, "the pod ended with its guest");
    let again = stage.start(&pod, cri::attempt("rtos", &FIRMWARE.image(), 1))?;
    stage.wait_for_log("rtos", 1, FIRMWARE.banner)?;
    ensure!(stage.cri.status(&again)?.is() == State::Running, "the next guest does not run");
    stage.end(&pod)
}

fn shim(stage: &mut Stage<'_>) -> Result<()> {
    let pod = stage.pod("shim", &[])?;
    let ids = [stage.guest(&pod, "a")?, stage.guest(&pod, "b")?];
    signal(stage.shim()?.pid, Signal::SIGKILL)?;
    for id in &ids {
        let status = stage.cri.wait_for(id, State::Exited)?;
        ensure!(status.exit_code != 0, "a guest that was killed has succeeded: {status:?}");
    }
    wait::until("the pod not to be ready", || {
        Ok((stage.cri.pod(&pod.id)?.is() == PodState::NotReady).then_some(()))
    })?;
    wait::until("all to follow the shim", || Ok(stage.processes(|_| true)?.is_empty().then_some(())))?;
    stage.end(&pod)
}

fn emulator(stage: &mut Stage<'_>) -> Result<()> {
    let pod = stage.pod("emulator", &[])?;
    let id = stage.guest(&pod, "a")?;
    let dies = stage.emulator()?.pid;
    let other = stage.guest(&pod, "b")?;
    signal(dies, Signal::SIGKILL)?;
    stage.ended(&id, 255, "Error")?;
    ensure!(stage.cri.status(&other)?.is() == State::Running, "one emulator took the other with it");
    ensure!(stage.cri.pod(&pod.id)?.is() == PodState::Ready, "the pod ended with a guest");
    stage.end(&pod)
}
