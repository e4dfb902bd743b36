//! What became of a container's resources: which of them the engine decided, and what follows from others. The rules are
//! those of [`Resources::plan`]; a test changes what has lost and sees that nothing else is given.

use super::explanation::Explanation;
use super::origin::Origin;
use crate::resources::{Asked, Resources};

/// Notes what a guest is given.
pub fn settle(told: &mut Explanation, asked: &Asked, given: &Resources) {
    let limits = |bytes: Option<i64>| bytes.is_some_and(|bytes| bytes > 0);
    let spec = |is_asked: bool, field: &str| is_asked.then(|| Origin::Spec { field: field.to_owned() });
    let follows = |from: &str| Some(Origin::Follows { from: from.to_owned() });
    let or = |value: Option<String>, word: &str| value.unwrap_or_else(|| word.to_owned());

    let cpus = given.cpus.as_ref().map(ToString::to_string);
    told.settle("cpus", or(cpus, "any"), spec(asked.cpus.is_some(), "cpuset of linux.resources"));
    told.settle(
        "capacity",
        given.capacity.percent().to_string(),
        spec(asked.quota.is_some(), "CPU quota of linux.resources"),
    );
    let weight = given.weight.map(|weight| weight.guest().to_string());
    told.settle("weight", or(weight, "256"), spec(asked.weight.is_some(), "CPU shares of linux.resources"));

    let engine_decides = asked.cpus.is_some() || limits(asked.quota);
    let vcpus = match told.get("vcpus") {
        Some(_) if !engine_decides => None,
        _ if given.cpus.is_some() => follows("cpus"),
        _ if given.capacity.is_limited() => follows("capacity"),
        _ => None,
    };
    told.settle("vcpus", given.vcpus.to_string(), vcpus);
    let max_vcpus = if told.get("max_vcpus").is_none() { follows("vcpus") } else { None };
    told.settle("max_vcpus", given.max_vcpus.to_string(), max_vcpus);

    let memory = given.memory.map(|memory| memory.to_string());
    let limit = spec(limits(asked.memory), "memory limit of linux.resources");
    told.settle("memory", or(memory, "as the board or the hypervisor has it"), limit);
    if let Some(min_memory) = given.min_memory {
        let reserved = spec(limits(asked.reservation), "memory reservation of linux.resources");
        told.settle("min_memory", min_memory.to_string(), reserved);
    }
    if let Some(max_memory) = given.max_memory {
        let grown = told.get("max_memory").is_none_or(|wish| wish.value != max_memory.to_string());
        told.settle("max_memory", max_memory.to_string(), if grown { follows("memory") } else { None });
    }
}
