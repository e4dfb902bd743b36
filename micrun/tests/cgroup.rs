//! Cgroups of this machine's own kernel, whichever version it has, and of version 2 as files where the kernel's own has no
//! controllers left. Needs root.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

use std::fs;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use micrun::cgroup::systemd;
use micrun::cgroup::{Cgroup, CgroupError, Controller, Hierarchies, Limits, Place};
use micrun::resources::{Capacity, Change, CpuSet, Weight};

const NOTHING: Limits =
    Limits { weight: None, capacity: Capacity::UNLIMITED, cpus: None, memory: None, min_memory: None };

/// This machine, and a name that no other test has.
struct Machine {
    hierarchies: Hierarchies,
    name: String,
}

impl Machine {
    fn new(name: &str) -> Machine {
        Machine {
            hierarchies: Hierarchies::read(),
            name: format!("micrun-test-{}-{name}", std::process::id()),
        }
    }

    fn place(&self, container: &str) -> Place {
        place(&format!("/{}/{container}", self.name), &self.hierarchies)
    }

    /// The directory of a container in the hierarchy of a controller.
    fn dir(&self, controller: Controller, container: &str) -> PathBuf {
        self.root(controller).join(&self.name).join(container)
    }

    fn root(&self, controller: Controller) -> PathBuf {
        match &self.hierarchies {
            Hierarchies::Split { trees, .. } => {
                trees.iter().find(|(have, _)| have.contains(&controller)).unwrap().1.root.clone()
            }
            Hierarchies::Unified(tree) => tree.root.clone(),
            Hierarchies::None => panic!("this machine has no cgroups"),
        }
    }

    fn is_unified(&self) -> bool {
        matches!(self.hierarchies, Hierarchies::Unified(_))
    }

    fn read(&self, controller: Controller, container: &str, v1: &str, v2: &str) -> String {
        let file = self.dir(controller, container).join(if self.is_unified() { v2 } else { v1 });
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        text.trim().to_owned()
    }
}

fn place(path: &str, hierarchies: &Hierarchies) -> Place {
    Place::new(&path.parse().unwrap(), hierarchies, Path::new(systemd::SOCKET))
}

/// A process that has gone through the doors, as an emulator does.
struct Member(Child);

impl Member {
    fn join(cgroup: &Cgroup, script: &str) -> Member {
        let doors: Vec<OwnedFd> = cgroup.doors().unwrap();
        let mut child = Command::new("sh")
            .args(["-c", &format!("read x; {script}")])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        for door in doors {
            rustix::io::write(door, child.id().to_string().as_bytes()).unwrap();
        }
        child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        Member(child)
    }
}

