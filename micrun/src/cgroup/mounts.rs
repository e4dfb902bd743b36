//! Which hierarchies of cgroups a machine has, and where. Pure, but for the two files that it is read from.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::CgroupPath;

/// What a guest's processes are counted and limited by. The rest of a machine's controllers has nothing to do with a
/// guest: it has no devices and no network of the node's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Controller {
    /// Weight and limit of processor time.
    Cpu,
    /// What was used of it, where that is another controller (version 1).
    Cpuacct,
    /// Cores.
    Cpuset,
    /// Memory.
    Memory,
    /// Numbers of processes and threads.
    Pids,
}

impl Controller {
    const ALL: [Controller; 5] =
        [Controller::Cpu, Controller::Cpuacct, Controller::Cpuset, Controller::Memory, Controller::Pids];

    /// As the kernel calls it.
    pub fn name(self) -> &'static str {
        match self {
            Controller::Cpu => "cpu",
            Controller::Cpuacct => "cpuacct",
            Controller::Cpuset => "cpuset",
            Controller::Memory => "memory",
            Controller::Pids => "pids",
        }
    }
}

/// The hierarchies of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Hierarchies {
    /// Version 2: all controllers in one.
    Unified(Tree),
    /// Version 1: some controllers in each. A machine that has version 2 beside it (hybrid) is of this kind, since a
    /// controller is in one of the two.
    Split {
        /// Those that count and limit.
        trees: Vec<(Vec<Controller>, Tree)>,
        /// systemd's own, with no controller.
        systemd: Option<Tree>,
    },
    /// None that is mounted here.
    #[default]
    None,
}

/// One hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// Where it is mounted.
    pub root: PathBuf,
    /// Where this process is in it, without a leading slash.
    pub own: PathBuf,
}

impl Hierarchies {
    /// Reads them off `/proc`.
    pub fn read() -> Hierarchies {
        let read = |file| fs::read_to_string(file).unwrap_or_default();
        Hierarchies::parse(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"))
    }

    /// From the texts of `mountinfo` and `cgroup` (proc_pid_mountinfo(5), cgroups(7)).
    pub fn parse(mounts: &str, own: &str) -> Hierarchies {
        let mut trees: Vec<(Vec<Controller>, Tree)> = Vec::new();
        let (mut unified, mut systemd) = (None, None);
        for mount in mounts.lines().filter_map(Mount::parse) {
            let has = |option: &str| mount.options.split(',').any(|have| have == option);
            let tree = |who: &dyn Fn(&str) -> bool| Tree { root: mount.at.clone(), own: own_path(own, who) };
            if mount.kind == "cgroup2" {
                unified.get_or_insert_with(|| tree(&str::is_empty));
                continue;
            }
            if has("name=systemd") {
                systemd.get_or_insert_with(|| tree(&|list| list == "name=systemd"));
            }
            let seen = |one: &Controller| trees.iter().any(|(there, _)| there.contains(one));
            let fresh = |one: &Controller| has(one.name()) && !seen(one);
            let controllers: Vec<Controller> = Controller::ALL.into_iter().filter(fresh).collect();
            if let Some(first) = controllers.first() {
                let tree = tree(&|list| list.split(',').any(|name| name == first.name()));
                trees.push((controllers, tree));
            }
        }
        match (trees.is_empty(), unified) {
            (false, _) => Hierarchies::Split { trees, systemd },
            (true, Some(tree)) => Hierarchies::Unified(tree),
            (true, None) => Hierarchies::None,
        }
    }
}

impl Tree {
    /// Where a container's cgroup is.
    pub fn place(&self, path: &CgroupPath, unified: bool) -> PathBuf {
        match path {
            CgroupPath::Scope(scope) => self.root.join(scope.path()),
            CgroupPath::Directory { absolute: true, path } => self.root.join(path),
            CgroupPath::Directory { absolute: false, path } => {
                // Where processes are, version 2 lets nobody have controllers below: beside it, then.
                let beside = if unified { self.own.parent() } else { Some(self.own.as_path()) };
                self.root.join(beside.unwrap_or(Path::new(""))).join(path)
            }
        }
    }
}

fn own_path(text: &str, is_it: &dyn Fn(&str) -> bool) -> PathBuf {
    let path = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        let list = fields.next()?;
        // A process outside of its namespace's root is shown as /../..
        let path = fields.next()?.trim_start_matches('/');
        (is_it(list) && !path.starts_with("..")).then(|| PathBuf::from(path))
    };
    text.lines().find_map(path).unwrap_or_default()
}

/// A line of mountinfo that is about cgroups.
struct Mount<'a> {
    at: PathBuf,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Mount<'a>> {
        let (before, after) = line.split_once(" - ")?;
        let mut after = after.split(' ');
        let kind = after.next().filter(|kind| ["cgroup", "cgroup2"].contains(kind))?;
        let at = PathBuf::from(unescape(before.split(' ').nth(4)?));
        Some(Mount { at, kind, options: after.nth(1).unwrap_or_default() })
    }
}

/// Blanks are written as `\040`.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPLIT: &str = "\
20 1 0:5 / /proc rw - proc proc rw
30 20 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
32 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
33 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
34 30 0:30 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory
35 30 0:31 / /sys/fs/cgroup/devices rw - cgroup cgroup rw,devices
36 30 0:30 / /mnt/second rw - cgroup cgroup rw,memory
37 30 0:32 / /sys/fs/a\\040b rw - cgroup cgroup rw,pids
";

    const OWN: &str = "5:cpu,cpuacct:/system.slice/c.service\n4:memory:/m/n\n1:name=systemd:/s\n0::/system.slice/c.service\n";

    #[test]
    fn version_1_and_hybrid() {
        let Hierarchies::Split { trees, systemd } = Hierarchies::parse(SPLIT, OWN) else { panic!() };
        let roots: Vec<_> = trees.iter().map(|(_, tree)| tree.root.to_str().unwrap()).collect();
        assert_eq!(roots, ["/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/memory", "/sys/fs/a b"]);
        assert_eq!(trees[0].0, [Controller::Cpu, Controller::Cpuacct]);
        assert_eq!(trees[1].1.own, Path::new("m/n"));
        assert_eq!(systemd.unwrap().root, Path::new("/sys/fs/cgroup/systemd"));
    }

    #[test]
    fn version_2() {
        let mounts = "30 20 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        let own = PathBuf::from("system.slice/c.service");
        let tree = Tree { root: "/sys/fs/cgroup".into(), own };
        assert_eq!(Hierarchies::parse(mounts, OWN), Hierarchies::Unified(tree));
        assert_eq!(Hierarchies::parse("x\n1 2 - \n", ""), Hierarchies::None);
    }

    #[test]
    fn a_relative_path_begins_where_the_shim_is_or_beside_it() {
        let tree = Tree { root: "/c".into(), own: "system.slice/c.service".into() };
        let place = |text: &str, unified| tree.place(&text.parse().unwrap(), unified);
        assert_eq!(place("/a/b", true), Path::new("/c/a/b"));
        assert_eq!(place("a/b", false), Path::new("/c/system.slice/c.service/a/b"));
        assert_eq!(place("a/b", true), Path::new("/c/system.slice/a/b"));
        assert_eq!(place("x.slice:y:z", true), Path::new("/c/x.slice/y-z.scope"));
        let top = Tree { own: PathBuf::new(), ..tree };
        assert_eq!(top.place(&"a".parse().unwrap(), true), Path::new("/c/a"));
    }
}
