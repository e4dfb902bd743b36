//! From what image and engine ask for to what a guest gets. Pure: numbers in, numbers out.
//!
//! | asked for | given |
//! | --- | --- |
//! | `cpu.shares` | weight: a quarter, 1 to 65535 |
//! | `cpu.quota` and `period` | capacity: percent of one core, 0 for no limit; never more than the cpuset's cores |
//! | `cpuset.cpus` | cores: those that exist |
//! | all of these | vCPUs: as many as cores in the cpuset, else as the capacity fills, at most the guest's maximum |
//! | `memory.limit` | memory, rounded up to MiB; the maximum grows with it and never shrinks |
//! | `memory.reservation` | the least memory, never above the memory |
//! | the same in `unified` | the same, converted; it wins |
//!
//! - [`cpuset`]: sets of cores; [`cpu`]: weights and capacities in everybody's units; [`asked`]: the engine's numbers.

use micrun_image_spec::units::Mib;
use serde::{Deserialize, Serialize};

mod asked;
mod cpu;
mod cpuset;

pub use asked::{Asked, AskedError};
pub use cpu::{Capacity, Weight};
pub use cpuset::{CpuSet, InvalidCpuSet};

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
    /// Scheduling weight; `None` for the default, not worth telling a scheduler.
    pub weight: Option<Weight>,
    /// Processor time.
    pub capacity: Capacity,
    /// Memory; `None` for the board's own.
    pub memory: Option<Mib>,
    /// What the engine limits the memory to; `None` where the memory is what the image or the board says.
    pub limit: Option<Mib>,
    /// What of its memory is the guest's even when the node runs short; never more than `memory`.
    pub min_memory: Option<Mib>,
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
    Weight(Weight),
    /// The processor time.
    Capacity(Capacity),
    /// The memory.
    Memory(Mib),
    /// What of it is the guest's even when the node runs short.
    MinMemory(Mib),
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
        let capacity = match asked.capacity() {
            Some(capacity) => capacity,
            None => Capacity::of_percent(wishes.capacity.unwrap_or(0)),
        };
        let capacity = cpus.as_ref().map_or(capacity, |cpus| capacity.within(cpus.len()));
        let wanted = vcpus(wishes, asked, cpus.as_ref(), capacity.percent());
        let max_vcpus =
            before.map(|before| before.max_vcpus).or(wishes.max_vcpus).unwrap_or_else(|| wanted.max(1));
        let vcpus = wanted.clamp(1, max_vcpus.max(1));
        if wishes.pin && cpus.as_ref().is_none_or(|cpus| cpus.len() < vcpus) {
            return Err(ResourceError::Unpinnable { vcpus, cpus });
        }
        let limit = mib(asked.memory)?;
        // A guest whose limit is taken away keeps the memory that it has.
        let memory = limit.or(wishes.memory).or(before.and_then(|before| before.memory));
        let least = mib(asked.reservation)?.or(wishes.min_memory);
        let min_memory = least.map(|least| memory.map_or(least, |memory| least.min(memory)));
        let maxima = [memory, wishes.max_memory, before.and_then(|before| before.max_memory)];
        Ok(Resources {
            vcpus,
            max_vcpus: max_vcpus.max(1),
            cpus,
            pin: wishes.pin,
            weight: asked.weight.or(wishes.weight.map(Weight::of_guest)),
            capacity,
            memory,
            limit,
            min_memory,
            max_memory: maxima.into_iter().flatten().max(),
        })
    }

    /// What has to be done to get from these to others, in an order in which each step is possible. Nothing for
    /// what stays as it is. `there` are the cores of a guest that may run on any.
    pub fn changes_to(&self, new: &Resources, there: &CpuSet) -> Vec<Change> {
        let any = |cpus: &Option<CpuSet>| cpus.clone().unwrap_or_else(|| there.clone());
        let mut changes = Vec::new();
        let mut push = |differs: bool, change: Option<Change>| changes.extend(change.filter(|_| differs));
        // The least memory never exceeds the memory, nor that the most, not even between two steps.
        let min_memory = new.min_memory.map(Change::MinMemory);
        push(self.max_memory != new.max_memory, new.max_memory.map(Change::MaxMemory));
        push(self.min_memory > new.min_memory, min_memory.clone());
        push((self.memory, self.limit) != (new.memory, new.limit), new.memory.map(Change::Memory));
        push(self.min_memory < new.min_memory, min_memory);
        // Before the cores, since pinning places each vCPU.
        push(self.vcpus != new.vcpus, Some(Change::Vcpus(new.vcpus)));
        push(any(&self.cpus) != any(&new.cpus), Some(Change::Cpus(any(&new.cpus))));
        let weight = |resources: &Resources| resources.weight.unwrap_or_default();
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

fn vcpus(wishes: &Wishes, asked: &Asked, cpus: Option<&CpuSet>, capacity: u32) -> u32 {
    let engine_asked = asked.cpus.is_some() || asked.quota.is_some_and(|quota| quota > 0);
    match (wishes.vcpus, cpus) {
        (Some(vcpus), _) if !engine_asked => vcpus,
        (_, Some(cpus)) => cpus.len(),
        (_, None) => capacity.div_ceil(100),
    }
}

/// A limit of the engine's; `None` for none.
fn mib(bytes: Option<i64>) -> Result<Option<Mib>, ResourceError> {
    match bytes.and_then(|bytes| u64::try_from(bytes).ok()).filter(|bytes| *bytes > 0) {
        Some(bytes) => Mib::holding(bytes).map(Some).ok_or(ResourceError::Memory(bytes)),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests;