/// Waits until processor time was counted.
fn wait_for_use(cgroup: &Cgroup) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while cgroup.metrics().cpu.unwrap().total == 0 {
        assert!(Instant::now() < deadline, "nothing was counted: {:?}", cgroup.metrics());
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn limits_are_in_force_before_anybody_is_in_it_and_all_is_gone_at_the_end() {
    let machine = Machine::new("whole");
    let place = machine.place("a");
    let limits = Limits {
        weight: Some(Weight::of_shares(512)),
        capacity: Capacity::of_quota(20_000, Some(50_000)),
        cpus: Some(CpuSet::first(1)),
        memory: Some(64 << 20),
        min_memory: Some(16 << 20),
    };
    let cgroup = place.make(&limits).unwrap();
    let read = |controller, v1, v2| machine.read(controller, "a", v1, v2);
    assert_eq!(read(Controller::Memory, "memory.limit_in_bytes", "memory.max"), (64 << 20).to_string());
    assert_eq!(read(Controller::Memory, "memory.soft_limit_in_bytes", "memory.low"), (16 << 20).to_string());
    assert_eq!(read(Controller::Cpuset, "cpuset.cpus", "cpuset.cpus"), "0");
    let weight = read(Controller::Cpu, "cpu.shares", "cpu.weight");
    assert_eq!(weight, if machine.is_unified() { "20" } else { "512" });
    let quota = read(Controller::Cpu, "cpu.cfs_quota_us", "cpu.max");
    assert_eq!(quota, if machine.is_unified() { "20000 50000" } else { "20000" });

    let member = Member::join(&cgroup, "while :; do :; done");
    assert_eq!(read(Controller::Pids, "cgroup.procs", "cgroup.procs"), member.0.id().to_string());
    wait_for_use(&cgroup);
    let metrics = cgroup.metrics();
    assert!(metrics.pids.unwrap().current >= 1, "{metrics:?}");
    let memory = metrics.memory.unwrap();
    assert_eq!(memory.limit, Some(64 << 20));
    assert!(place.remove().is_err(), "somebody is in it");

    drop(member);
    place.remove().unwrap();
    place.remove().unwrap();
    for controller in [Controller::Cpu, Controller::Cpuset, Controller::Memory, Controller::Pids] {
        assert!(!machine.root(controller).join(&machine.name).exists(), "{controller:?}");
    }
}

#[test]
fn a_change_is_whole_or_not_at_all() {
    let machine = Machine::new("change");
    let place = machine.place("a");
    let cgroup = place.make(&Limits { capacity: Capacity::of_percent(50), ..NOTHING }).unwrap();
    let read = |controller, v1, v2| machine.read(controller, "a", v1, v2);
    cgroup.change(&Change::Weight(Weight::of_shares(2048))).unwrap();
    let weight = read(Controller::Cpu, "cpu.shares", "cpu.weight");
    assert_eq!(weight, if machine.is_unified() { "79" } else { "2048" });
    cgroup.change(&Change::Cpus("0".parse().unwrap())).unwrap();
    assert_eq!(read(Controller::Cpuset, "cpuset.cpus", "cpuset.cpus"), "0");
    cgroup.change(&Change::Capacity(Capacity::of_quota(10_000, Some(20_000)))).unwrap();
    // The kernel takes the period and refuses the quota: less than a millisecond.
    let said = cgroup.change(&Change::Capacity(Capacity::of_quota(1, Some(40_000)))).unwrap_err().to_string();
    assert!(said.contains("= 1"), "{said}");
    if !machine.is_unified() {
        assert_eq!(read(Controller::Cpu, "cpu.cfs_period_us", ""), "20000", "as it was");
    }
    cgroup.change(&Change::Capacity(Capacity::UNLIMITED)).unwrap();
    let quota = read(Controller::Cpu, "cpu.cfs_quota_us", "cpu.max");
    assert!(["-1", "max 100000"].contains(&quota.as_str()), "{quota}");
    cgroup.change(&Change::Vcpus(3)).unwrap();
    drop(cgroup);
    place.remove().unwrap();
}

/// A cgroup may not have more than the one above it, in version 1 not even for a moment.
#[test]
fn quota_and_period_are_written_in_the_order_that_fits_the_pod() {
    let machine = Machine::new("pod");
    let pod = machine.place("pod");
    let _pod = pod.make(&Limits { capacity: Capacity::of_quota(2_500, Some(100_000)), ..NOTHING }).unwrap();
    let container = machine.place("pod/a");
    let exact = Capacity::of_quota(2_500, Some(100_000));
    let cgroup = container.make(&Limits { capacity: exact, ..NOTHING }).unwrap();
    cgroup.change(&Change::Capacity(Capacity::of_quota(1_000, Some(40_000)))).unwrap();
    cgroup.change(&Change::Capacity(exact)).unwrap();
    container.remove().unwrap();
    pod.remove().unwrap();
}

#[test]
fn a_cgroup_that_somebody_is_in_is_left_to_them() {
    let machine = Machine::new("taken");
    let place = machine.place("a");
    let cgroup = place.make(&NOTHING).unwrap();
    let member = Member::join(&cgroup, "exec sleep 60");
    let error = place.make(&NOTHING).unwrap_err();
    assert!(matches!(error, CgroupError::Taken { processes: 1, .. }), "{error}");
    assert!(member_is_in(&machine, &member), "it was thrown out");
    drop(member);
    // What a shim that was killed has left is taken over.
    place.make(&NOTHING).unwrap();
    place.remove().unwrap();
}

fn member_is_in(machine: &Machine, member: &Member) -> bool {
    machine.read(Controller::Memory, "a", "cgroup.procs", "cgroup.procs") == member.0.id().to_string()
}

#[test]
fn what_the_first_container_made_goes_with_the_last_one() {
    let machine = Machine::new("shared");
    let (one, other) = (machine.place("ns/one"), machine.place("ns/other"));
    let _cgroups = [one.make(&NOTHING).unwrap(), other.make(&NOTHING).unwrap()];
    one.remove().unwrap();
    assert!(machine.dir(Controller::Memory, "ns/other").is_dir());
    other.remove().unwrap();
    assert!(!machine.root(Controller::Memory).join(&machine.name).exists());
}

#[test]
fn what_cannot_be_made_leaves_nothing() {
    let machine = Machine::new("half");
    let place = machine.place("a");
    // No machine has this core.
    let error =
        place.make(&Limits { cpus: Some("8191".parse().unwrap()), ..NOTHING }).unwrap_err().to_string();
    assert!(error.contains("cpuset.cpus = 8191"), "{error}");
    assert!(!machine.root(Controller::Cpuset).join(&machine.name).exists());
}

#[tokio::test]
async fn the_end_of_the_memory_is_told() {
    let machine = Machine::new("oom");
    let place = machine.place("a");
    let cgroup = place.make(&Limits { memory: Some(8 << 20), ..NOTHING }).unwrap();
    let mut watch = cgroup.watch_memory().unwrap();
    assert!(
        tokio::time::timeout(Duration::from_millis(50), watch.hit()).await.is_err(),
        "nothing has happened"
    );
    // One line without an end: all of it is kept in memory. What is ended is this program alone, not its shell.
    let mut member = Member::join(&cgroup, "tail -c 64M /dev/zero | tail -n 1 > /dev/null");
    tokio::time::timeout(Duration::from_secs(60), watch.hit()).await.unwrap();
    member.0.wait().unwrap();
    assert!(cgroup.oom_kills() > 0);
    place.remove().unwrap();
}

/// The kernel's own version 2, with whatever it has besides controllers.
#[test]
fn version_2_takes_a_process_through_one_door() {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let unified: Vec<&str> = mounts.lines().filter(|line| line.contains(" - cgroup2 ")).collect();
    assert!(!unified.is_empty(), "this machine has no cgroup2 mounted");
    let hierarchies = Hierarchies::parse(&unified.join("\n"), "0::/\n");
    let Hierarchies::Unified(tree) = &hierarchies else { panic!() };
    let name = format!("micrun-test-{}-v2", std::process::id());
    let place = place(&format!("/{name}/a"), &hierarchies);
    let cgroup = place.make(&NOTHING).unwrap();
    let member = Member::join(&cgroup, "while :; do :; done");
    let inside = fs::read_to_string(tree.root.join(&name).join("a/cgroup.procs")).unwrap();
    assert_eq!(inside.trim(), member.0.id().to_string());
    wait_for_use(&cgroup);
    drop(member);
    place.remove().unwrap();
    assert!(!tree.root.join(name).exists());
}

/// Version 2 as a tree of files, with the controllers that a test gives it. `/dev/full` stands for a file whose value
/// the kernel refuses.
struct Files(tempfile::TempDir);

impl Files {
    fn new(controllers: &str) -> Files {
        let files = Files(tempfile::tempdir().unwrap());
        fs::create_dir_all(files.leaf()).unwrap();
        for dir in ["", "ns", "ns/a"] {
            files.put(&format!("{dir}/cgroup.controllers"), controllers);
            files.put(&format!("{dir}/cgroup.subtree_control"), "");
        }
        files.put("ns/a/cgroup.procs", "");
        for (file, text) in
            [("cpu.weight", "1"), ("cpu.max", "max 100000"), ("cpuset.cpus", ""), ("memory.max", "max")]
        {
            files.put(&format!("ns/a/{file}"), text);
        }
        files
    }

    fn leaf(&self) -> PathBuf {
        self.0.path().join("ns/a")
    }

    fn put(&self, file: &str, text: &str) {
        fs::write(self.0.path().join(file.trim_start_matches('/')), text).unwrap();
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.0.path().join(file)).unwrap()
    }

    fn place(&self) -> Place {
        let mount = format!("30 20 0:26 / {} rw - cgroup2 cgroup2 rw\n", self.0.path().display());
        place("/ns/a", &Hierarchies::parse(&mount, "0::/\n"))
    }
}

