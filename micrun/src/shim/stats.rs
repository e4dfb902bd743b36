//! What a guest has used, in the message that containerd reads on this host.

use containerd_shim::protos::cgroups::metrics as v1;
use containerd_shim::protos::cgroups_v2::metrics as v2;
use containerd_shim::protos::protobuf::well_known_types::any::Any;
use containerd_shim::protos::protobuf::{self, Message, MessageField};
use rustix::fs::statfs;

use crate::cgroup::metrics::{CpuTime, Flat};
use crate::pedestal::Usage;

/// The magic of a cgroup v2 file system (linux/magic.h).
const CGROUP2_SUPER_MAGIC: u64 = 0x6367_7270;

/// The use as `io.containerd.cgroups.v1.Metrics` or `.v2.Metrics`, by the host's cgroup mode. Clients
/// compare these names literally.
pub fn metrics(usage: &Usage) -> protobuf::Result<Any> {
    let unified = statfs("/sys/fs/cgroup").is_ok_and(|fs| fs.f_type as u64 == CGROUP2_SUPER_MAGIC);
    let (name, value) = match unified {
        true => ("io.containerd.cgroups.v2.Metrics", v2(usage).write_to_bytes()?),
        false => ("io.containerd.cgroups.v1.Metrics", v1(usage).write_to_bytes()?),
    };
    Ok(Any { type_url: name.to_owned(), value, ..Default::default() })
}

