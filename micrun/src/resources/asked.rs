//! What the engine asks for, in its own units: the OCI runtime specification's `linux.resources`.

use oci_spec::runtime::LinuxResources;

use super::{Capacity, CpuSet, InvalidCpuSet, Weight};

/// The resources of a container as far as a guest can have them. What is `None` was not asked for, or, in an
/// update, stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Weight against others for processor time.
    pub weight: Option<Weight>,
    /// Processor time for each period, microseconds; zero or less for no limit.
    pub quota: Option<i64>,
    /// The period, microseconds.
    pub period: Option<u64>,
    /// The cores to run on.
    pub cpus: Option<CpuSet>,
    /// The memory limit, bytes; zero or less for no limit.
    pub memory: Option<i64>,
    /// What of it the container keeps when the node runs short, bytes; zero or less for nothing.
    pub reservation: Option<i64>,
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
            asked.weight = cpu.shares().filter(|shares| *shares > 0).map(Weight::of_shares);
            asked.quota = cpu.quota();
            asked.period = cpu.period().filter(|period| *period > 0);
            asked.cpus = cores(cpu.cpus().as_deref())?;
        }
        if let Some(memory) = resources.memory() {
            asked.memory = memory.limit();
            asked.reservation = memory.reservation();
        }
        let unified = resources.unified().as_ref();
        let file = |name: &str| unified.and_then(|files| files.get(name)).map(|value| value.trim());
        if let Some(weight) = file("cpu.weight") {
            asked.weight = Some(weight_of(weight)?);
        }
        if let Some(max) = file("cpu.max") {
            (asked.quota, asked.period) = quota_of_max(max)?;
        }
        if let Some(max) = file("memory.max") {
            asked.memory = Some(bytes("memory.max", max)?);
        }
        // Both keep memory for the container; the first gives way when nothing else is left.
        for name in ["memory.low", "memory.min"] {
            if let Some(least) = file(name) {
                asked.reservation = asked.reservation.max(Some(bytes(name, least)?));
            }
        }
        if let Some(cpus) = cores(file("cpuset.cpus"))? {
            asked.cpus = Some(cpus);
        }
        Ok(asked)
    }

    /// These, with what an update names in place of what was asked before.
    pub fn updated(self, update: Asked) -> Asked {
        Asked {
            weight: update.weight.or(self.weight),
            quota: update.quota.or(self.quota),
            period: update.period.or(self.period),
            cpus: update.cpus.or(self.cpus),
            memory: update.memory.or(self.memory),
            reservation: update.reservation.or(self.reservation),
        }
    }

    /// The processor time that is asked for; `None` where nobody asked.
    pub fn capacity(&self) -> Option<Capacity> {
        // Below zero is no limit, as zero is.
        let quota = u64::try_from(self.quota?).unwrap_or(0);
        Some(Capacity::of_quota(quota, self.period))
    }
}

fn cores(text: Option<&str>) -> Result<Option<CpuSet>, InvalidCpuSet> {
    text.filter(|text| !text.trim().is_empty()).map(str::parse).transpose()
}

fn weight_of(text: &str) -> Result<Weight, AskedError> {
    text.parse().ok().and_then(Weight::of_v2).ok_or_else(|| AskedError::Unified {
        file: "cpu.weight",
        value: text.to_owned(),
        wanted: "a number from 1 to 10000",
    })
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
        Some(number) => Some(number.parse().ok().filter(|period| *period > 0).ok_or_else(wrong)?),
        None => None,
    };
    if words.next().is_some() {
        return Err(wrong());
    }
    Ok((Some(quota), period))
}