#[test]
fn version_2_has_each_limit_in_its_file() {
    let files = Files::new("cpuset cpu io memory pids");
    let limits = Limits {
        weight: Some(Weight::of_shares(1024)),
        capacity: Capacity::of_percent(30),
        cpus: Some("0".parse().unwrap()),
        memory: Some(4096),
        min_memory: Some(1024),
    };
    // memory.low is not there: no limit, so it is passed over.
    let cgroup = files.place().make(&limits).unwrap();
    let values = ["cpu.weight", "cpu.max", "cpuset.cpus", "memory.max"]
        .map(|file| files.read(&format!("ns/a/{file}")));
    assert_eq!(values, ["39", "30000 100000", "0", "4096"]);
    cgroup.change(&Change::Capacity(Capacity::UNLIMITED)).unwrap();
    assert!(files.read("ns/a/cpu.max").starts_with("max 100000"));
}

#[test]
fn a_controller_that_a_limit_needs_is_named_and_one_that_only_counts_is_not_missed() {
    let files = Files::new("memory pids");
    files.place().make(&Limits { weight: Some(Weight::default()), memory: Some(4096), ..NOTHING }).unwrap();
    let error =
        files.place().make(&Limits { cpus: Some(CpuSet::first(1)), ..NOTHING }).unwrap_err().to_string();
    assert!(error.contains("no controller cpuset") && error.contains("cgroup.subtree_control"), "{error}");
}

#[test]
fn what_was_written_before_a_refusal_is_taken_back() {
    let files = Files::new("cpuset cpu memory pids");
    let max = files.leaf().join("memory.max");
    fs::remove_file(&max).unwrap();
    std::os::unix::fs::symlink("/dev/full", &max).unwrap();
    let limits = Limits { capacity: Capacity::of_percent(30), memory: Some(4096), ..NOTHING };
    let error = files.place().make(&limits).unwrap_err().to_string();
    assert!(error.contains("memory.max = 4096"), "{error}");
    assert!(files.read("ns/a/cpu.max").starts_with("max 100000"));
}

#[test]
fn where_nothing_is_mounted_or_writable_it_is_a_lack_of_rights() {
    let error = place("/ns/a", &Hierarchies::None).make(&NOTHING).unwrap_err();
    assert!(error.is_lack_of_rights(), "{error}");
    let read_only = "30 20 0:26 / /proc rw - cgroup2 cgroup2 rw\n";
    let error = place("/micrun/a", &Hierarchies::parse(read_only, "")).make(&NOTHING).unwrap_err();
    assert!(error.to_string().contains("/proc/micrun"), "{error}");
}
