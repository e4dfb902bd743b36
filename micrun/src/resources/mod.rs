//! From what image and engine ask for to what a guest gets. Pure: numbers in, numbers out.
//!
//! | asked for | given |
//! | --- | --- |
//! | `cpu.shares` | weight: a quarter, 1 to 65535 |
//! | `cpu.quota` and `period` | capacity: percent of one core, 0 for no limit; never more than the cpuset's cores |
//! | `cpuset.cpus` | cores: those that exist |
//! | all of these | vCPUs: as many as cores in the cpuset, else as the capacity fills, at most the guest's maximum |
//! | `memory.limit` | memory, rounded up to MiB; the maximum grows with it and never shrinks |
//!
//! - [`cpuset`]: sets of cores; [`asked`]: the engine's numbers.

use micrun_image_spec::units::Mib;
use serde::{Deserialize, Serialize};

mod asked;
mod cpuset;

pub use asked::{Asked, AskedError};
pub use cpuset::{CpuSet, InvalidCpuSet};

/// The scheduler's period where none is given, microseconds (Linux, admin-guide/cgroup-v2).
const DEFAULT_PERIOD: u64 = 100_000;

/// The weight of a guest for which none was asked (Xen's credit2, and micad's).
pub const DEFAULT_WEIGHT: u32 = 256;

/// What an image asks for in client.conf and annotations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// The cores to run on.
    pub cpus: Option<CpuSet>,
    /// Number of virtual processors.
    pub vcpus: Option<u32>,
    /// The most that the guest may ever have.
    pub max_vcpus: Option<u32>,
    /// vCPU i runs on core i of the cpuset, and on no other.
    pub pin: bool,
    /// Scheduling weight, 1 to 65535.
    pub weight: Option<u32>,
    /// Percent of one core; 0 for no limit.
    pub capacity: Option<u32>,
    /// Memory.
    pub memory: Option<Mib>,
    /// The most memory that the guest may ever have.
    pub max_memory: Option<Mib>,
    /// What of its memory is the guest's even when the node runs short.
    pub min_memory: Option<Mib>,
}

/// What a guest gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Number of virtual processors, at least 1.
    pub vcpus: u32,
    /// The most that the guest may ever have.
    pub max_vcpus: u32,
    /// The cores that it runs on; `None` for any.
    pub cpus: Option<CpuSet>,
    /// vCPU i runs on core i of `cpus`, and on no other.
    pub pin: bool,
    /// Scheduling weight, 1 to 65535; `None` for [`DEFAULT_WEIGHT`], not worth telling a scheduler.
    pub weight: Option<u32>,
    /// Percent of one core; 0 for no limit.
    pub capacity: u32,
    /// Memory; `None` for the board's own.
    pub memory: Option<Mib>,
    /// The most memory that the guest may ever have, never less than `memory`.
    pub max_memory: Option<Mib>,
}

/// One change of a running guest's resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The number of virtual processors.
    Vcpus(u32),
    /// The cores to run on.
    Cpus(CpuSet),
    /// The scheduling weight.
    Weight(u32),
    /// Percent of one core; 0 for no limit.
    Capacity(u32),
    /// The memory.
    Memory(Mib),
    /// The most memory that the guest may ever have.
    MaxMemory(Mib),
}

/// Why a guest cannot get what is asked for.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ResourceError {
    /// None of the cores exists.
    #[error("of the cores {asked} none exists: guests of this node can have {there}; correct the cpuset")]
    NoCore {
        /// What was asked for.
        asked: CpuSet,
        /// What there is.
        there: CpuSet,
    },
    /// Pinning needs as many cores as there are vCPUs.
    #[error("{vcpus} vCPUs cannot be pinned one to one to {}; ask for as many cores", .cpus.as_ref().map_or_else(|| "no cpuset".to_owned(), |cpus| format!("the cores {cpus}")))]
    Unpinnable {
        /// The vCPUs.
        vcpus: u32,
        /// The cores.
        cpus: Option<CpuSet>,
    },
    /// More memory than numbers hold.
    #[error("a memory limit of {0} bytes is beyond every machine")]
    Memory(u64),
}