fn nanoseconds(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Fields of a message from numbers that have the same names, or those that are written beside them. A number that the
/// kernel does not tell leaves its field alone.
macro_rules! fill {
    ($message:expr, $from:expr, $($field:ident $(= $name:literal)?),* $(,)?) => {
        $(if let Some(value) = $from.get(fill!(@ $field $($name)?)) {
            $message.$field = *value;
        })*
    };
    (@ $field:ident) => { stringify!($field) };
    (@ $field:ident $name:literal) => { $name };
}

/// No limit: as the kernel of version 1 would say it, and runc after it.
const V1_NO_LIMIT: u64 = 9_223_372_036_854_771_712;

fn v1(usage: &Usage) -> v1::Metrics {
    let cgroup = usage.cgroup.clone().unwrap_or_default();
    let mut throttling = v1::Throttle::default();
    fill!(
        throttling,
        cgroup.cpu_stat,
        periods = "nr_periods",
        throttled_periods = "nr_throttled",
        throttled_time
    );
    let CpuTime { total, user, system } = cgroup.cpu.unwrap_or_else(|| times(usage));
    let time = v1::CPUUsage { total, user, kernel: system, per_cpu: cgroup.per_core, ..Default::default() };
    let entry = match cgroup.memory {
        Some(memory) => v1::MemoryEntry {
            usage: memory.usage,
            limit: memory.limit.unwrap_or(V1_NO_LIMIT),
            max: memory.peak.unwrap_or_default(),
            failcnt: memory.failures.unwrap_or_default(),
            ..Default::default()
        },
        None => {
            let limit = usage.memory_limit.unwrap_or_default();
            v1::MemoryEntry { usage: usage.memory, limit, ..Default::default() }
        }
    };
    let mut oom = v1::MemoryOomControl::default();
    fill!(oom, cgroup.memory_events, oom_kill_disable, under_oom, oom_kill);
    let pids = cgroup.pids.map(|pids| v1::PidsStat {
        current: pids.current,
        limit: pids.limit.unwrap_or_default(),
        ..Default::default()
    });
    v1::Metrics {
        cpu: MessageField::some(v1::CPUStat {
            usage: MessageField::some(time),
            throttling: (!cgroup.cpu_stat.is_empty()).then_some(throttling).into(),
            ..Default::default()
        }),
        memory: MessageField::some(v1::MemoryStat {
            usage: MessageField::some(entry),
            ..v1_memory(usage.memory, &cgroup.memory_stat)
        }),
        memory_oom_control: (!cgroup.memory_events.is_empty()).then_some(oom).into(),
        pids: pids.into(),
        ..Default::default()
    }
}

fn v1_memory(resident: u64, stat: &Flat) -> v1::MemoryStat {
    let mut memory = v1::MemoryStat { rss: resident, ..Default::default() };
    #[rustfmt::skip]
    fill!(
        memory, stat,
        cache, rss, rss_huge, mapped_file, dirty, writeback, pg_pg_in = "pgpgin", pg_pg_out = "pgpgout",
        pg_fault = "pgfault", pg_maj_fault = "pgmajfault", inactive_anon, active_anon, inactive_file, active_file,
        unevictable, hierarchical_memory_limit, hierarchical_swap_limit = "hierarchical_memsw_limit",
        total_cache, total_rss, total_rss_huge, total_mapped_file, total_dirty, total_writeback,
        total_pg_pg_in = "total_pgpgin", total_pg_pg_out = "total_pgpgout", total_pg_fault = "total_pgfault",
        total_pg_maj_fault = "total_pgmajfault", total_inactive_anon, total_active_anon, total_inactive_file,
        total_active_file, total_unevictable,
    );
    memory
}

fn v2(usage: &Usage) -> v2::Metrics {
    let cgroup = usage.cgroup.clone().unwrap_or_default();
    let CpuTime { total, user, system } = cgroup.cpu.unwrap_or_else(|| times(usage));
    let mut cpu = v2::CPUStat {
        usage_usec: total / 1000,
        user_usec: user / 1000,
        system_usec: system / 1000,
        ..Default::default()
    };
    fill!(cpu, cgroup.cpu_stat, nr_periods, nr_throttled, throttled_usec, nr_bursts, burst_usec);
    let mut memory = v2::MemoryStat::default();
    #[rustfmt::skip]
    fill!(
        memory, cgroup.memory_stat,
        anon, file, kernel_stack, slab, sock, shmem, file_mapped, file_dirty, file_writeback, anon_thp, inactive_anon,
        active_anon, inactive_file, active_file, unevictable, slab_reclaimable, slab_unreclaimable, pgfault, pgmajfault,
        workingset_refault, workingset_activate, workingset_nodereclaim, pgrefill, pgscan, pgsteal, pgactivate,
        pgdeactivate, pglazyfree, pglazyfreed, thp_fault_alloc, thp_collapse_alloc,
    );
    match cgroup.memory {
        Some(used) => {
            memory.usage = used.usage;
            // As the library of containerd that other shims use writes «max».
            memory.usage_limit = used.limit.unwrap_or(u64::MAX);
            memory.max_usage = used.peak.unwrap_or_default();
        }
        None => {
            memory.usage = usage.memory;
            memory.usage_limit = usage.memory_limit.unwrap_or_default();
        }
    }
    let mut events = v2::MemoryEvents::default();
    fill!(events, cgroup.memory_events, low, high, max, oom, oom_kill, oom_group_kill);
    let pids = cgroup.pids.map(|pids| v2::PidsStat {
        current: pids.current,
        limit: pids.limit.unwrap_or_default(),
        ..Default::default()
    });
    v2::Metrics {
        cpu: MessageField::some(cpu),
        memory: MessageField::some(memory),
        memory_events: (!cgroup.memory_events.is_empty()).then_some(events).into(),
        pids: pids.into(),
        ..Default::default()
    }
}

/// What the pedestal itself knows.
fn times(usage: &Usage) -> CpuTime {
    let (user, system) = (nanoseconds(usage.user), nanoseconds(usage.system));
    CpuTime { total: user.saturating_add(system), user, system }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cgroup::Metrics;
    use crate::cgroup::metrics::{Memory, Pids};

    fn flat(numbers: &[(&str, u64)]) -> Flat {
        numbers.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect()
    }

    fn used(cgroup: Option<Metrics>) -> Usage {
        let (user, system) = (Duration::from_micros(7), Duration::from_micros(3));
        Usage { user, system, memory: 4096, memory_limit: Some(8192), cgroup }
    }

    fn told() -> Metrics {
        Metrics {
            cpu: Some(CpuTime { total: 30_000, user: 20_000, system: 10_000 }),
            per_core: vec![10_000, 20_000],
            cpu_stat: flat(&[
                ("nr_periods", 3),
                ("nr_throttled", 2),
                ("throttled_time", 9),
                ("throttled_usec", 9),
            ]),
            memory: Some(Memory { usage: 100, peak: Some(200), limit: None, failures: Some(1) }),
            memory_stat: flat(&[("rss", 1), ("total_inactive_file", 2), ("anon", 3), ("inactive_file", 4)]),
            memory_events: flat(&[("oom_kill", 1)]),
            pids: Some(Pids { current: 5, limit: None }),
        }
    }

    #[test]
    fn without_a_cgroup_the_rest_stays_unset() {
        let one = v1(&used(None));
        assert_eq!((one.cpu.usage.total, one.cpu.usage.user, one.cpu.usage.kernel), (10_000, 7_000, 3_000));
        assert_eq!((one.memory.rss, one.memory.usage.usage, one.memory.usage.limit), (4096, 4096, 8192));
        assert!(one.cpu.throttling.is_none() && one.pids.is_none() && one.memory_oom_control.is_none());
        let two = v2(&used(None));
        assert_eq!((two.cpu.usage_usec, two.cpu.user_usec, two.cpu.system_usec), (10, 7, 3));
        assert_eq!((two.memory.usage, two.memory.usage_limit), (4096, 8192));
        assert!(two.pids.is_none() && two.memory_events.is_none());
    }

    #[test]
    fn what_a_cgroup_tells_comes_first() {
        let one = v1(&used(Some(told())));
        assert_eq!((one.cpu.usage.total, &one.cpu.usage.per_cpu[..]), (30_000, &[10_000, 20_000][..]));
        let throttling = &one.cpu.throttling;
        assert_eq!((throttling.periods, throttling.throttled_periods, throttling.throttled_time), (3, 2, 9));
        let entry = &one.memory.usage;
        assert_eq!((entry.usage, entry.max, entry.limit, entry.failcnt), (100, 200, V1_NO_LIMIT, 1));
        assert_eq!((one.memory.rss, one.memory.total_inactive_file, one.memory.total_rss), (1, 2, 0));
        assert_eq!((one.pids.current, one.memory_oom_control.oom_kill), (5, 1));
        let two = v2(&used(Some(told())));
        assert_eq!((two.cpu.usage_usec, two.cpu.nr_throttled, two.cpu.throttled_usec), (30, 2, 9));
        assert_eq!((two.memory.usage, two.memory.max_usage, two.memory.usage_limit), (100, 200, u64::MAX));
        assert_eq!((two.memory.anon, two.memory.inactive_file), (3, 4));
        assert_eq!((two.pids.current, two.memory_events.oom_kill), (5, 1));
    }
}
