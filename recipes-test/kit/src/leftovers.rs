//! What a test left behind: processes, mounts, sockets, state files, cgroups, and what containerd still knows.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::containerd::HOME;
use crate::namespace::Namespace;
use crate::{Containerd, wait};

/// Shims exit and containerd collects garbage a little after `ctr` came back.
const SETTLE: Duration = Duration::from_secs(15);

/// What was there before anything was run.
#[derive(Debug, Default)]
pub struct Baseline {
    mounts: BTreeSet<String>,
    files: BTreeSet<PathBuf>,
    /// What containerd knew, a line each.
    known: BTreeSet<String>,
}

impl Baseline {
    /// Looks at a namespace.
    ///
    /// # Errors
    /// If `/proc` cannot be read.
    pub fn of(namespace: &Namespace) -> Result<Self> {
        let mounts = namespace.mounts()?.into_iter().collect();
        Ok(Self { mounts, files: files(&namespace.path("/run")), known: BTreeSet::new() })
    }

    /// With what containerd knows, a line each.
    pub(crate) fn and_known(self, known: impl IntoIterator<Item = String>) -> Self {
        Self { known: known.into_iter().collect(), ..self }
    }

    /// What is in the namespace now and was not then: processes, mounts, files below `/run`, and cgroups in folders that are
    /// called `cgroup`.
    ///
    /// # Errors
    /// If `/proc` cannot be read.
    pub fn compare(
        &self,
        namespace: &Namespace,
        cgroup: &str,
        is_own: impl Fn(u32) -> bool,
    ) -> Result<Vec<String>> {
        let mut left = Vec::new();
        for process in namespace.processes()? {
            if !is_own(process.pid) {
                left.push(format!("process {}: {}", process.pid, process.command));
            }
        }
        let mounts = namespace.mounts()?;
        left.extend(mounts.iter().filter(|m| !self.mounts.contains(*m)).map(|m| format!("mount {m}")));
        let run = namespace.path("/run");
        for file in files(&run).difference(&self.files) {
            left.push(format!("file /run/{}", file.strip_prefix(&run).unwrap_or(file).display()));
        }
        left.extend(cgroups(Path::new("/sys/fs/cgroup"), cgroup, 0));
        Ok(left)
    }
}

/// How much there is of what containers leave behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Census {
    /// Processes, containerd among them.
    pub processes: usize,
    /// Mounts.
    pub mounts: usize,
    /// Files, sockets and FIFOs below `/run`, and the folders of single containers.
    pub files: usize,
    /// Cgroups of single containers.
    pub cgroups: usize,
}

impl Containerd {
    /// Counts.
    ///
    /// # Errors
    /// If the namespace is gone.
    pub fn census(&self) -> Result<Census> {
        Ok(Census {
            processes: self.namespace.processes()?.len(),
            mounts: self.namespace.mounts()?.len(),
            files: files(&self.namespace.path("/run")).len(),
            cgroups: cgroups(Path::new("/sys/fs/cgroup"), self.cgroup(), 0).len(),
        })
    }

    /// Everything that is still there and should not be, a line each; empty is good. Images count too: remove them
    /// first. Waits a little for what ends by itself.
    ///
    /// # Errors
    /// If containerd does not answer.
    pub fn leftovers(&self) -> Result<Vec<String>> {
        let mut left = Vec::new();
        let clean = wait::within(SETTLE, "nothing to be left", || {
            left = self.look()?;
            Ok(left.is_empty().then_some(()))
        });
        match clean {
            Err(error) if left.is_empty() => Err(error),
            _ => Ok(left),
        }
    }

    fn look(&self) -> Result<Vec<String>> {
        let mut left = self.baseline.compare(&self.namespace, self.cgroup(), |pid| self.is_own(pid))?;
        left.extend(self.known()?.into_iter().filter(|line| !self.baseline.known.contains(line)));
        Ok(left)
    }

    /// What containerd knows of containers and images, a line each.
    pub(crate) fn known(&self) -> Result<Vec<String>> {
        let mut known = Vec::new();
        for (what, names) in [
            ("task", self.list(["task", "ls", "-q"])?),
            ("container", self.list(["container", "ls", "-q"])?),
            ("image", self.list(["image", "ls", "-q"])?),
            ("snapshot", self.snapshots()?),
        ] {
            known.extend(names.iter().map(|name| format!("{what} {name}")));
        }
        Ok(known)
    }

    fn snapshots(&self) -> Result<Vec<String>> {
        Ok(self.run_ctr(["snapshot", "ls"])?.lines().skip(1).map(str::to_owned).collect())
    }
}

/// Everything below `run` that stands for something alive: files, sockets, FIFOs, and folders named after a container.
/// Not containerd's database and content, and not empty folders of folders, which are made once and kept.
fn files(run: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let home = run.join(HOME.trim_start_matches("/run/"));
    let database = home.join("root");
    walk(run, &mut |path, is_dir| {
        if path.starts_with(&database) && !path.starts_with(database.join("io.containerd.runtime.v2.task")) {
            return;
        }
        if !is_dir || is_of_one_container(path.strip_prefix(run).unwrap_or(path)) {
            found.insert(path.to_owned());
        }
    });
    found
}

/// The folders that exist per container: `<kit>/{root,state}/io.containerd.runtime.v2.task/<namespace>/<id>`,
/// `micrun/<namespace>/<id>`, `containerd/fifo/<number>`; and those of pods, which CRI and the Sandbox service keep.
fn is_of_one_container(path: &Path) -> bool {
    let names: Vec<_> = path.iter().filter_map(|name| name.to_str()).collect();
    matches!(
        names[..],
        ["kit", _, "io.containerd.runtime.v2.task", _, _]
            | ["kit", "state", "io.containerd.sandbox.controller.v1.shim", _, _]
            | ["kit", "state", "io.containerd.grpc.v1.cri", "sandboxes" | "containers", _]
            | ["micrun", _, _]
            | ["containerd", "fifo", _]
    )
}

fn walk(dir: &Path, visit: &mut impl FnMut(&Path, bool)) {
    // A folder that vanishes while we look is no leftover.
    for entry in dir.read_dir().into_iter().flatten().flatten() {
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        visit(&entry.path(), is_dir);
        if is_dir {
            walk(&entry.path(), visit);
        }
    }
}

/// Cgroups of single containers: `/<cgroup>/<id>` in any hierarchy.
fn cgroups(dir: &Path, cgroup: &str, depth: u32) -> Vec<String> {
    let mut left = Vec::new();
    for entry in dir.read_dir().into_iter().flatten().flatten() {
        let path = entry.path();
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if entry.file_name() == cgroup {
            let inner = path.read_dir().into_iter().flatten().flatten();
            let inner = inner.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            left.extend(inner.map(|entry| format!("cgroup {}", entry.path().display())));
        } else if depth < 2 {
            left.extend(cgroups(&path, cgroup, depth + 1));
        }
    }
    left
}

/// Fails with the list, if anything is left.
///
/// # Errors
/// If there are leftovers, or containerd does not answer.
pub fn assert_none(containerd: &Containerd) -> Result<()> {
    let left = containerd.leftovers().context("cannot look for leftovers")?;
    anyhow::ensure!(left.is_empty(), "left behind:\n  {}", left.join("\n  "));
    Ok(())
}
