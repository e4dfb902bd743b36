//! The OCI configuration of a guest: what a shim reads of it, and what containerd itself wants to find.

use serde_json::{Value, json};

use crate::guests::model::Generation;

/// Microseconds: the kernel's own period.
const PERIOD: u64 = 100_000;

/// The configuration as JSON. The process stands for nothing: firmware has none.
pub fn of(namespace: &str, name: &str, generation: &Generation) -> Value {
    let resources = &generation.resources;
    let mut cpu = json!({});
    if let Some(capacity) = resources.capacity {
        cpu["period"] = PERIOD.into();
        cpu["quota"] = (u64::from(capacity) * PERIOD / 100).into();
    }
    if let Some(shares) = resources.shares {
        cpu["shares"] = shares.into();
    }
    if let Some(cores) = &resources.cores {
        cpu["cpus"] = cores.as_str().into();
    }
    let mut limits = json!({ "cpu": cpu });
    if let Some(mib) = resources.memory_mib {
        limits["memory"] = json!({ "limit": u64::from(mib) << 20 });
    }
    json!({
        "ociVersion": "1.0.2",
        "process": { "cwd": "/", "args": [name], "user": { "uid": 0, "gid": 0 } },
        "root": { "path": "rootfs" },
        "annotations": generation.annotations,
        "linux": { "cgroupsPath": format!("/{namespace}/{name}"), "resources": limits },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guests::model::generation::Resources;
    use micrun_image_spec::digest::Sha256Digest;

    #[test]
    fn limits_are_in_the_units_of_engines() {
        let resources = Resources {
            memory_mib: Some(64),
            capacity: Some(150),
            shares: Some(512),
            cores: Some("1-2".to_owned()),
        };
        let generation = Generation {
            image: String::new(),
            digest: Sha256Digest::of(b""),
            log: String::new(),
            resources,
            annotations: [("a".to_owned(), "b".to_owned())].into(),
        };
        let spec = of("default", "motor", &generation);
        assert_eq!(spec["linux"]["cgroupsPath"], "/default/motor");
        assert_eq!(spec["linux"]["resources"]["memory"]["limit"], 64 << 20);
        assert_eq!(
            spec["linux"]["resources"]["cpu"],
            json!({ "period": 100_000, "quota": 150_000, "shares": 512, "cpus": "1-2" })
        );
        assert_eq!(spec["annotations"]["a"], "b");
    }
}
