//! What a cgroup tells about those in it. What a kernel does not tell stays unknown.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Controller, dir};

/// Numbers by the names that the kernel gives them.
pub type Flat = BTreeMap<String, u64>;

/// In version 1, a limit that nobody set: the largest number of bytes in whole pages (page counters are longs).
const NO_LIMIT: u64 = (i64::MAX as u64) & !0xffff;

/// What those in a cgroup have used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Processor time, nanoseconds.
    pub cpu: Option<CpuTime>,
    /// Each core's part of it, nanoseconds; only in version 1.
    pub per_core: Vec<u64>,
    /// How often the limit was met: `cpu.stat`, in version 2 with the times (microseconds) above.
    pub cpu_stat: Flat,
    /// Memory.
    pub memory: Option<Memory>,
    /// `memory.stat`.
    pub memory_stat: Flat,
    /// `memory.events`, in version 1 `memory.oom_control`.
    pub memory_events: Flat,
    /// Processes and threads.
    pub pids: Option<Pids>,
}

/// Nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuTime {
    /// In all.
    pub total: u64,
    /// In user mode.
    pub user: u64,
    /// In kernel mode.
    pub system: u64,
}

/// Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Now.
    pub usage: u64,
    /// At the most, where the kernel keeps it.
    pub peak: Option<u64>,
    /// What there may be; `None` for no limit.
    pub limit: Option<u64>,
    /// How often that was met (version 1).
    pub failures: Option<u64>,
}

/// Processes and threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pids {
    /// Now.
    pub current: u64,
    /// What there may be; `None` for no limit.
    pub limit: Option<u64>,
}

/// Of a cgroup of version 2.
pub fn unified(dir: &Path) -> Metrics {
    let cpu_stat = flat(&dir.join("cpu.stat"));
    let nanoseconds = |name: &str| cpu_stat.get(name).map(|microseconds| microseconds.saturating_mul(1000));
    let cpu = nanoseconds("usage_usec").map(|total| CpuTime {
        total,
        user: nanoseconds("user_usec").unwrap_or_default(),
        system: nanoseconds("system_usec").unwrap_or_default(),
    });
    let number = |name: &str| number(&dir.join(name));
    let memory = number("memory.current").map(|usage| Memory {
        usage,
        peak: number("memory.peak"),
        limit: number("memory.max"),
        failures: None,
    });
    Metrics {
        cpu,
        per_core: Vec::new(),
        memory,
        memory_stat: flat(&dir.join("memory.stat")),
        memory_events: flat(&dir.join("memory.events")),
        pids: number("pids.current").map(|current| Pids { current, limit: number("pids.max") }),
        cpu_stat,
    }
}

/// Of a cgroup of version 1, whose directories are given by controller.
pub fn split<'a>(of: impl Fn(Controller) -> Option<&'a Path>) -> Metrics {
    let file = |controller, name: &str| of(controller).map(|dir| dir.join(name));
    let number = |controller, name: &str| file(controller, name).and_then(|file| number(&file));
    let flat = |controller, name: &str| file(controller, name).map(|file| flat(&file)).unwrap_or_default();
    let cpu = |name: &str| number(Controller::Cpuacct, name);
    let memory = |name: &str| number(Controller::Memory, name);
    let pids = |name: &str| number(Controller::Pids, name);
    let per_core = file(Controller::Cpuacct, "cpuacct.usage_percpu").map(|file| numbers(&file));
    Metrics {
        cpu: cpu("cpuacct.usage").map(|total| CpuTime {
            total,
            user: cpu("cpuacct.usage_user").unwrap_or_default(),
            system: cpu("cpuacct.usage_sys").unwrap_or_default(),
        }),
        per_core: per_core.unwrap_or_default(),
        cpu_stat: flat(Controller::Cpu, "cpu.stat"),
        memory: memory("memory.usage_in_bytes").map(|usage| Memory {
            usage,
            peak: memory("memory.max_usage_in_bytes"),
            limit: memory("memory.limit_in_bytes").filter(|limit| *limit < NO_LIMIT),
            failures: memory("memory.failcnt"),
        }),
        memory_stat: flat(Controller::Memory, "memory.stat"),
        memory_events: flat(Controller::Memory, "memory.oom_control"),
        pids: pids("pids.current").map(|current| Pids { current, limit: pids("pids.max") }),
    }
}