impl Resources {
    /// What a guest gets on a node whose guests can have the cores `there`. `before` is what it has.
    ///
    /// # Errors
    ///
    /// What cannot be given, with what to change.
    pub fn plan(
        wishes: &Wishes,
        asked: &Asked,
        there: &CpuSet,
        before: Option<&Resources>,
    ) -> Result<Resources, ResourceError> {
        let cpus = match asked.cpus.as_ref().or(wishes.cpus.as_ref()) {
            Some(wanted) => Some(existing(wanted, there)?),
            None => None,
        };
        let capacity = match capacity(asked) {
            Some(percent) => percent,
            None => wishes.capacity.unwrap_or(0),
        };
        let capacity = match &cpus {
            Some(cpus) if capacity > 0 => capacity.min(cpus.len() * 100),
            _ => capacity,
        };
        let wanted = vcpus(wishes, asked, cpus.as_ref(), capacity);
        let max_vcpus =
            before.map(|before| before.max_vcpus).or(wishes.max_vcpus).unwrap_or_else(|| wanted.max(1));
        let vcpus = wanted.clamp(1, max_vcpus.max(1));
        if wishes.pin && cpus.as_ref().is_none_or(|cpus| cpus.len() < vcpus) {
            return Err(ResourceError::Unpinnable { vcpus, cpus });
        }
        let memory = memory(wishes, asked)?;
        let maxima = [memory, wishes.max_memory, before.and_then(|before| before.max_memory)];
        Ok(Resources {
            vcpus,
            max_vcpus: max_vcpus.max(1),
            cpus,
            pin: wishes.pin,
            weight: asked.shares.map(weight).or(wishes.weight),
            capacity,
            memory,
            max_memory: maxima.into_iter().flatten().max(),
        })
    }

    /// What has to be done to get from these to others, in an order in which each step is possible. Nothing for
    /// what stays as it is. `there` are the cores of a guest that may run on any.
    pub fn changes_to(&self, new: &Resources, there: &CpuSet) -> Vec<Change> {
        let any = |cpus: &Option<CpuSet>| cpus.clone().unwrap_or_else(|| there.clone());
        let mut changes = Vec::new();
        let mut push = |differs: bool, change: Option<Change>| changes.extend(change.filter(|_| differs));
        // Before the memory, which may not exceed it.
        push(self.max_memory != new.max_memory, new.max_memory.map(Change::MaxMemory));
        push(self.memory != new.memory, new.memory.map(Change::Memory));
        // Before the cores, since pinning places each vCPU.
        push(self.vcpus != new.vcpus, Some(Change::Vcpus(new.vcpus)));
        push(any(&self.cpus) != any(&new.cpus), Some(Change::Cpus(any(&new.cpus))));
        let weight = |resources: &Resources| resources.weight.unwrap_or(DEFAULT_WEIGHT);
        push(weight(self) != weight(new), Some(Change::Weight(weight(new))));
        push(self.capacity != new.capacity, Some(Change::Capacity(new.capacity)));
        changes
    }
}

fn existing(wanted: &CpuSet, there: &CpuSet) -> Result<CpuSet, ResourceError> {
    let cpus = wanted.within(there);
    if cpus.is_empty() {
        return Err(ResourceError::NoCore { asked: wanted.clone(), there: there.clone() });
    }
    let unknown = wanted.without(there);
    if !unknown.is_empty() {
        tracing::warn!(%unknown, %there, "cores that this node's guests cannot have are left out");
    }
    Ok(cpus)
}

/// Percent of one core, rounded up so that a small limit does not become none; `None` where nobody asked.
fn capacity(asked: &Asked) -> Option<u32> {
    let quota = u64::try_from(asked.quota?).unwrap_or(0);
    let period = asked.period.unwrap_or(DEFAULT_PERIOD).max(1);
    Some(u32::try_from(quota.saturating_mul(100).div_ceil(period)).unwrap_or(u32::MAX))
}

fn vcpus(wishes: &Wishes, asked: &Asked, cpus: Option<&CpuSet>, capacity: u32) -> u32 {
    let engine_asked = asked.cpus.is_some() || asked.quota.is_some_and(|quota| quota > 0);
    match (wishes.vcpus, cpus) {
        (Some(vcpus), _) if !engine_asked => vcpus,
        (_, Some(cpus)) => cpus.len(),
        (_, None) => capacity.div_ceil(100),
    }
}

fn weight(shares: u64) -> u32 {
    // At most 65535.
    u32::try_from((shares / 4).clamp(1, 65_535)).unwrap_or(65_535)
}

fn memory(wishes: &Wishes, asked: &Asked) -> Result<Option<Mib>, ResourceError> {
    match asked.memory.and_then(|bytes| u64::try_from(bytes).ok()).filter(|bytes| *bytes > 0) {
        Some(bytes) => Mib::holding(bytes).map(Some).ok_or(ResourceError::Memory(bytes)),
        None => Ok(wishes.memory),
    }
}

#[cfg(test)]
mod tests;
