//! Every key of `micrun.conf`. Reader, printer, documentation and tests go by this table.

use std::time::Duration;

use super::policy::{toml_list, toml_text};
use super::{LogLevel, NodeConfig};
use micrun_strict_toml::{Unfit, Value, distance};

/// One key.
pub struct Key {
    /// Its full name: the section, a dot, and the key in it.
    pub name: &'static str,
    /// What it says, in a sentence.
    pub about: &'static str,
    /// A value, as it stands in a file.
    pub example: &'static str,
    /// Takes a value.
    pub(super) set: fn(&mut NodeConfig, &Value<'_>) -> Result<(), Unfit>,
    /// The value, as it stands in a file; `None` for a key that is not set.
    pub get: fn(&NodeConfig) -> Option<String>,
}

impl Key {
    /// The section that it stands in.
    pub fn section(&self) -> &'static str {
        self.name.rsplit_once('.').map_or("", |(section, _)| section)
    }

    /// Its name there.
    pub fn leaf(&self) -> &'static str {
        self.name.rsplit_once('.').map_or(self.name, |(_, leaf)| leaf)
    }
}

/// All of them, section by section.
pub const ALL: &[Key] = &[
    Key {
        name: "guest.memory",
        about: "Memory of a guest for which nobody asks for any; else what its board has.",
        example: "\"64M\"",
        set: |config, value| put(&mut config.guest.memory, Some(value.mib()?)),
        get: |config| config.guest.memory.map(|mib| format!("\"{}M\"", mib.0)),
    },
    Key {
        name: "guest.max_memory",
        about: "The most memory that such a guest may ever have.",
        example: "\"128M\"",
        set: |config, value| put(&mut config.guest.max_memory, Some(value.mib()?)),
        get: |config| config.guest.max_memory.map(|mib| format!("\"{}M\"", mib.0)),
    },
    Key {
        name: "guest.max_vcpus",
        about: "The most virtual processors that such a guest may ever have; else as many as at its start.",
        example: "4",
        set: |config, value| {
            put(&mut config.guest.max_vcpus, Some(value.number32(1, 4096, "a number from 1 to 4096")?))
        },
        get: |config| config.guest.max_vcpus.map(|number| number.to_string()),
    },
    Key {
        name: "guest.weight",
        about: "Weight of such a guest against others for processor time, 1 to 65535; else 256.",
        example: "256",
        set: |config, value| {
            put(&mut config.guest.weight, Some(value.number32(1, 65_535, "a number from 1 to 65535")?))
        },
        get: |config| config.guest.weight.map(|number| number.to_string()),
    },
    Key {
        name: "guest.capacity",
        about: "Most processor time of such a guest, percent of one core; 0 for no limit, as without this.",
        example: "150",
        set: |config, value| {
            put(
                &mut config.guest.capacity,
                Some(value.number32(0, 409_600, "percent of one core, such as 150")?),
            )
        },
        get: |config| config.guest.capacity.map(|number| number.to_string()),
    },
    Key {
        name: "console.buffer",
        about: "How much of a guest's output is kept for a reader that does not take it.",
        example: "\"256K\"",
        set: |config, value| {
            let size = value.size(4096, 64 << 20, "a size from \"4K\" to \"64M\"")?;
            // At most 64 MiB.
            put(&mut config.console.buffer, usize::try_from(size).unwrap_or(usize::MAX))
        },
        get: |config| Some(size(config.console.buffer as u64)),
    },
    Key {
        name: "console.ctrl_c",
        about: "Whether Ctrl-C on a terminal stops the guest; else it is a byte like any other.",
        example: "true",
        set: |config, value| put(&mut config.console.ctrl_c, value.flag()?),
        get: |config| Some(config.console.ctrl_c.to_string()),
    },
    Key {
        name: "exec.timeout",
        about: "How long a command in a guest's own shell may take.",
        example: "\"30s\"",
        set: |config, value| {
            let wanted = "a time from \"1s\" to \"1440m\", or seconds";
            let timeout = value.duration(Duration::from_secs(86_400), wanted)?;
            if timeout.is_zero() {
                return Err(value.unfit(wanted));
            }
            put(&mut config.exec.timeout, timeout)
        },
        get: |config| Some(format!("\"{}s\"", config.exec.timeout.as_secs())),
    },
    Key {
        name: "log.level",
        about: "How much shims log: error, warn, info or debug. containerd's own debug switch wins.",
        example: "\"info\"",
        set: |config, value| {
            let wanted = "\"error\", \"warn\", \"info\" or \"debug\"";
            put(&mut config.log.level, value.word(LogLevel::from_word, wanted)?)
        },
        get: |config| Some(toml_text(config.log.level.as_str())),
    },
    Key {
        name: "trace.endpoint",
        about: "The collector that takes spans of the shim's calls (OTLP over HTTP); else OpenTelemetry's environment names it.",
        example: "\"http://127.0.0.1:4318\"",
        set: |config, value| {
            let wanted = "http://HOST:PORT of a collector, without TLS";
            put(&mut config.trace.endpoint, Some(value.word(|text| text.parse().ok(), wanted)?))
        },
        get: |config| config.trace.endpoint.as_ref().map(|endpoint| toml_text(&endpoint.to_string())),
    },
    Key {
        name: "policy.allow.iomem",
        about: "Device memory that guests of Xen may ask for: first page and number of pages, in hex.",
        example: "[\"0x9000,1\"]",
        set: |config, value| {
            let wanted = "a list of first page and number of pages, in hex, such as [\"0x9000,1\"]";
            put(&mut config.policy.iomem, value.list(wanted)?)
        },
        get: |config| Some(list(&config.policy.iomem)),
    },
    Key {
        name: "policy.allow.network",
        about: "Network interfaces that guests may ask for: \"pod\" for their pod's, or those of Xen; a star at the end stands for any rest.",
        example: "[\"pod\", \"bridge=br0\"]",
        set: |config, value| {
            let wanted = "a list of interfaces, such as [\"pod\", \"bridge=br0\"]";
            put(&mut config.policy.network, value.list(wanted)?)
        },
        get: |config| Some(list(&config.policy.network)),
    },
    Key {
        name: "policy.allow.ped_conf",
        about: "Files of images that may be a Jailhouse cell, or a boot image that an annotation names: digests or paths.",
        example: "[\"/cells/*\"]",
        set: |config, value| {
            let wanted = "a list of digests and paths, such as [\"sha256:...\", \"/cells/*\"]";
            put(&mut config.policy.ped_conf, value.list(wanted)?)
        },
        get: |config| Some(list(&config.policy.ped_conf)),
    },
    Key {
        name: "policy.allow.config_path",
        about: "Files of this node that the annotation config_path may name; they take the place of this file.",
        example: "[\"/etc/mica/micrun/pods/*\"]",
        set: |config, value| {
            let wanted = "a list of paths, such as [\"/etc/mica/micrun/pods/*\"]";
            put(&mut config.policy.config_path, value.list(wanted)?)
        },
        get: |config| Some(list(&config.policy.config_path)),
    },
    Key {
        name: "policy.allow.semihosting",
        about: "Boards whose profile may switch semihosting on.",
        example: "[\"my_test_board\"]",
        set: |config, value| {
            put(&mut config.policy.semihosting, value.list("a list of boards, such as [\"my_test_board\"]")?)
        },
        get: |config| Some(list(&config.policy.semihosting)),
    },
    Key {
        name: "policy.allow.exclusive_dom0_cpu",
        about: "Whether guests may ask for cores that Dom0 (or Linux) does not run on.",
        example: "false",
        set: |config, value| put(&mut config.policy.exclusive_dom0_cpu, value.flag()?),
        get: |config| Some(config.policy.exclusive_dom0_cpu.to_string()),
    },
    Key {
        name: "policy.allow.debug",
        about: "Whether guests may ask for a debugger's access.",
        example: "false",
        set: |config, value| put(&mut config.policy.debug, value.flag()?),
        get: |config| Some(config.policy.debug.to_string()),
    },
];

