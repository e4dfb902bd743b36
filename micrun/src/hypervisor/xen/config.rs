//! The configuration of a domain (xl.cfg(5)), generated.
//!
//! What comes from images and engines arrives here as numbers and checked names; the one free text, the path
//! of the boot image, is refused unless it can be quoted without an escape. So nobody can add a line.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use micrun_image_spec::units::Mib;

use super::{DomainRef, vif};
use crate::config::node::IoMem;
use crate::network::Mac;
use crate::resources::CpuSet;

/// A domain to be created.
#[derive(Clone, Debug)]
pub struct DomainConfig {
    /// Its name, and the uuid that we choose for it.
    pub domain: DomainRef,
    /// The boot image: raw bytes with the arm64 Image header.
    pub kernel: PathBuf,
    /// Memory. Xen on arm64 cannot create a domain with less than it may have at most: that is raised
    /// afterwards ([`Xen::set_max_memory`](super::Xen::set_max_memory)).
    pub memory: Mib,
    /// Virtual CPUs that are on from the beginning.
    pub vcpus: u32,
    /// Virtual CPUs that it may ever have.
    pub max_vcpus: u32,
    /// Where they run.
    pub affinity: Affinity,
    /// The scheduler's weight, 1 to 65535; `None` for Xen's own.
    pub weight: Option<u32>,
    /// Most processor time, percent of one core; 0 for no limit.
    pub cap: u32,
    /// Whether the domain gets an emulated serial port (a PL011 at 0x22000000) beside the console of Xen.
    pub vuart: bool,
    /// Pages of the machine's memory that it gets.
    pub iomem: Vec<IoMem>,
    /// The domain's first network interface has this address, and nobody but the shim connects it: see [`vif`].
    pub pod_mac: Option<Mac>,
    /// A network interface, as xl-network-configuration(5) has it.
    pub network: Option<String>,
}

/// On which cores virtual CPUs run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Affinity {
    /// Wherever the scheduler likes.
    Any,
    /// All of them on these cores.
    Within(CpuSet),
    /// Virtual CPU i on the i-th core.
    Each(Vec<u32>),
}

/// Why no configuration can be written.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} cannot be written into a domain's configuration; use plain characters without quotes")]
pub struct ConfigError(PathBuf);

impl DomainConfig {
    /// The file's text.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for a path with characters that mean something to `xl`.
    pub fn to_text(&self) -> Result<String, ConfigError> {
        let mut text = String::new();
        let mut set = |key: &str, value: &dyn std::fmt::Display| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{key} = {value}");
        };
        set("name", &format_args!("\"{}\"", self.domain.name));
        set("uuid", &format_args!("\"{}\"", self.domain.uuid));
        set("type", &"\"pvh\"");
        set("kernel", &format_args!("\"{}\"", quotable(&self.kernel)?));
        set("memory", &self.memory.0);
        set("vcpus", &self.vcpus);
        set("maxvcpus", &self.max_vcpus.max(self.vcpus));
        match &self.affinity {
            Affinity::Any => {}
            Affinity::Within(cores) => set("cpus", &format_args!("\"{cores}\"")),
            Affinity::Each(cores) => {
                let cores: Vec<String> = cores.iter().map(|core| format!("\"{core}\"")).collect();
                set("cpus", &format_args!("[{}]", cores.join(", ")));
            }
        }
        if let Some(weight) = self.weight {
            set("cpu_weight", &weight);
        }
        if self.cap > 0 {
            set("cap", &self.cap);
        }
        if self.vuart {
            set("vuart", &"\"sbsa_uart\"");
        }
        if !self.iomem.is_empty() {
            let pages: Vec<String> = self.iomem.iter().map(|pages| format!("\"{pages}\"")).collect();
            set("iomem", &format_args!("[{}]", pages.join(", ")));
        }
        let interfaces = self.interfaces()?;
        if !interfaces.is_empty() {
            set("vif", &format_args!("[{}]", interfaces.join(", ")));
        }
        // What micad gives its guests. ACPI tables would be made for an operating system that nobody runs.
        set("gic_version", &"\"v3\"");
        set("acpi", &0);
        // A domain that ended stays until its shim has read why, and its last output.
        for action in ["on_poweroff", "on_reboot", "on_crash", "on_watchdog"] {
            set(action, &"\"preserve\"");
        }
        Ok(text)
    }

    /// The pod's comes first: its number is known then.
    fn interfaces(&self) -> Result<Vec<String>, ConfigError> {
        let pod = self.pod_mac.map(|mac| format!("\"mac={mac},script={}\"", vif::SCRIPT));
        let mut interfaces = Vec::from_iter(pod);
        if let Some(network) = &self.network {
            interfaces.push(format!("\"{}\"", quotable(Path::new(network))?));
        }
        Ok(interfaces)
    }
}

fn quotable(path: &Path) -> Result<&str, ConfigError> {
    let plain = |b: u8| b.is_ascii_graphic() && !b"\"'\\#$`;".contains(&b);
    let text = path.to_str().filter(|text| text.bytes().all(plain));
    text.ok_or_else(|| ConfigError(path.to_owned()))
}

