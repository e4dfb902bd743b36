//! What the engine asks for, in its own units: the OCI runtime specification's `linux.resources`.

use oci_spec::runtime::LinuxResources;

use super::{CpuSet, InvalidCpuSet};

/// The resources of a container as far as a guest can have them. What is `None` was not asked for, or, in an
/// update, stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// cgroup v1 `cpu.shares`, 2 to 262144.
    pub shares: Option<u64>,
    /// Processor time for each period, microseconds; zero or less for no limit.
    pub quota: Option<i64>,
    /// The period, microseconds.
    pub period: Option<u64>,
    /// The cores to run on.
    pub cpus: Option<CpuSet>,
    /// The memory limit, bytes; zero or less for no limit.
    pub memory: Option<i64>,
}

/// A value of `linux.resources` that cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum AskedError {
    /// The cores.
    #[error("linux.resources.cpu.cpus: {0}")]
    Cpus(#[from] InvalidCpuSet),
    /// A file of cgroup v2.
    #[error("linux.resources.unified: {file} = {value:?}; write {wanted}")]
    Unified {
        /// The file's name.
        file: &'static str,
        /// Its value.
        value: String,
        /// What it should look like.
        wanted: &'static str,
    },
}

impl Asked {
    /// Reads them off an OCI configuration. Values in `unified` (cgroup v2) win over the older ones.
    ///
    /// # Errors
    ///
    /// A value that cannot be understood. What a guest cannot have (swap, pids, devices...) is passed over.
    pub fn from_oci(resources: &LinuxResources) -> Result<Asked, AskedError> {
        let mut asked = Asked::default();
        if let Some(cpu) = resources.cpu() {
            asked.shares = cpu.shares().filter(|shares| *shares > 0);
            asked.quota = cpu.quota();
            asked.period = cpu.period().filter(|period| *period > 0);
            asked.cpus = cores(cpu.cpus().as_deref())?;
        }
        if let Some(memory) = resources.memory() {
            asked.memory = memory.limit();
        }
        let unified = resources.unified().as_ref();
        let file = |name: &str| unified.and_then(|files| files.get(name)).map(|value| value.trim());
        if let Some(weight) = file("cpu.weight") {
            asked.shares = Some(shares_of_weight(weight)?);
        }
        if let Some(max) = file("cpu.max") {
            (asked.quota, asked.period) = quota_of_max(max)?;
        }
        if let Some(max) = file("memory.max") {
            asked.memory = Some(memory_of_max(max)?);
        }
        if let Some(cpus) = cores(file("cpuset.cpus"))? {
            asked.cpus = Some(cpus);
        }
        Ok(asked)
    }

    /// These, with what an update names in place of what was asked before.
    pub fn updated(self, update: Asked) -> Asked {
        Asked {
            shares: update.shares.or(self.shares),
            quota: update.quota.or(self.quota),
            period: update.period.or(self.period),
            cpus: update.cpus.or(self.cpus),
            memory: update.memory.or(self.memory),
        }
    }
}

fn cores(text: Option<&str>) -> Result<Option<CpuSet>, InvalidCpuSet> {
    text.filter(|text| !text.trim().is_empty()).map(str::parse).transpose()
}

/// The inverse of the conversion in systemd and crun: weights 1 to 10000 over shares 2 to 262144.
fn shares_of_weight(text: &str) -> Result<u64, AskedError> {
    match text.parse::<u64>() {
        Ok(weight @ 1..=10_000) => Ok(2 + (weight - 1) * 262_142 / 9_999),
        _ => Err(AskedError::Unified {
            file: "cpu.weight",
            value: text.to_owned(),
            wanted: "a number from 1 to 10000",
        }),
    }
}

/// `max`, `QUOTA`, `max PERIOD` or `QUOTA PERIOD` (Linux, admin-guide/cgroup-v2).
fn quota_of_max(text: &str) -> Result<(Option<i64>, Option<u64>), AskedError> {
    let wrong = || AskedError::Unified {
        file: "cpu.max",
        value: text.to_owned(),
        wanted: "`max` or a quota, and a period, in microseconds: 50000 100000",
    };
    let mut words = text.split_ascii_whitespace();
    let quota = match words.next().ok_or_else(wrong)? {
        "max" => 0,
        number => number.parse().ok().filter(|quota| *quota > 0).ok_or_else(wrong)?,
    };
    let period = match words.next() {
        Some(number) => number.parse().ok().filter(|period| *period > 0).ok_or_else(wrong)?,
        None => super::DEFAULT_PERIOD,
    };
    if words.next().is_some() {
        return Err(wrong());
    }
    Ok((Some(quota), Some(period)))
}

fn memory_of_max(text: &str) -> Result<i64, AskedError> {
    match text {
        "max" => Ok(0),
        number => number.parse().ok().filter(|bytes| *bytes > 0).ok_or_else(|| AskedError::Unified {
            file: "memory.max",
            value: text.to_owned(),
            wanted: "`max` or a number of bytes",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: serde_json::Value) -> Result<Asked, AskedError> {
        Asked::from_oci(&serde_json::from_value(json).unwrap())
    }

    #[test]
    fn both_generations_of_cgroups_are_read() {
        let v1 = read(serde_json::json!({
            "cpu": { "shares": 1024, "quota": 50_000, "period": 100_000, "cpus": "1-2" },
            "memory": { "limit": 67_108_864 },
        }));
        assert_eq!(
            v1.unwrap(),
            Asked {
                shares: Some(1024),
                quota: Some(50_000),
                period: Some(100_000),
                cpus: Some("1-2".parse().unwrap()),
                memory: Some(64 << 20),
            }
        );
        let v2 = read(serde_json::json!({ "unified": {
            "cpu.weight": "39", "cpu.max": "max 50000", "memory.max": "67108864", "cpuset.cpus": "3", "pids.max": "5",
        } }))
        .unwrap();
        assert_eq!((v2.shares, v2.quota, v2.period), (Some(998), Some(0), Some(50_000)));
        assert_eq!((v2.memory, v2.cpus), (Some(64 << 20), Some("3".parse().unwrap())));
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        for (file, value) in
            [("cpu.weight", "0"), ("cpu.max", ""), ("cpu.max", "1 2 3"), ("memory.max", "1M")]
        {
            let error = read(serde_json::json!({ "unified": { file: value } })).unwrap_err().to_string();
            assert!(error.contains(file), "{error}");
        }
        assert!(read(serde_json::json!({ "cpu": { "cpus": "x" } })).is_err());
    }

    #[test]
    fn an_update_changes_what_it_names() {
        let before = Asked { shares: Some(2), memory: Some(1), ..Asked::default() };
        let after = before.updated(Asked { memory: Some(2), ..Asked::default() });
        assert_eq!(after, Asked { shares: Some(2), memory: Some(2), ..Asked::default() });
    }
}
