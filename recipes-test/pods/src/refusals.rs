//! What must not run. The pod's event carries what CRI answers: one sentence that tells the operator what to change.

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::cri::messages::{ContainerConfig, LinuxContainerConfig, LinuxContainerResources};
use micrun_testkit::cri::{self, PAUSE, State};
use micrun_testkit::wait;

use crate::node::{FIRMWARE, LINUX, SHELL, Stage, Story};
use crate::story;

pub fn stories() -> Vec<Story> {
    let annotation = |name: &str, key: &'static str, value: &'static str, words: &'static [&'static str]| {
        story(format!("refused: {name}"), move |stage: &mut Stage<'_>| {
            let key = format!("org.openeuler.micrun.{key}");
            refused(stage, &[(&key, value)], cri::container("rtos", &FIRMWARE.image()), words)
        })
    };
    let resources = |name: &str, resources: LinuxContainerResources, words: &'static [&'static str]| {
        story(format!("refused: {name}"), move |stage: &mut Stage<'_>| {
            let linux = Some(LinuxContainerConfig { resources: Some(resources.clone()) });
            let config = ContainerConfig { linux, ..cri::container("rtos", &FIRMWARE.image()) };
            refused(stage, &[], config, words)
        })
    };
    let none = LinuxContainerResources::default;
    vec![
        annotation("an image for another board", "board", "nosuch", &["nosuch", "boards"]),
        annotation(
            "an image for another pedestal",
            "ped.pedestal",
            "jailhouse",
            &["the image is for the pedestal jailhouse", "micad is not running", "`micrun check`"],
        ),
        annotation(
            "an annotation that points outside of the image",
            "container.firmware_path",
            "/../../etc/passwd",
            &["/../../etc/passwd"],
        ),
        annotation(
            "an annotation that the node does not allow",
            "config_path",
            "/etc/mica/micrun/other.conf",
            &["config_path", "[policy.allow]"],
        ),
        resources(
            "cores that the node does not have",
            LinuxContainerResources { cpuset_cpus: "900-901".to_owned(), ..none() },
            &["900"],
        ),
        resources(
            "more memory than the node has",
            LinuxContainerResources { memory_limit_in_bytes: 1 << 44, ..none() },
            &["the whole node has", "lower the container's memory limit"],
        ),
        story("refused: more memory than is free", too_much),
        story("refused: a Linux image in a pod of guests", linux),
        story("refused: a pod without the image of its pause container", no_pause).with_pause_containers(),
        story("verified only: refused as ever, and no guest", verified),
        story("annotations for one container of a pod", one_container),
    ]
}

/// StartContainer fails with one sentence that has all the words; the pod stays as it is, and can be removed.
fn refused(
    stage: &Stage<'_>,
    annotations: &[(&str, &str)],
    config: ContainerConfig,
    words: &[&str],
) -> Result<()> {
    let pod = stage.pod("refused", annotations)?;
    let id = stage.cri.create(&pod, config)?;
    let Err(error) = stage.cri.start(&id) else { anyhow::bail!("it was started") };
    let said = error.to_string();
    ensure!(!said.contains('\n'), "one sentence expected, but it said:\n{said}");
    for word in words {
        ensure!(said.contains(word), "the error should name {word:?}: {said}");
    }
    let status = stage.cri.status(&id)?;
    ensure!(status.is() == State::Exited && status.reason == "StartError", "{status:?}");
    ensure!(words.iter().all(|word| status.message.contains(word)), "the status says {:?}", status.message);
    ensure!(stage.emulators()?.is_empty(), "something runs: {:?}", stage.emulators()?);
    stage.end(&pod)
}

