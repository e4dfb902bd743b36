//! What a container asks for, merged from client.conf and annotations.
//!
//! Weakest first: the image's client.conf, then the annotations of the container. Image annotations never
//! reach a runtime, so client.conf repeats them in its section `[MicRun]` under the same names; both are
//! one key space here.

use std::collections::HashMap;

use micrun_image_spec::annotation::{self, Kind};
use micrun_image_spec::client_conf::{ClientConf, Key};
use micrun_image_spec::digest::Sha256Digest;
use micrun_image_spec::firmware::{Pedestal, Rtos};
use micrun_image_spec::rootfs_path::RootfsPath;
use micrun_image_spec::text::parse_bool;

use crate::resources::{CpuSet, Wishes};

/// What image and engine ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What the guest runs on.
    pub pedestal: Pedestal,
    /// The board that the firmware is built for.
    pub board: Option<String>,
    /// The RTOS.
    pub os: Option<Rtos>,
    /// The firmware ELF in the image.
    pub firmware_path: RootfsPath,
    /// What its digest must be.
    pub firmware_hash: Option<Sha256Digest>,
    /// The pedestal's own file in the image: the boot image of xen and hetero, the cell of jailhouse.
    pub pedestal_conf: Option<RootfsPath>,
    /// client.conf's `CPU` where it names a kind of core and not cores: hetero's `riscv`.
    pub core_kind: Option<String>,
    /// Processors and memory.
    pub wishes: Wishes,
    /// The resources stay as they are at the start, whatever the engine asks for later.
    pub static_resources: bool,
}

/// A value that cannot be understood: where it stands, and why.
#[derive(Debug, thiserror::Error)]
#[error("{key} = {value:?}: {why}")]
pub struct SettingsError {
    /// The key, as users write it.
    pub key: String,
    /// Its value.
    pub value: String,
    /// What is wrong with it.
    pub why: String,
}

impl Settings {
    /// Merges an image's client.conf with the annotations of the container.
    ///
    /// # Errors
    ///
    /// The first value that cannot be understood.
    pub fn merge(
        conf: &ClientConf,
        annotations: &HashMap<String, String>,
    ) -> Result<Settings, SettingsError> {
        let values = Values::new(conf, annotations)?;
        let firmware_path = match values.parse(annotation::CONTAINER_FIRMWARE_PATH)? {
            Some(path) => path,
            None => conf.client_path().ok_or_else(no_firmware)?,
        };
        let pedestal = values.parse(annotation::PED_PEDESTAL)?.unwrap_or_else(|| conf.pedestal());
        for key in DENIED {
            deny(conf, key)?;
        }
        let (core_kind, cpus) = match conf.cpu() {
            Some(kind) if pedestal == Pedestal::Hetero => (Some(kind.to_owned()), None),
            Some(list) => (None, Some(cores(list)?)),
            None => (None, None),
        };
        Ok(Settings {
            pedestal,
            board: values.get(annotation::BOARD).map(str::to_owned),
            os: values.parse(annotation::CONTAINER_OS)?,
            firmware_path,
            firmware_hash: values.parse(annotation::CONTAINER_FIRMWARE_HASH)?,
            pedestal_conf: conf.pedestal_conf(),
            core_kind,
            wishes: Wishes {
                cpus,
                vcpus: conf.vcpu(),
                max_vcpus: values.parse(annotation::CONTAINER_MAX_VCPU_NUM)?.or_else(|| conf.max_vcpu()),
                pin: values.flag(annotation::RUNTIME_VCPU_PCPU_BINDING),
                weight: conf.cpu_weight(),
                capacity: conf.cpu_capacity(),
                memory: conf.memory(),
                max_memory: conf.max_memory(),
            },
            static_resources: values.flag(annotation::RUNTIME_STATIC_RESOURCE),
        })
    }
}

/// What an image cannot give itself: memory and devices of the node.
const DENIED: [Key; 2] = [Key::IoMem, Key::Network];

fn deny(conf: &ClientConf, key: Key) -> Result<(), SettingsError> {
    match conf.get(key) {
        None | Some("") => Ok(()),
        Some(value) => Err(SettingsError {
            key: key.to_string(),
            value: value.to_owned(),
            why: "no image may ask for memory or devices of the node".to_owned(),
        }),
    }
}

fn cores(list: &str) -> Result<CpuSet, SettingsError> {
    list.parse().map_err(|error: crate::resources::InvalidCpuSet| SettingsError {
        key: Key::Cpu.to_string(),
        value: list.to_owned(),
        why: error.to_string(),
    })
}

/// A value that its annotation cannot have is refused even where it would be ignored: whoever wrote it
/// meant something.
fn check(full: &str, name: &str, value: &str) -> Result<(), SettingsError> {
    let Some(kind) = Kind::of(name) else { return Ok(()) };
    kind.check(value).map_err(|bad| SettingsError {
        key: full.to_owned(),
        value: value.to_owned(),
        why: bad.to_string(),
    })
}

fn no_firmware() -> SettingsError {
    let why = "client.conf does not name the firmware".to_owned();
    SettingsError { key: Key::ClientPath.as_str().to_owned(), value: String::new(), why }
}

/// What this version acts on. Everything else that a container asks for is reported as ignored.
const IN_USE: [&str; 8] = [
    annotation::BOARD,
    annotation::CONTAINER_FIRMWARE_HASH,
    annotation::CONTAINER_FIRMWARE_PATH,
    annotation::CONTAINER_MAX_VCPU_NUM,
    annotation::CONTAINER_OS,
    annotation::PED_PEDESTAL,
    annotation::RUNTIME_STATIC_RESOURCE,
    annotation::RUNTIME_VCPU_PCPU_BINDING,
];