/// A file of names and numbers; empty where it cannot be read.
pub fn flat(file: &Path) -> Flat {
    parse_flat(&dir::read(file).unwrap_or_default())
}

fn parse_flat(text: &str) -> Flat {
    let entry = |line: &str| {
        let (name, number) = line.split_once(' ')?;
        Some((name.to_owned(), number.trim().parse().ok()?))
    };
    text.lines().filter_map(entry).collect()
}

/// `None` for a file that is not there, and for `max`.
fn number(file: &Path) -> Option<u64> {
    dir::read(file).ok()?.trim().parse().ok()
}

fn numbers(file: &Path) -> Vec<u64> {
    let text = dir::read(file).unwrap_or_default();
    text.split_whitespace().map_while(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    #[test]
    fn version_2() {
        let dir = tree(&[
            (
                "cpu.stat",
                "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 3\nnr_throttled 2\nthrottled_usec 1\n",
            ),
            ("memory.current", "4096\n"),
            ("memory.max", "max\n"),
            ("memory.stat", "anon 5\nfile 6\ninactive_file 7\n"),
            ("memory.events", "low 0\nhigh 0\nmax 1\noom 1\noom_kill 1\n"),
            ("pids.current", "4\n"),
            ("pids.max", "10\n"),
        ]);
        let metrics = unified(dir.path());
        assert_eq!(metrics.cpu, Some(CpuTime { total: 30_000, user: 20_000, system: 10_000 }));
        assert_eq!(metrics.cpu_stat["nr_throttled"], 2);
        assert_eq!(metrics.memory, Some(Memory { usage: 4096, peak: None, limit: None, failures: None }));
        assert_eq!((metrics.memory_stat["inactive_file"], metrics.memory_events["oom_kill"]), (7, 1));
        assert_eq!(metrics.pids, Some(Pids { current: 4, limit: Some(10) }));
    }

    #[test]
    fn version_1() {
        let dir = tree(&[
            ("cpuacct.usage", "30\n"),
            ("cpuacct.usage_user", "20\n"),
            ("cpuacct.usage_sys", "10\n"),
            ("cpuacct.usage_percpu", "10 20 \n"),
            ("cpu.stat", "nr_periods 3\nnr_throttled 2\nthrottled_time 1\n"),
            ("memory.usage_in_bytes", "4096\n"),
            ("memory.max_usage_in_bytes", "8192\n"),
            ("memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory.failcnt", "0\n"),
            ("memory.stat", "rss 5\ntotal_inactive_file 7\n"),
            ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"),
        ]);
        let metrics = split(|_| Some(dir.path()));
        assert_eq!(metrics.cpu, Some(CpuTime { total: 30, user: 20, system: 10 }));
        assert_eq!(metrics.per_core, [10, 20]);
        let memory = Memory { usage: 4096, peak: Some(8192), limit: None, failures: Some(0) };
        assert_eq!((metrics.memory, metrics.pids), (Some(memory), None));
        assert_eq!((metrics.cpu_stat["nr_periods"], metrics.memory_events["oom_kill"]), (3, 1));
    }

    #[test]
    fn a_cgroup_that_tells_nothing_is_no_zero() {
        assert_eq!(split(|_| None), Metrics::default());
        assert_eq!(unified(Path::new("/nowhere")), Metrics::default());
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "([a-z_]{0,5} ?-?[0-9]{0,25}\n?){0,5}") {
            prop_assert!(parse_flat(&text).len() <= text.lines().count());
        }
    }
}