/// A limit on processor time, percent of one core, as the scheduler takes it: no more than all of a domain's virtual CPUs
/// can use.
pub fn cap(capacity: u32, max_vcpus: u32) -> u32 {
    capacity.min(max_vcpus.saturating_mul(100))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::hypervisor::xen::DomainName;

    fn config(kernel: &str) -> DomainConfig {
        DomainConfig {
            domain: DomainRef {
                name: DomainName::new("z1-0123456789abcdef").unwrap(),
                uuid: "12345678-1234-4234-8234-123456789abc".parse().unwrap(),
            },
            kernel: kernel.into(),
            memory: Mib(32),
            vcpus: 1,
            max_vcpus: 2,
            affinity: Affinity::Any,
            weight: None,
            cap: 0,
            vuart: false,
            iomem: Vec::new(),
            pod_mac: None,
            network: None,
        }
    }

    /// Reads the text back: every line is a key that is meant to be there, once, and one value.
    fn read_back(text: &str) -> BTreeMap<&str, &str> {
        const KEYS: [&str; 18] = [
            "name",
            "uuid",
            "type",
            "kernel",
            "memory",
            "vcpus",
            "maxvcpus",
            "cpus",
            "cpu_weight",
            "cap",
            "vuart",
            "gic_version",
            "acpi",
            "on_poweroff",
            "on_reboot",
            "on_crash",
            "iomem",
            "vif",
        ];
        let mut read = BTreeMap::new();
        for line in text.lines() {
            let (key, value) = line.split_once(" = ").unwrap();
            assert!(KEYS.contains(&key) || key == "on_watchdog", "{key}");
            let number = value.bytes().all(|b| b.is_ascii_digit());
            let list = value.trim_start_matches('[').trim_end_matches(']');
            let strings = list.split(", ").all(|part| {
                let inner = part.strip_prefix('"').and_then(|part| part.strip_suffix('"'));
                inner.is_some_and(|inner| !inner.contains(['"', '\'', '\\']))
            });
            assert!(number || strings, "{line}");
            assert!(read.insert(key, value).is_none(), "{key} twice");
        }
        read
    }

    #[test]
    fn a_small_guest() {
        let text = config("/run/micrun/default/z1/image.bin").to_text().unwrap();
        let read = read_back(&text);
        assert_eq!(read["name"], "\"z1-0123456789abcdef\"");
        assert_eq!(read["kernel"], "\"/run/micrun/default/z1/image.bin\"");
        assert_eq!((read["memory"], read["vcpus"], read["maxvcpus"]), ("32", "1", "2"));
        for absent in ["cpus", "cpu_weight", "cap", "vuart"] {
            assert!(!read.contains_key(absent), "{absent}");
        }
    }

    #[test]
    fn affinity_as_xl_reads_it() {
        let cpus = |affinity| {
            let text = DomainConfig { affinity, ..config("/k") }.to_text().unwrap();
            read_back(&text)["cpus"].to_owned()
        };
        assert_eq!(cpus(Affinity::Within("3,0-1".parse().unwrap())), "\"0-1,3\"");
        assert_eq!(cpus(Affinity::Each(vec![2, 3])), r#"["2", "3"]"#);
    }

    #[test]
    fn what_the_node_allows_is_handed_on() {
        let allowed = DomainConfig {
            iomem: vec!["0x9000,1".parse().unwrap(), "a,2@3".parse().unwrap()],
            network: Some("bridge=br0,mac=00:16:3e:01:02:03".to_owned()),
            ..config("/k")
        };
        let text = allowed.to_text().unwrap();
        let read = read_back(&text);
        assert_eq!(read["iomem"], r#"["0x9000,1", "0xa,2@0x3"]"#);
        assert_eq!(read["vif"], r#"["bridge=br0,mac=00:16:3e:01:02:03"]"#);
        let both =
            DomainConfig { pod_mac: Some(Mac([10, 88, 0, 0, 0, 255])), ..allowed.clone() }.to_text().unwrap();
        let (pod, own) =
            (r#""mac=0a:58:00:00:00:ff,script=/bin/true""#, r#""bridge=br0,mac=00:16:3e:01:02:03""#);
        assert_eq!(read_back(&both)["vif"], format!("[{pod}, {own}]"));
        let strange = DomainConfig { network: Some("bridge=br0\"]\nkernel=".to_owned()), ..allowed };
        assert!(strange.to_text().is_err());
    }

    #[test]
    fn a_path_that_needs_quoting_is_refused() {
        for bad in ["/a\"b", "/a b", "/a\nb", "/a'b", "/a\\b", "/ä", ""] {
            let refused = config(bad).to_text().is_err() || bad.is_empty();
            assert!(refused, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn nothing_adds_a_line(
            kernel in ".{0,40}", memory in any::<u32>(), vcpus in any::<u32>(), max_vcpus in any::<u32>(),
            weight in prop::option::of(any::<u32>()), cap in any::<u32>(), vuart in any::<bool>(),
            cores in prop::collection::vec(0..8192_u32, 1..5), pinned in any::<bool>(),
        ) {
            let affinity = if pinned {
                Affinity::Each(cores)
            } else {
                Affinity::Within(cores.into_iter().collect())
            };
            let config = DomainConfig {
                memory: Mib(memory), vcpus, max_vcpus, affinity, weight, cap, vuart, ..config(&kernel)
            };
            if let Ok(text) = config.to_text() {
                let read = read_back(&text);
                let expected = 14 + usize::from(weight.is_some()) + usize::from(cap > 0) + usize::from(vuart);
                prop_assert_eq!(read.len(), expected);
                prop_assert_eq!(read["kernel"], format!("\"{kernel}\""));
            }
        }
    }
}