/// One key space over client.conf and annotations; keys are without prefix.
struct Values<'a>(HashMap<&'a str, &'a str>);

impl<'a> Values<'a> {
    fn new(
        conf: &'a ClientConf,
        annotations: &'a HashMap<String, String>,
    ) -> Result<Values<'a>, SettingsError> {
        let mut values: HashMap<&str, &str> =
            conf.micrun().iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        // The older spelling first, so that a key in today's spelling wins.
        for legacy in [true, false] {
            for (full, value) in annotations {
                let Some(key) = annotation::strip(full).filter(|key| key.legacy == legacy) else { continue };
                check(full, key.name, value)?;
                if legacy {
                    tracing::warn!(annotation = full, "old spelling of the prefix {}", annotation::PREFIX);
                }
                if !IN_USE.contains(&key.name) {
                    tracing::warn!(annotation = full, "this version ignores the annotation");
                }
                values.insert(key.name, value);
            }
        }
        Ok(Values(values))
    }

    fn get(&self, key: &str) -> Option<&'a str> {
        self.0.get(key).copied()
    }

    /// A switch; off where nobody set it. What is no switch was refused already.
    fn flag(&self, key: &str) -> bool {
        self.get(key).and_then(parse_bool).unwrap_or(false)
    }

    fn parse<T>(&self, key: &str) -> Result<Option<T>, SettingsError>
    where
        T: std::str::FromStr<Err: std::fmt::Display>,
    {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.parse().map(Some).map_err(|error: T::Err| SettingsError {
            key: annotation::key(key),
            value: value.to_owned(),
            why: error.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use micrun_image_spec::units::Mib;

    use super::*;

    const CONF: &str = "[Mica]\nName=z\nClientPath=/firmware.elf\nPedestal=qemu\nPedestalConf=\nMemory=64\n\
                        [MicRun]\nboard=qemu_arm64\n";

    fn merge(annotations: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let annotations = annotations.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Settings::merge(&CONF.parse().unwrap(), &annotations)
    }

    #[test]
    fn the_image_speaks_for_itself() {
        let settings = merge(&[]).unwrap();
        assert_eq!(settings.board.as_deref(), Some("qemu_arm64"));
        assert_eq!((settings.pedestal, settings.wishes.memory), (Pedestal::Qemu, Some(Mib(64))));
    }

    #[test]
    fn annotations_beat_the_image_and_todays_prefix_beats_the_old_one() {
        let board = |annotations| merge(annotations).unwrap().board.unwrap();
        assert_eq!(board(&[("org.openeuler.micran.board", "old")]), "old");
        assert_eq!(
            board(&[("org.openeuler.micrun.board", "new"), ("org.openeuler.micran.board", "old")]),
            "new"
        );
    }

    #[test]
    fn a_path_outside_the_rootfs_is_refused_by_name() {
        let error = merge(&[("org.openeuler.micrun.container.firmware_path", "/../etc/passwd")]).unwrap_err();
        assert!(error.to_string().contains("container.firmware_path"), "{error}");
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_refused_and_a_strange_name_is_not() {
        let error = merge(&[("org.openeuler.micrun.runtime.debug", "maybe")]).unwrap_err();
        assert!(error.to_string().contains("runtime.debug"), "{error}");
        assert!(merge(&[("org.openeuler.micrun.nonsense", "1"), ("example.com/other", "%")]).is_ok());
    }

    #[test]
    fn what_a_guest_may_have_is_read_from_both() {
        let conf: ClientConf =
            "[Mica]\nClientPath=/f\nPedestal=xen\nPedestalConf=/image.bin\nCPU=1-2\nVCPU=2\n\
                                CPUWeight=512\nMaxVCPU=3\n"
                .parse()
                .unwrap();
        let annotations = [("container.max_vcpu_num", "4"), ("runtime.vcpu_pcpu_binding", "yes")]
            .map(|(name, value)| (annotation::key(name), value.to_owned()));
        let settings = Settings::merge(&conf, &annotations.into()).unwrap();
        let wishes = settings.wishes;
        assert_eq!((wishes.vcpus, wishes.max_vcpus, wishes.weight), (Some(2), Some(4), Some(512)));
        assert_eq!((wishes.cpus.unwrap().to_string().as_str(), wishes.pin), ("1-2", true));
        assert_eq!(settings.pedestal_conf.unwrap().as_str(), "/image.bin");
    }

    #[test]
    fn an_image_does_not_give_itself_the_nodes_memory() {
        let conf = "[Mica]\nClientPath=/f\nPedestal=xen\nPedestalConf=/i\nIOMem=0x9000,1\n".parse().unwrap();
        let error = Settings::merge(&conf, &HashMap::new()).unwrap_err().to_string();
        assert!(error.contains("IOMem") && error.contains("no image may"), "{error}");
    }

    #[test]
    fn a_kind_of_core_is_none_of_linux_cores() {
        let conf = "[Mica]\nClientPath=/f\nPedestal=hetero\nPedestalConf=/i\nCPU=riscv\n".parse().unwrap();
        let settings = Settings::merge(&conf, &HashMap::new()).unwrap();
        assert_eq!((settings.core_kind.as_deref(), settings.wishes.cpus), (Some("riscv"), None));
    }

    #[test]
    fn a_hash_that_is_none_is_refused() {
        assert!(merge(&[("org.openeuler.micrun.container.firmware_hash", "sha256:12")]).is_err());
    }
}