/// All but a little of what the node has: this test and its containerd alone use more than that.
fn too_much(stage: &mut Stage<'_>) -> Result<()> {
    const LITTLE: i64 = 64 << 20;
    let meminfo = std::fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")?.strip_suffix("kB"));
    let total = total.context("/proc/meminfo has no MemTotal")?.trim().parse::<i64>()? * 1024;
    let limits = LinuxContainerResources { memory_limit_in_bytes: total - LITTLE, ..Default::default() };
    let linux = Some(LinuxContainerConfig { resources: Some(limits) });
    let config = ContainerConfig { linux, ..cri::container("rtos", &FIRMWARE.image()) };
    refused(stage, &[], config, &["MiB of the node's are free", "lower the container's memory limit"])
}

fn linux(stage: &mut Stage<'_>) -> Result<()> {
    refused(stage, &[], cri::container("linux", LINUX), &["client.conf", "runtimeClassName"])
}

/// What a rollout asks of each node before it begins: everything but the guest.
fn verified(stage: &mut Stage<'_>) -> Result<()> {
    let verify_only = ("org.openeuler.micrun.container.verify_only", "yes");
    let rtos = || cri::container("rtos", &FIRMWARE.image());
    refused(stage, &[verify_only, ("org.openeuler.micrun.board", "nosuch")], rtos(), &["nosuch", "boards"])?;
    let pod = stage.pod("verified", &[verify_only])?;
    let id = stage.start(&pod, rtos())?;
    let status = stage.cri.status(&id)?;
    ensure!(status.is() == State::Running, "kubelet counts it as ready while it runs: {status:?}");
    ensure!(stage.emulators()?.is_empty(), "something runs: {:?}", stage.emulators()?);
    let said =
        stage.cri.exec_sync(&id, &["help"], 5).err().map(|error| error.to_string()).unwrap_or_default();
    ensure!(said.contains("container.verify_only"), "there is nobody who could run a command: {said:?}");
    stage.cri.all_stats()?;
    stage.cri.stop(&id, 5)?;
    stage.ended(&id, 143, "Error")?;
    stage.end(&pod)
}

/// containerd itself says so: it cannot be pulled. The Sandbox service has no pause container, and asks for no image of one.
fn no_pause(stage: &mut Stage<'_>) -> Result<()> {
    for name in [PAUSE.to_owned(), stage.cri.image(PAUSE)?.unwrap_or_default()] {
        stage.try_ctr(["image", "rm", "--sync", &name])?;
    }
    wait::until("CRI to forget the image", || Ok(stage.cri.image(PAUSE)?.is_none().then_some(())))?;
    let said = match stage.pod("no-pause", &[]) {
        Ok(_) => anyhow::bail!("a pod without a pause image runs"),
        Err(error) => error.to_string(),
    };
    stage.images.import(stage, PAUSE)?;
    stage.containerd.keep()?;
    ensure!(said.contains(PAUSE), "the error should name {PAUSE}: {said}");
    stage.end(&stage.pod("pause-again", &[])?)
}

/// `c.<container>/<key>` is for one of them, and beats the bare key.
fn one_container(stage: &mut Stage<'_>) -> Result<()> {
    let (bare, os) = SHELL;
    let own = "org.openeuler.micrun.c.talks/container.os";
    let pod = stage.pod(
        "one-container",
        &[(bare, "zephyr"), (own, os), ("org.openeuler.micrun.c.bad/board", "nosuch")],
    )?;
    let talks = stage.guest(&pod, "talks")?;
    let done = stage.cri.exec_sync(&talks, &["echo", "one"], 20)?;
    ensure!(done.stdout == b"one\n", "{done:?}");
    let other = stage.guest(&pod, "other")?;
    // It waits for a prompt of Zephyr's.
    ensure!(stage.cri.exec_sync(&other, &["echo", "two"], 1).is_err(), "the bare key counts for the others");
    let bad = stage.cri.create(&pod, cri::container("bad", &FIRMWARE.image()))?;
    let said = stage.cri.start(&bad).err().map(|error| error.to_string()).unwrap_or_default();
    ensure!(said.contains("nosuch"), "the annotation of one container: {said:?}");
    stage.end(&pod)
}