/// `max` (0 here, no limit) or a number of bytes.
fn bytes(file: &'static str, text: &str) -> Result<i64, AskedError> {
    match text {
        "max" => Ok(0),
        number => number.parse().ok().filter(|bytes| *bytes >= 0).ok_or_else(|| AskedError::Unified {
            file,
            value: text.to_owned(),
            wanted: "`max` or a number of bytes",
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(json: Value) -> Result<Asked, AskedError> {
        Asked::from_oci(&serde_json::from_value(json).unwrap())
    }

    fn cores(text: &str) -> Option<CpuSet> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn each_number_of_an_engine_is_read() {
        let nothing = Asked::default;
        let table = [
            (json!({}), nothing()),
            (json!({ "cpu": {}, "memory": {}, "unified": {} }), nothing()),
            (
                json!({ "cpu": { "shares": 1024 } }),
                Asked { weight: Some(Weight::of_shares(1024)), ..nothing() },
            ),
            (json!({ "cpu": { "shares": 0 } }), nothing()),
            (json!({ "cpu": { "quota": -1, "period": 0 } }), Asked { quota: Some(-1), ..nothing() }),
            (
                json!({ "cpu": { "quota": 50_000, "period": 10_000 } }),
                Asked { quota: Some(50_000), period: Some(10_000), ..nothing() },
            ),
            (json!({ "cpu": { "cpus": "1-2" } }), Asked { cpus: cores("1-2"), ..nothing() }),
            (json!({ "cpu": { "cpus": "" } }), nothing()),
            (json!({ "memory": { "limit": -1 } }), Asked { memory: Some(-1), ..nothing() }),
            (
                json!({ "memory": { "limit": 67_108_864, "reservation": 1 } }),
                Asked { memory: Some(64 << 20), reservation: Some(1), ..nothing() },
            ),
            // What no guest can have.
            (json!({ "memory": { "swap": 1 }, "pids": { "limit": 5 }, "hugepageLimits": [] }), nothing()),
        ];
        for (json, expected) in table {
            assert_eq!(read(json.clone()).unwrap(), expected, "{json}");
        }
    }

    #[test]
    fn the_files_of_the_unified_hierarchy_win() {
        let nothing = Asked::default;
        let weight = |weight| Asked { weight: Weight::of_v2(weight), ..nothing() };
        let max = |quota, period| Asked { quota: Some(quota), period, ..nothing() };
        let least = |bytes| Asked { reservation: Some(bytes), ..nothing() };
        let table = [
            ("cpu.weight", "39", weight(39)),
            ("cpu.weight", "10000\n", weight(10_000)),
            ("cpu.max", "max", max(0, None)),
            ("cpu.max", "max 50000", max(0, Some(50_000))),
            ("cpu.max", "20000", max(20_000, None)),
            ("cpu.max", "20000 10000", max(20_000, Some(10_000))),
            ("memory.max", "max", Asked { memory: Some(0), ..nothing() }),
            ("memory.max", "67108864", Asked { memory: Some(64 << 20), ..nothing() }),
            ("memory.low", "5", least(5)),
            ("memory.min", "6", least(6)),
            ("cpuset.cpus", "3", Asked { cpus: cores("3"), ..nothing() }),
            ("pids.max", "5", nothing()),
        ];
        for (file, value, expected) in table {
            assert_eq!(read(json!({ "unified": { file: value } })).unwrap(), expected, "{file} = {value}");
        }
        let both = json!({
            "cpu": { "shares": 2, "quota": 7, "cpus": "0" },
            "memory": { "limit": 7, "reservation": 7 },
            "unified": { "cpu.weight": "100", "cpu.max": "8 9", "cpuset.cpus": "1", "memory.max": "8" },
        });
        let expected = Asked {
            weight: Weight::of_v2(100),
            quota: Some(8),
            period: Some(9),
            cpus: cores("1"),
            memory: Some(8),
            reservation: Some(7),
        };
        assert_eq!(read(both).unwrap(), expected);
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        for (file, value) in [
            ("cpu.weight", "0"),
            ("cpu.weight", "10001"),
            ("cpu.max", ""),
            ("cpu.max", "0"),
            ("cpu.max", "1 2 3"),
            ("memory.max", "1M"),
            ("memory.max", "-1"),
            ("memory.low", "x"),
        ] {
            let error = read(json!({ "unified": { file: value } })).unwrap_err().to_string();
            assert!(error.contains(file), "{error}");
        }
        assert!(read(json!({ "cpu": { "cpus": "x" } })).is_err());
    }

    #[test]
    fn an_update_changes_what_it_names() {
        let before = Asked { weight: Some(Weight::of_shares(2)), memory: Some(1), ..Asked::default() };
        let after = before.clone().updated(Asked { memory: Some(2), quota: Some(5), ..Asked::default() });
        assert_eq!(after, Asked { memory: Some(2), quota: Some(5), ..before });
    }
}
