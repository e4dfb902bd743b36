//! From a guest's share of the node to the files that hold it there, in both versions of cgroups. Pure.

use super::mounts::Controller;
use crate::resources::{Capacity, Change, CpuSet, Weight};

/// What a cgroup keeps its processes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Weight against others.
    pub weight: Option<Weight>,
    /// Processor time.
    pub capacity: Capacity,
    /// Cores.
    pub cpus: Option<CpuSet>,
    /// Memory, bytes.
    pub memory: Option<u64>,
    /// What of it they keep when the node runs short, bytes.
    pub min_memory: Option<u64>,
}

/// A file of a cgroup, and what is written to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The controller that has the file.
    pub controller: Controller,
    /// Its name.
    pub file: &'static str,
    /// What is written.
    pub value: String,
    /// A limit, which somebody relies on. What is not firm may be missing on a machine that cannot do it.
    pub firm: bool,
}

impl Limits {
    /// The files, in the order in which they are written.
    pub fn settings(&self, unified: bool) -> Vec<Setting> {
        let mut settings = Vec::new();
        settings.extend(self.cpus.as_ref().map(cpus));
        settings.extend(self.weight.map(|one| weight(one, unified)));
        if self.capacity.is_limited() {
            settings.extend(capacity(self.capacity, unified));
        }
        let memory = |v1, v2, bytes: u64, firm| {
            setting(Controller::Memory, if unified { v2 } else { v1 }, bytes, firm)
        };
        let max = |bytes| memory("memory.limit_in_bytes", "memory.max", bytes, true);
        let low = |bytes| memory("memory.soft_limit_in_bytes", "memory.low", bytes, false);
        settings.extend(self.memory.map(max));
        settings.extend(self.min_memory.map(low));
        settings
    }

    /// Whether somebody relies on any of them.
    pub fn are_firm(&self) -> bool {
        self.capacity.is_limited() || self.cpus.is_some() || self.memory.is_some()
    }
}

/// The files of a change; none for what a cgroup has no part in.
pub fn of_change(change: &Change, unified: bool) -> Vec<Setting> {
    match change {
        Change::Weight(one) => vec![weight(*one, unified)],
        Change::Capacity(one) => capacity(*one, unified),
        Change::Cpus(cores) => vec![cpus(cores)],
        Change::Vcpus(_) | Change::Memory(_) | Change::MinMemory(_) | Change::MaxMemory(_) => Vec::new(),
    }
}

fn setting(controller: Controller, file: &'static str, value: impl ToString, firm: bool) -> Setting {
    Setting { controller, file, value: value.to_string(), firm }
}

fn cpus(cores: &CpuSet) -> Setting {
    setting(Controller::Cpuset, "cpuset.cpus", cores, true)
}

fn weight(weight: Weight, unified: bool) -> Setting {
    match unified {
        true => setting(Controller::Cpu, "cpu.weight", weight.v2(), false),
        false => setting(Controller::Cpu, "cpu.shares", weight.shares(), false),
    }
}

fn capacity(capacity: Capacity, unified: bool) -> Vec<Setting> {
    let (quota, period) = (capacity.quota(), capacity.period());
    if unified {
        let quota = quota.map_or_else(|| "max".to_owned(), |quota| quota.to_string());
        return vec![setting(Controller::Cpu, "cpu.max", format!("{quota} {period}"), true)];
    }
    let quota = quota.map_or_else(|| "-1".to_owned(), |quota| quota.to_string());
    vec![
        setting(Controller::Cpu, "cpu.cfs_period_us", period, true),
        setting(Controller::Cpu, "cpu.cfs_quota_us", quota, true),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(limits: &Limits, unified: bool) -> Vec<String> {
        limits.settings(unified).iter().map(|one| format!("{}={}", one.file, one.value)).collect()
    }

    const NOTHING: Limits =
        Limits { weight: None, capacity: Capacity::UNLIMITED, cpus: None, memory: None, min_memory: None };

    #[test]
    fn each_limit_in_both_versions() {
        let limits = Limits {
            weight: Some(Weight::of_shares(512)),
            capacity: Capacity::of_quota(2_500, Some(50_000)),
            cpus: Some("1-2".parse().unwrap()),
            memory: Some(1 << 20),
            min_memory: Some(4096),
        };
        let v1 = [
            "cpuset.cpus=1-2",
            "cpu.shares=512",
            "cpu.cfs_period_us=50000",
            "cpu.cfs_quota_us=2500",
            "memory.limit_in_bytes=1048576",
            "memory.soft_limit_in_bytes=4096",
        ];
        let v2 = [
            "cpuset.cpus=1-2",
            "cpu.weight=20",
            "cpu.max=2500 50000",
            "memory.max=1048576",
            "memory.low=4096",
        ];
        assert_eq!(written(&limits, false), v1);
        assert_eq!(written(&limits, true), v2);
        assert_eq!(written(&NOTHING, true), [""; 0]);
    }

    #[test]
    fn a_limit_that_is_taken_away_is_written_too() {
        let change = Change::Capacity(Capacity::UNLIMITED);
        let values = |unified| -> Vec<String> {
            of_change(&change, unified).into_iter().map(|setting| setting.value).collect()
        };
        assert_eq!(values(false), ["100000", "-1"]);
        assert_eq!(values(true), ["max 100000"]);
    }

    #[test]
    fn who_relies_on_what() {
        let table = [
            (NOTHING, false),
            (Limits { weight: Some(Weight::default()), min_memory: Some(1), ..NOTHING }, false),
            (Limits { capacity: Capacity::of_percent(1), ..NOTHING }, true),
            (Limits { cpus: Some(CpuSet::first(1)), ..NOTHING }, true),
            (Limits { memory: Some(1), ..NOTHING }, true),
        ];
        for (limits, firm) in table {
            assert_eq!(limits.are_firm(), firm, "{limits:?}");
            let any = limits.settings(true).iter().any(|setting| setting.firm);
            assert_eq!(any, firm, "{limits:?}");
        }
    }
}
