//! What a guest has used, in the message that containerd reads on this host.

use containerd_shim::protos::cgroups::metrics as v1;
use containerd_shim::protos::cgroups_v2::metrics as v2;
use containerd_shim::protos::protobuf::well_known_types::any::Any;
use containerd_shim::protos::protobuf::{self, Message, MessageField};
use rustix::fs::statfs;

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

fn v1(usage: &Usage) -> v1::Metrics {
    let cpu = v1::CPUUsage {
        total: nanoseconds(usage.user + usage.system),
        user: nanoseconds(usage.user),
        kernel: nanoseconds(usage.system),
        ..Default::default()
    };
    let limit = usage.memory_limit.unwrap_or_default();
    let memory = v1::MemoryEntry { usage: usage.memory, limit, ..Default::default() };
    v1::Metrics {
        cpu: MessageField::some(v1::CPUStat { usage: MessageField::some(cpu), ..Default::default() }),
        memory: MessageField::some(v1::MemoryStat {
            rss: usage.memory,
            usage: MessageField::some(memory),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn v2(usage: &Usage) -> v2::Metrics {
    let cpu = v2::CPUStat {
        usage_usec: nanoseconds(usage.user + usage.system) / 1000,
        user_usec: nanoseconds(usage.user) / 1000,
        system_usec: nanoseconds(usage.system) / 1000,
        ..Default::default()
    };
    let usage_limit = usage.memory_limit.unwrap_or_default();
    let memory = v2::MemoryStat { usage: usage.memory, usage_limit, ..Default::default() };
    v2::Metrics { cpu: MessageField::some(cpu), memory: MessageField::some(memory), ..Default::default() }
}
