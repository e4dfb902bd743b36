//! Statistics, updates, and what a pod costs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::cri::messages::{
    ContainerConfig, CpuUsage, LinuxContainerConfig, LinuxContainerResources, MemoryUsage,
};
use micrun_testkit::cri::{self, Pod};
use micrun_testkit::{observe, wait};

use crate::node::{FIRMWARE, SHELL, Stage, Story};
use crate::story;

pub fn stories() -> Vec<Story> {
    vec![
        story("statistics of a guest, of all, of the pod", statistics),
        story("an update changes what a guest may use, and is whole or not at all", update),
        story("a pod without guests is one process that holds no network", costs),
    ]
}

/// A guest that uses what it may.
fn limited(name: &str, resources: LinuxContainerResources) -> ContainerConfig {
    let linux = LinuxContainerConfig { resources: Some(resources) };
    ContainerConfig { linux: Some(linux), ..cri::container(name, &FIRMWARE.image()) }
}

fn used(cpu: Option<&CpuUsage>, memory: Option<&MemoryUsage>) -> (u64, u64) {
    let time = cpu.and_then(|cpu| Some(cpu.usage_core_nano_seconds.as_ref()?.value));
    let bytes = memory.and_then(|memory| Some(memory.working_set_bytes.as_ref()?.value));
    (time.unwrap_or_default(), bytes.unwrap_or_default())
}

fn statistics(stage: &mut Stage<'_>) -> Result<()> {
    let pod = stage.pod("statistics", &[SHELL])?;
    let id = stage.guest(&pod, "rtos")?;
    let (time, memory) = wait::until("statistics", || {
        let stats = stage.cri.stats(&id)?;
        let (time, memory) = used(stats.cpu.as_ref(), stats.memory.as_ref());
        Ok((time > 0 && memory > 1 << 20).then_some((time, memory)))
    })?;
    let done = stage.cri.exec_sync(&id, &["burn", "300"], 20)?;
    ensure!(done.exit_code == 0, "{done:?}");
    wait::until("the guest's time to pass", || {
        Ok((used(stage.cri.stats(&id)?.cpu.as_ref(), None).0 > time).then_some(()))
    })?;
    let all = stage.cri.all_stats()?;
    let ids: Vec<&str> =
        all.iter().filter_map(|one| one.attributes.as_ref()).map(|one| one.id.as_str()).collect();
    ensure!(ids == [id.as_str()], "statistics of {ids:?}, not of {id}");
    // 1.6 sums up the pod's cgroup alone, and asks the pause container for what it uses, too.
    let stats = stage.cri.pod_stats(&pod.id)?.linux.unwrap_or_default();
    let of: Vec<&str> =
        stats.containers.iter().filter_map(|one| Some(one.attributes.as_ref()?.id.as_str())).collect();
    ensure!(
        of.contains(&id.as_str()),
        "the pod's statistics are of {of:?}; {memory} bytes of the guest's are not among them"
    );

    stage.cri.stop(&id, 5)?;
    // Kubelet asks while it deletes: what has ended is left out, and nothing fails.
    stage.cri.all_stats()?;
    stage.end(&pod)
}

fn update(stage: &mut Stage<'_>) -> Result<()> {
    let pod = stage.pod("update", &[])?;
    let before = LinuxContainerResources {
        cpu_shares: 512,
        memory_limit_in_bytes: 64 << 20,
        ..LinuxContainerResources::default()
    };
    let id = stage.start(&pod, limited("rtos", before.clone()))?;
    stage.wait_for_log("rtos", 0, FIRMWARE.banner)?;
    let command = stage.emulator()?.command;
    ensure!(command.contains("-m 64M"), "the guest gets all of its limit: {command}");
    says(stage, "cpu", ["cpu.shares", "cpu.weight"], &["512", "20"])?;

    let after = LinuxContainerResources {
        cpu_shares: 2048,
        cpu_quota: 25_000,
        cpu_period: 100_000,
        cpuset_cpus: "0".to_owned(),
        ..LinuxContainerResources::default()
    };
    // kubelet's CPU manager repeats the call.
    for _ in 0..3 {
        stage.cri.update(&id, after.clone())?;
    }
    says(stage, "cpu", ["cpu.shares", "cpu.weight"], &["2048", "79"])?;
    says(stage, "cpu", ["cpu.cfs_quota_us", "cpu.max"], &["25000", "25000 100000"])?;
    says(stage, "cpuset", ["cpuset.cpus", "cpuset.cpus"], &["0"])?;
    let more = LinuxContainerResources { cpu_shares: 4, memory_limit_in_bytes: 128 << 20, ..before };
    let refused = stage.cri.update(&id, more).err().map(|error| error.to_string());
    ensure!(
        refused.as_ref().is_some_and(|said| said.contains("start it anew")),
        "memory has grown: {refused:?}"
    );
    says(stage, "cpu", ["cpu.shares", "cpu.weight"], &["2048", "79"])?;
    stage.end(&pod)
}

/// A value in the emulator's cgroup, as version 1 or 2 has it.
fn says(stage: &Stage<'_>, controller: &str, files: [&str; 2], values: &[&str]) -> Result<()> {
    let folder = cgroup(stage.emulator()?.pid, controller)?;
    let file = files.map(|file| folder.join(file)).into_iter().find(|file| file.exists());
    let file = file.with_context(|| format!("{} has no {files:?}", folder.display()))?;
    let value = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    ensure!(values.contains(&value.trim()), "{} says {value:?}, not {values:?}", file.display());
    Ok(())
}

/// The cgroup that a process is in, of version 1 or 2 (cgroups(7), `/proc/PID/cgroup`).
fn cgroup(pid: u32, controller: &str) -> Result<PathBuf> {
    let path = format!("/proc/{pid}/cgroup");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.splitn(3, ':').collect()).collect();
    let of = |wanted: &dyn Fn(&str) -> bool| {
        lines.iter().find(|line| wanted(line[1])).map(|line| line[2].trim_start_matches('/'))
    };
    let root = Path::new("/sys/fs/cgroup");
    match of(&|names| names.split(',').any(|name| name == controller)) {
        Some(own) => Ok(root.join(controller).join(own)),
        None => Ok(root.join(of(&str::is_empty).with_context(|| format!("{path} has no {controller}"))?)),
    }
}

/// The pod's network is containerd's and CNI's: the shim is in the node's own, and nothing that it holds open is a network.
fn costs(stage: &mut Stage<'_>) -> Result<()> {
    let pod: Pod = stage.pod("costs", &[])?;
    let processes = stage.processes(|_| true)?;
    ensure!(processes.len() == 1, "a pod is {processes:?}");
    let shim = stage.shim()?.pid;
    let network = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/net")).context("a process has a network");
    ensure!(network(shim)? == network(stage.pid()?)?, "the shim is in the pod's network");
    let open = observe::descriptors(shim)?;
    let held: Vec<&String> =
        open.iter().filter(|name| name.starts_with("net:[") || name.contains("/netns/")).collect();
    ensure!(held.is_empty(), "the shim holds {held:?}");
    stage.guest(&pod, "rtos")?;
    let processes = stage.processes(|_| true)?;
    ensure!(processes.len() == 2, "a pod with a guest is {processes:?}");
    stage.end(&pod)
}
