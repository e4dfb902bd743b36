//! A place of its own for a containerd: a PID and a mount namespace with a tmpfs on `/run`.
//!
//! containerd, the shims it starts and their guests see the machine's files, but their own `/run`, where shims put
//! sockets and state, whatever containerd is told. All of it, daemons included, dies with the namespace's first
//! process, and that one ends when this program closes the pipe it reads from: on drop, on an error, on Ctrl-C and
//! on `kill -9` alike. So nothing that a test starts can outlive it.
//!
//! One that is made [with a network](Namespace::with_network) has interfaces of its own, too: those of pods end with it.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use nix::sched::{CloneFlags, setns, unshare};

use crate::{note, packages, wait};

/// The first process: prepares the mounts, reaps what is orphaned (bash does), and at the end kills all others, so
/// that it can remove the cgroups ($1 is in their names) that they leave behind.
const FIRST_PROCESS: &str = r#"
set -e
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
echo ready
read -r _ || true
kill -KILL -1 2>/dev/null || true
for _ in 1 2 3 4 5; do
    find /sys/fs/cgroup -depth -type d -path "*/$1/*" -exec rmdir {} + 2>/dev/null && break
    sleep 0.1
done
find /sys/fs/cgroup -depth -type d -name "$1" -exec rmdir {} + 2>/dev/null
"#;

/// What comes before that where there is a network: an interface for what listens on loopback, and a `/var/lib` whose changes go
/// to the tmpfs, since CNI's library (libcni, `CacheDir`) notes there what it made.
const NETWORK: &str = r#"
set -e
mount --make-rprivate /
/sbin/ip link set lo up
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/upper /mnt/work
mount -t overlay -o lowerdir=/var/lib,upperdir=/mnt/upper,workdir=/mnt/work overlay /var/lib
"#;

/// What CNI's library knows of networks, inside.
pub const NETWORKS: &str = "/var/lib/cni";

/// A PID and mount namespace, with or without a network.
#[derive(Debug)]
pub struct Namespace {
    first: Child,
    /// Closing it ends everything inside.
    lifeline: Option<ChildStdin>,
    /// In the order in which they are entered.
    namespaces: Vec<(File, CloneFlags)>,
    pids: File,
}

/// A process inside, as `/proc` of the machine shows it.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its id outside of the namespace.
    pub pid: u32,
    /// Its parent's id outside of the namespace.
    pub parent: u32,
    /// Its id inside: the one that containerd and `ctr` speak of.
    pub inner_pid: u32,
    /// Its command line, or its name in brackets.
    pub command: String,
}

impl Namespace {
    /// Makes one. `cgroup` is the folder name below `/sys/fs/cgroup/*` that is removed at the end.
    ///
    /// # Errors
    /// If this is not root, or the machine (often a container) forbids namespaces or mounts.
    pub fn new(cgroup: &str) -> Result<Self> {
        let own = [("mnt", CloneFlags::CLONE_NEWNS), ("pid", CloneFlags::CLONE_NEWPID)];
        Self::of(&own, FIRST_PROCESS, cgroup)
    }

    /// One that has a network of its own, with nothing but a loopback interface.
    ///
    /// # Errors
    /// As [`Namespace::new`].
    pub fn with_network(cgroup: &str) -> Result<Self> {
        let own = [
            ("net", CloneFlags::CLONE_NEWNET),
            ("mnt", CloneFlags::CLONE_NEWNS),
            ("pid", CloneFlags::CLONE_NEWPID),
        ];
        Self::of(&own, &[NETWORK, FIRST_PROCESS].concat(), cgroup)
    }

