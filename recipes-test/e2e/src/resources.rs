//! What a guest may use of the node: its emulator in the container's cgroup, under limits that hold, change and end with it.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::firmware::OURS_ARM64;
use micrun_testkit::{ttrpc, wait};

use crate::node::{Stage, Story};
use crate::{kill_process, story};

/// What QEMU may use beside the guest's memory (docs/run.md).
const OVERHEAD: u64 = 128 << 20;
/// How containerd names the type of what Update carries (typeurl of a Go structure).
const RESOURCES: &str = "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources";

pub fn stories() -> Vec<Story> {
    vec![
        story("a guest is counted and limited in its cgroup, which changes with an update", limits),
        story("a cgroup that somebody is in is refused", taken),
        story("a cgroup goes with a guest whose shim is killed", shim_is_killed),
        story("a guest that runs out of memory is told of and ends with 137", out_of_memory),
    ]
}

fn limits(stage: &mut Stage<'_>) -> Result<()> {
    stage.import_firmware(&OURS_ARM64)?;
    let cgroup = Cgroup::new(stage, "pod/limits");
    start(stage, "limits", &["--cgroup", &cgroup.0, "--memory-limit", "67108864", "--cpus", "0.25"])?;
    cgroup.has(stage.qemu()?.pid)?;
    let memory = (64 << 20) + OVERHEAD;
    cgroup.says("memory", "memory.limit_in_bytes", "memory.max", &[&memory.to_string()])?;
    cgroup.says("cpu", "cpu.cfs_quota_us", "cpu.max", &["25000", "25000 100000"])?;
    let command = stage.qemu()?.command;
    ensure!(command.contains("-m 64M"), "the guest gets all of its limit: {command}");

    let metrics = stage.run_ctr(["task", "metrics", "limits"])?;
    let number = |names: [&str; 2]| metric(&metrics, names);
    ensure!(
        number(["memory.limit_in_bytes", "memory.usage_limit"]).is_none_or(|limit| limit == memory),
        "{metrics}"
    );
    ensure!(
        number(["memory.usage_in_bytes", "memory.usage"]).is_some_and(|used| used > 1 << 20),
        "{metrics}"
    );

    update(stage, "limits", r#"{"cpu":{"shares":2048,"quota":20000,"period":50000,"cpus":"0"}}"#)?;
    cgroup.says("cpu", "cpu.shares", "cpu.weight", &["2048", "79"])?;
    cgroup.says("cpu", "cpu.cfs_quota_us", "cpu.max", &["20000", "20000 50000"])?;
    cgroup.says("cpuset", "cpuset.cpus", "cpuset.cpus", &["0"])?;
    let refused = update(stage, "limits", r#"{"cpu":{"shares":4},"memory":{"limit":134217728}}"#);
    ensure!(refused.is_err(), "a guest under QEMU keeps its memory");
    cgroup.says("cpu", "cpu.shares", "cpu.weight", &["2048", "79"])?;
    update(stage, "limits", r#"{"cpu":{"quota":-1}}"#)?;
    cgroup.says("cpu", "cpu.cfs_quota_us", "cpu.max", &["-1", "max 50000", "max 100000"])?;

    stage.kill("limits", "SIGKILL")?;
    stage.reap("limits")?;
    cgroup.is_gone()
}

fn taken(stage: &mut Stage<'_>) -> Result<()> {
    stage.import_firmware(&OURS_ARM64)?;
    let cgroup = Cgroup::new(stage, "taken");
    start(stage, "first", &["--cgroup", &cgroup.0])?;
    let second = stage.try_run_detached(&OURS_ARM64.image(), "second", &["--cgroup", &cgroup.0])?;
    let said = String::from_utf8_lossy(&second.stderr);
    ensure!(!second.status.success() && said.contains("processes already"), "ctr said {said:?}");
    stage.run_ctr(["container", "rm", "second"])?;
    cgroup.has(stage.qemu()?.pid)?;
    stage.kill("first", "SIGKILL")?;
    stage.reap("first")?;
    cgroup.is_gone()
}

fn shim_is_killed(stage: &mut Stage<'_>) -> Result<()> {
    stage.import_firmware(&OURS_ARM64)?;
    let cgroup = Cgroup::new(stage, "pod/orphan");
    start(stage, "orphan", &["--cgroup", &cgroup.0])?;
    cgroup.has(stage.qemu()?.pid)?;
    kill_process(stage.shim()?.pid)?;
    stage.events()?.exit_status("orphan")?;
    wait::until("the task to be gone", || Ok(stage.task("orphan")?.is_none().then_some(())))?;
    stage.run_ctr(["container", "rm", "orphan"])?;
    cgroup.is_gone()
}

/// A guest cannot use more than its limit by itself. So another process in its cgroup does, and the kernel is told to
/// prefer QEMU when it looks for whom to end.
fn out_of_memory(stage: &mut Stage<'_>) -> Result<()> {
    stage.import_firmware(&OURS_ARM64)?;
    let cgroup = Cgroup::new(stage, "hungry");
    start(stage, "hungry", &["--cgroup", &cgroup.0, "--memory-limit", "33554432"])?;
    let qemu = stage.qemu()?.pid;
    let preferred = format!("/proc/{qemu}/oom_score_adj");
    std::fs::write(&preferred, "1000").with_context(|| format!("cannot write {preferred}"))?;
    let door = cgroup.file("memory", "cgroup.procs", "cgroup.procs");
    // One line without an end, all of which is kept.
    let eats = format!("echo $$ > {}; head -c 300M /dev/zero | tail -n 1", door.display());
    let eater = Command::new("sh").args(["-c", &eats]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    eater.context("cannot start a shell")?;
    let status = stage.reap("hungry")?;
    ensure!(status == 137, "a guest that the kernel kills for want of memory ends with 137, not {status}");
    let events = stage.events()?.of_task("hungry");
    let at = |topic| events.iter().position(|event| event.topic == topic);
    ensure!(at("/tasks/oom").is_some() && at("/tasks/oom") < at("/tasks/exit"), "the events were {events:?}");
    cgroup.is_gone()
}

/// A container's cgroup: its path below each hierarchy. The first folder is containerd's namespace, which the kit looks
/// after.
struct Cgroup(String);

impl Cgroup {
    fn new(stage: &Stage<'_>, name: &str) -> Self {
        Self(format!("/{}/{name}", stage.containers()))
    }

    /// Whether this machine has version 2 alone.
    fn is_unified() -> bool {
        Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
    }

    fn file(&self, controller: &str, v1: &str, v2: &str) -> PathBuf {
        let (root, file) = if Self::is_unified() { ("", v2) } else { (controller, v1) };
        Path::new("/sys/fs/cgroup").join(root).join(self.0.trim_start_matches('/')).join(file)
    }

    /// A process is in it, for each controller that a guest is limited by.
    fn has(&self, pid: u32) -> Result<()> {
        for controller in ["cpu", "cpuset", "memory", "pids"] {
            let file = self.file(controller, "cgroup.procs", "cgroup.procs");
            let inside =
                std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            ensure!(
                inside.trim() == pid.to_string(),
                "process {pid} should be in {}, not {inside:?}",
                file.display()
            );
        }
        Ok(())
    }

    fn says(&self, controller: &str, v1: &str, v2: &str, expected: &[&str]) -> Result<()> {
        let file = self.file(controller, v1, v2);
        let text =
            std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        ensure!(expected.contains(&text.trim()), "{} says {text:?}, not one of {expected:?}", file.display());
        Ok(())
    }

    /// So are the folders above that it alone needed.
    fn is_gone(&self) -> Result<()> {
        for controller in ["cpu", "cpuacct", "cpuset", "memory", "pids"] {
            let dir = self.file(controller, "", "");
            let ours =
                dir.ancestors().take_while(|dir| !dir.ends_with("cgroup") && !dir.ends_with(controller));
            for dir in ours {
                ensure!(!dir.exists(), "{} is still there", dir.display());
            }
        }
        Ok(())
    }
}

/// Starts the firmware in the cgroup.
fn start(stage: &Stage<'_>, id: &str, options: &[&str]) -> Result<()> {
    let run = stage.try_run_detached(&OURS_ARM64.image(), id, options)?;
    ensure!(run.status.success(), "ctr run --detach failed: {}", String::from_utf8_lossy(&run.stderr));
    stage.wait_for_log(id, OURS_ARM64.banner)
}

/// A line of `ctr task metrics`, by its name in version 1 or 2. Not each release prints each of them.
fn metric(metrics: &str, names: [&str; 2]) -> Option<u64> {
    let words = |line: &str| {
        line.split_once(char::is_whitespace).map(|(name, value)| (name.to_owned(), value.trim().parse().ok()))
    };
    metrics
        .lines()
        .filter_map(words)
        .find_map(|(name, value)| value.filter(|_| names.contains(&name.as_str())))
}

/// The Update of a task, which `ctr` has no command for: asked of the shim, as containerd does it.
fn update(stage: &Stage<'_>, id: &str, resources: &str) -> Result<()> {
    let bundle = format!("/run/kit/state/io.containerd.runtime.v2.task/{}/{id}", stage.containers());
    let file = stage.namespace().path(&bundle).join("address");
    let address =
        std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let path = address.trim().strip_prefix("unix://").context("the shim's address is no socket")?;
    let socket =
        stage.namespace().inside(|| UnixStream::connect(path).context("the shim does not listen"))?;
    let any = [ttrpc::field(1, RESOURCES.as_bytes()), ttrpc::field(2, resources.as_bytes())].concat();
    let request = [ttrpc::field(1, id.as_bytes()), ttrpc::field(2, &any)].concat();
    let reply = ttrpc::Client::new(socket).send("containerd.task.v2.Task", "Update", &request)?;
    // A response is its status, field 1, and a payload, field 2. Success is a status without fields.
    let done = matches!(reply[..], [] | [0x0a, 0, ..] | [0x12, ..]);
    ensure!(done, "the update failed: {}", String::from_utf8_lossy(&reply));
    Ok(())
}