fn put<T>(slot: &mut T, value: T) -> Result<(), Unfit> {
    *slot = value;
    Ok(())
}

fn list<T: ToString>(items: &[T]) -> String {
    toml_list(items.iter().map(ToString::to_string))
}

fn size(bytes: u64) -> String {
    toml_text(&micrun_image_spec::units::ByteSize(bytes).to_string())
}

/// The key of this full name.
pub fn find(name: &str) -> Option<&'static Key> {
    ALL.iter().find(|key| key.name == name)
}

/// Whether keys begin with this name.
pub fn is_section(name: &str) -> bool {
    ALL.iter().any(|key| key.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
}

/// The key or section that was probably meant: at most a third of it is wrong.
pub fn nearest(name: &str) -> Option<&'static str> {
    let leaf_of = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let sections = ["guest", "console", "exec", "log", "trace", "policy", "policy.allow"];
    let names = ALL.iter().map(|key| key.name).chain(sections);
    // The right key in the wrong section is as near as can be.
    let distance = |known: &str| if leaf_of(known) == leaf_of(name) { 1 } else { distance(known, name) };
    let near = names.map(|known| (distance(known), known)).min()?;
    (near.0 * 3 <= near.1.len()).then_some(near.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_found() {
        for (wrong, right) in [
            ("guest.wieght", Some("guest.weight")),
            ("guest.memroy", Some("guest.memory")),
            ("gest", Some("guest")),
            ("weight", Some("guest.weight")),
            ("policy.iomem", Some("policy.allow.iomem")),
            ("consol.buffer", Some("console.buffer")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(wrong), right, "{wrong}");
        }
        assert_eq!(nearest(&"x".repeat(100_000)), None);
    }
}