    fn of(own: &[(&str, CloneFlags)], first_process: &str, cgroup: &str) -> Result<Self> {
        ensure!(packages::is_root(), "a private containerd needs root: run this as root or with sudo");
        let mut command = Command::new("bash");
        command.args(["-c", first_process, "micrun-testkit", cgroup]);
        // A process group of its own: Ctrl-C is for us, and our end ends it.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut first = on_a_thread(|| {
            unshare(own.iter().fold(CloneFlags::CLONE_FS, |all, (_, flag)| all | *flag))
                .context("this machine lets nobody make a namespace (in a container, run it privileged)")?;
            command.spawn().context("cannot start bash")
        })?;
        let mut said = String::new();
        if let Some(stdout) = first.stdout.take() {
            BufReader::new(stdout).read_line(&mut said).context("cannot read from bash")?;
        }
        if said.trim() != "ready" {
            let output = first.wait_with_output().context("cannot wait for bash")?;
            bail!("cannot prepare a private /run: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let open = |name: &str| {
            let path = format!("/proc/{}/ns/{name}", first.id());
            File::open(&path).with_context(|| format!("cannot open {path}"))
        };
        let namespaces =
            own.iter().map(|(name, flag)| Ok((open(name)?, *flag))).collect::<Result<Vec<_>>>()?;
        let pids = open("pid")?;
        let lifeline = first.stdin.take();
        Ok(Self { first, lifeline, namespaces, pids })
    }

    /// Runs `job` inside: files that it opens, sockets it connects to and processes it starts are the namespace's.
    ///
    /// # Errors
    /// Those of the job, or if the namespace is gone.
    pub fn inside<T: Send>(&self, job: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        on_a_thread(|| {
            unshare(CloneFlags::CLONE_FS).context("cannot unshare the working directory")?;
            for (namespace, kind) in &self.namespaces {
                setns(namespace, *kind).with_context(|| format!("cannot enter a namespace ({kind:?})"))?;
            }
            job()
        })
    }

    /// Starts a program inside.
    ///
    /// # Errors
    /// If that fails.
    pub fn spawn(&self, command: &mut Command) -> Result<Child> {
        self.inside(|| {
            command.spawn().with_context(|| format!("cannot start `{}`", crate::shell::line(command)))
        })
    }

    /// A path inside, as seen from outside.
    pub fn path(&self, inside: impl AsRef<Path>) -> PathBuf {
        let inside = inside.as_ref();
        let root = PathBuf::from(format!("/proc/{}/root", self.first.id()));
        root.join(inside.strip_prefix("/").unwrap_or(inside))
    }

    /// Every process inside but the first one, zombies and those in PID namespaces further inside included.
    ///
    /// # Errors
    /// If `/proc` cannot be read.
    pub fn processes(&self) -> Result<Vec<Process>> {
        let own = self.pids.metadata().context("cannot look at the namespace")?.ino();
        let depth = nspid(self.first.id()).context("the namespace is gone")?.len() - 1;
        let mut inside = Vec::new();
        let mut others = Vec::new();
        for entry in Path::new("/proc").read_dir().context("cannot read /proc")? {
            let name = entry.context("cannot read /proc")?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            // Processes come and go while we read. Those further inside have a longer list of ids.
            if nspid(pid).is_none_or(|ids| ids.len() <= depth) {
                continue;
            }
            let is_here =
                std::fs::metadata(format!("/proc/{pid}/ns/pid")).is_ok_and(|meta| meta.ino() == own);
            let list = if is_here { &mut inside } else { &mut others };
            list.extend(Process::read(pid, depth));
        }
        // The first process of a namespace further inside has a parent here.
        while let Some(at) = others.iter().position(|p| inside.iter().any(|known| known.pid == p.parent)) {
            inside.push(others.swap_remove(at));
        }
        inside.retain(|process| process.pid != self.first.id());
        Ok(inside)
    }

    /// The mount points inside, without those of a process' further namespaces.
    ///
    /// # Errors
    /// If `/proc` cannot be read.
    pub fn mounts(&self) -> Result<Vec<String>> {
        let path = format!("/proc/{}/mountinfo", self.first.id());
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        Ok(text.lines().filter_map(|line| Some(line.split(' ').nth(4)?.to_owned())).collect())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        // It ends when all others have been reaped. A child that someone forgot must not hang the whole program.
        let first = &mut self.first;
        let end = wait::within(Duration::from_secs(10), "a namespace to end", || Ok(first.try_wait()?));
        if let Err(error) = end {
            note(error);
        }
    }
}

impl Process {
    fn read(pid: u32, depth: usize) -> Option<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(":\t"));
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
        let command = match arguments.trim() {
            "" => format!("[{}] ({})", field("Name")?, field("State")?),
            line => line.to_owned(),
        };
        let inner_pid = *nspid(pid)?.get(depth)?;
        Some(Self { pid, parent: field("PPid")?.parse().ok()?, inner_pid, command })
    }

    /// The program's file name.
    pub fn program(&self) -> &str {
        self.command.split(' ').next().unwrap_or_default().rsplit('/').next().unwrap_or_default()
    }
}

/// A process' ids, from the machine's to those of the namespaces further and further inside (proc(5), `NSpid`).
fn nspid(pid: u32) -> Option<Vec<u32>> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    ids.split_whitespace().map(|id| id.parse().ok()).collect()
}

/// Namespaces belong to a thread: enter them on one that ends.
fn on_a_thread<T: Send>(job: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| scope.spawn(job).join())
        .map_err(|_| anyhow!("a thread of the test kit panicked"))?
}
