//! What a container asks for, merged from all that may say something.
//!
//! Weakest first: built-in default, `micrun.conf`, the image's client.conf, what the engine asks for in
//! `config.json`, the annotations of the container. Image annotations never reach a runtime, so client.conf repeats
//! them in its section `[MicRun]` under the same names. The engine's numbers are weighed against these in
//! [`crate::resources`].
//!
//! What reaches into the node is asked of its [policy](super::node::policy) here, but for files, which are asked for
//! when their digest is known.

use std::collections::HashMap;
use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use micrun_image_spec::annotation;
use micrun_image_spec::client_conf::{ClientConf, Key};
use micrun_image_spec::digest::Sha256Digest;
use micrun_image_spec::firmware::{Pedestal, Rtos};
use micrun_image_spec::rootfs_path::RootfsPath;
use micrun_image_spec::text::{excerpt, parse_bool};
use micrun_image_spec::units::{ByteSize, Mib, duration};

use super::explanation::{Explanation, Loser};
use super::node::policy::Ask;
use super::node::{IoMem, NodeConfig, NodeConfigError, Policy};
use super::origin::Origin;
use super::said::{Candidate, Said};
use crate::resources::{Asked, CpuSet, Wishes};

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
    /// Only cores that Dom0 (or Linux) does not run on.
    pub exclusive_dom0_cpu: bool,
    /// Device memory; on Xen alone.
    pub iomem: Vec<IoMem>,
    /// A network interface as xl-network-configuration(5) has it; on Xen alone.
    pub network: Option<String>,
    /// The guest gets the pod's interface; on QEMU and Xen alone.
    pub pod_network: bool,
    /// micad starts its debug service with the guest.
    pub debug: bool,
    /// The container ends by itself when the guest has run for so long.
    pub auto_close: Option<Duration>,
    /// The image is verified, and no guest is made.
    pub verify_only: bool,
    /// How large the pipes of the streams are made, bytes; `None` for as they are.
    pub pipe_size: Option<usize>,
}

/// Settings, and how they came to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// What holds.
    pub settings: Settings,
    /// What the node says about this container: what [`annotation::CONFIG_PATH`] names, else `micrun.conf`.
    pub config: NodeConfig,
    /// Where each value came from.
    pub explanation: Explanation,
}

impl Merged {
    /// What counts of the engine's numbers: an annotation about the least memory beats its reservation.
    pub fn counting(&self, asked: Asked) -> Asked {
        let min_memory = self.explanation.get("min_memory");
        match min_memory.map(|min_memory| &min_memory.origin) {
            Some(Origin::Annotation { .. }) => Asked { reservation: None, ..asked },
            _ => asked,
        }
    }
}

/// Why what a container asks for cannot be merged.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A value that cannot be understood: who says it, and why.
    #[error("{origin}: {value:?}: {why}")]
    Value {
        /// Where it stands.
        origin: Origin,
        /// The value, shortened.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// Nobody names the firmware.
    #[error("client.conf does not name the firmware: ClientPath is missing")]
    NoFirmware,
    /// The node does not allow it.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// A configuration file that the container names.
    #[error("{origin}: {error}")]
    Config {
        /// Who names it.
        origin: Origin,
        /// What is wrong with it.
        error: Box<NodeConfigError>,
    },
}

impl SettingsError {
    /// A value that cannot be understood.
    pub fn value(origin: &Origin, value: &str, why: impl ToString) -> SettingsError {
        SettingsError::Value { origin: origin.clone(), value: excerpt(value), why: why.to_string() }
    }
}

/// Something that the node's policy does not allow.
#[derive(Debug, thiserror::Error)]
#[error(
    "{key} {value:?} (from: {asker}): this node's policy does not allow it; to allow it, write `{line}` under \
     [policy.allow] in {}",
    super::node::PATH
)]
pub struct Denied {
    /// The key of the policy.
    pub key: &'static str,
    /// What was asked for, shortened.
    pub value: String,
    /// Who asked.
    pub asker: Origin,
    /// The line of `micrun.conf` that would allow it.
    pub line: String,
}

/// Asks the policy.
///
/// # Errors
///
/// Its refusal.
pub fn permit(policy: &Policy, ask: &Ask<'_>, value: &str, asker: &Origin) -> Result<(), Denied> {
    if policy.allows(ask) {
        return Ok(());
    }
    let (key, value) = (ask.key(), excerpt(value));
    Err(Denied { key, value, asker: asker.clone(), line: policy.line_for(ask) })
}

impl Settings {
    /// Merges what the node, an image's client.conf and the annotations of a container say.
    ///
    /// # Errors
    ///
    /// The first value that cannot be understood or is not allowed.
    pub fn merge(
        node: &NodeConfig,
        conf: &ClientConf,
        annotations: &HashMap<String, String>,
    ) -> Result<Merged, SettingsError> {
        let mut told = Explanation::default();
        let said = Said::new(conf, annotations, &mut told)?;
        for (key, value) in conf.unknown() {
            told.ignore(Origin::image(key), value, "nobody reads it");
        }
        if conf.auto_boot() == Some(true) {
            told.ignore(Origin::image(Key::AutoBoot), "yes", "a guest starts when its container does");
        }
        let config = config_of(node, &said, &mut told)?;
        let mut merger = Merger { policy: &node.policy, config: &config, conf, said, told };
        let settings = merger.settings()?;
        if settings.pedestal == Pedestal::Qemu {
            merger.of_no_use_to_qemu(&settings.wishes);
        }
        merger.node_wide();
        let explanation = merger.told;
        Ok(Merged { settings, config, explanation })
    }
}

/// What the node says about this container. Another file than `micrun.conf` takes its place, but never says what is
/// allowed, or what shims log and trace.
fn config_of(
    node: &NodeConfig,
    said: &Said<'_>,
    told: &mut Explanation,
) -> Result<NodeConfig, SettingsError> {
    let all = said.all(annotation::CONFIG_PATH, |path| Ok::<_, String>(path.to_owned()))?;
    let Some((path, origin)) = pick(told, "config_path", all, String::clone) else { return Ok(node.clone()) };
    permit(&node.policy, &Ask::ConfigPath(&path), &path, &origin)?;
    let mut config = NodeConfig::default();
    config
        .add_file(Path::new(&path))
        .map_err(|error| SettingsError::Config { origin, error: Box::new(error) })?;
    let NodeConfig { policy, log, trace, .. } = node.clone();
    Ok(NodeConfig { policy, log, trace, ..config })
}

/// The strongest of several, noted with what it won against.
fn pick<T>(
    told: &mut Explanation,
    name: &str,
    candidates: impl IntoIterator<Item = Candidate<T>>,
    show: impl Fn(&T) -> String,
) -> Option<(T, Origin)> {
    let mut candidates: Vec<Candidate<T>> = candidates.into_iter().collect();
    let Candidate { value, origin } = candidates.pop()?;
    let losers = candidates.into_iter().rev();
    let losers = losers.map(|loser| Loser { value: show(&loser.value), origin: loser.origin }).collect();
    told.note(name, show(&value), origin.clone(), losers);
    Some((value, origin))
}

struct Merger<'a> {
    policy: &'a Policy,
    config: &'a NodeConfig,
    conf: &'a ClientConf,
    said: Said<'a>,
    told: Explanation,
}

impl Merger<'_> {
    fn settings(&mut self) -> Result<Settings, SettingsError> {
        let pedestal = self.pedestal()?;
        let (core_kind, cpus) = self.cores(pedestal)?;
        let board = self.said(annotation::BOARD)?;
        Ok(Settings {
            pedestal,
            board: self.pick("board", board, String::clone),
            os: self.pick_said(annotation::CONTAINER_OS)?,
            firmware_path: self.firmware_path()?,
            firmware_hash: self.pick_said(annotation::CONTAINER_FIRMWARE_HASH)?,
            pedestal_conf: self.pedestal_conf()?,
            core_kind,
            wishes: self.wishes(cpus)?,
            static_resources: self.flag(annotation::RUNTIME_STATIC_RESOURCE, false)?,
            exclusive_dom0_cpu: self.exclusive_dom0_cpu()?,
            iomem: self.iomem(pedestal)?,
            network: self.network(pedestal)?,
            pod_network: self.pod_network(pedestal)?,
            debug: self.debug(pedestal)?,
            auto_close: self.auto_close()?,
            verify_only: self.flag(annotation::CONTAINER_VERIFY_ONLY, false)?,
            pipe_size: self.pipe_size()?,
        })
    }

    fn pedestal(&mut self) -> Result<Pedestal, SettingsError> {
        let default = Candidate { value: Pedestal::default(), origin: Origin::Default };
        let image = self.mica(Key::Pedestal, Some(self.conf.pedestal()));
        let said = self.said(annotation::PED_PEDESTAL)?;
        let all = [default].into_iter().chain(image).chain(said);
        Ok(self.pick("ped.pedestal", all, Pedestal::to_string).unwrap_or_default())
    }

    fn firmware_path(&mut self) -> Result<RootfsPath, SettingsError> {
        let image = self.mica(Key::ClientPath, self.conf.client_path());
        let said = self.said(annotation::CONTAINER_FIRMWARE_PATH)?;
        let all = image.into_iter().chain(said);
        self.pick(annotation::CONTAINER_FIRMWARE_PATH, all, RootfsPath::to_string)
            .ok_or(SettingsError::NoFirmware)
    }

    fn pedestal_conf(&mut self) -> Result<Option<RootfsPath>, SettingsError> {
        let image = self.mica(Key::PedestalConf, self.conf.pedestal_conf());
        let read = |path: &str| if path.is_empty() { Ok(None) } else { path.parse().map(Some) };
        let said = self.said.all(annotation::PED_CONF, read)?;
        let image = image.map(|Candidate { value, origin }| Candidate { value: Some(value), origin });
        let show = |path: &Option<RootfsPath>| path.as_ref().map(ToString::to_string).unwrap_or_default();
        Ok(self.pick(annotation::PED_CONF, image.into_iter().chain(said), show).flatten())
    }

    /// hetero's `CPU` is a kind of core; every other pedestal's are cores of this machine.
    fn cores(&mut self, pedestal: Pedestal) -> Result<(Option<String>, Option<CpuSet>), SettingsError> {
        let Some(text) = self.conf.cpu() else { return Ok((None, None)) };
        let origin = Origin::image(Key::Cpu);
        if pedestal == Pedestal::Hetero {
            self.told.note("core_kind", text.to_owned(), origin, Vec::new());
            return Ok((Some(text.to_owned()), None));
        }
        let cpus: CpuSet = text.parse().map_err(|error| SettingsError::value(&origin, text, error))?;
        self.told.note("cpus", cpus.to_string(), origin, Vec::new());
        Ok((None, Some(cpus)))
    }

    fn wishes(&mut self, cpus: Option<CpuSet>) -> Result<Wishes, SettingsError> {
        let guest = &self.config.guest;
        let max_vcpus = self
            .node("guest.max_vcpus", guest.max_vcpus)
            .into_iter()
            .chain(self.mica(Key::MaxVcpu, self.conf.max_vcpu()))
            .chain(self.said(annotation::CONTAINER_MAX_VCPU_NUM)?);
        let max_vcpus: Vec<_> = max_vcpus.collect();
        let weight =
            [self.node("guest.weight", guest.weight), self.mica(Key::CpuWeight, self.conf.cpu_weight())];
        let capacity = [
            self.node("guest.capacity", guest.capacity),
            self.mica(Key::CpuCapacity, self.conf.cpu_capacity()),
        ];
        let memory = [self.node("guest.memory", guest.memory), self.mica(Key::Memory, self.conf.memory())];
        let max_memory = [
            self.node("guest.max_memory", guest.max_memory),
            self.mica(Key::MaxMemory, self.conf.max_memory()),
        ];
        let vcpus = self.mica(Key::Vcpu, self.conf.vcpu());
        let min_memory = self.said(annotation::CONTAINER_MIN_MEMORY_MB)?;
        Ok(Wishes {
            cpus,
            vcpus: self.pick("vcpus", vcpus, u32::to_string),
            max_vcpus: self.pick("max_vcpus", max_vcpus, u32::to_string),
            pin: self.pin()?,
            weight: self.pick("weight", weight.into_iter().flatten(), u32::to_string),
            capacity: self.pick("capacity", capacity.into_iter().flatten(), u32::to_string),
            memory: self.pick("memory", memory.into_iter().flatten(), Mib::to_string),
            max_memory: self.pick("max_memory", max_memory.into_iter().flatten(), Mib::to_string),
            min_memory: self.pick("min_memory", min_memory, u32::to_string).map(Mib),
        })
    }

    /// A board of QEMU's has its processors, and its memory stays as it begins. `micrun.conf` speaks of all guests and so of
    /// none: what it says of these is no mistake.
    fn of_no_use_to_qemu(&mut self, wishes: &Wishes) {
        let processors = "a guest of QEMU has the processors of its board";
        let all = [
            ("vcpus", wishes.vcpus.is_some_and(|vcpus| vcpus > 1), processors),
            ("max_vcpus", wishes.max_vcpus.is_some_and(|vcpus| vcpus > 1), processors),
            (
                "max_memory",
                wishes.max_memory > wishes.memory,
                "a guest of QEMU keeps the memory that it begins with",
            ),
            (
                annotation::RUNTIME_VCPU_PCPU_BINDING,
                wishes.pin,
                "a guest of QEMU runs on all cores of its cpuset",
            ),
        ];
        for (name, _, why) in all.into_iter().filter(|(_, is_asked, _)| *is_asked) {
            let Some(asked) = self.told.get(name).cloned() else { continue };
            if matches!(asked.origin, Origin::Image { .. } | Origin::Annotation { .. }) {
                self.told.ignore(asked.origin, &asked.value, why);
            }
        }
    }

    /// One to one where that is asked for, unless pinning is switched off altogether.
    fn pin(&mut self) -> Result<bool, SettingsError> {
        let one_to_one = self.flag(annotation::RUNTIME_VCPU_PCPU_BINDING, false)?;
        let at_all = self.flag(annotation::RUNTIME_ENABLE_VCPUS_PINNING, true)?;
        Ok(one_to_one && at_all)
    }

    fn exclusive_dom0_cpu(&mut self) -> Result<bool, SettingsError> {
        let name = annotation::RUNTIME_EXCLUSIVE_DOM0_CPU;
        let wanted = self.flag(name, false)?;
        if wanted {
            self.permit(name, &Ask::ExclusiveDom0Cpu, "yes")?;
        }
        Ok(wanted)
    }

    fn iomem(&mut self, pedestal: Pedestal) -> Result<Vec<IoMem>, SettingsError> {
        let Some(text) = self.of_xen(Key::IoMem, pedestal) else { return Ok(Vec::new()) };
        let origin = Origin::image(Key::IoMem);
        let all = IoMem::parse_list(&text).map_err(|error| SettingsError::value(&origin, &text, error))?;
        for pages in &all {
            permit(self.policy, &Ask::IoMem(pages), &pages.to_string(), &origin)?;
        }
        self.told.note("iomem", text, origin, Vec::new());
        Ok(all)
    }

    fn network(&mut self, pedestal: Pedestal) -> Result<Option<String>, SettingsError> {
        let Some(text) = self.of_xen(Key::Network, pedestal) else { return Ok(None) };
        let origin = Origin::image(Key::Network);
        // It stands between quotes in the domain's configuration.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"=,.:_-/@".contains(&byte);
        if !text.bytes().all(plain) {
            let why = "write an interface as xl has them, without blanks: bridge=br0,mac=00:16:3e:01:02:03";
            return Err(SettingsError::value(&origin, &text, why));
        }
        permit(self.policy, &Ask::Network(&text), &text, &origin)?;
        self.told.note("network", text.clone(), origin, Vec::new());
        Ok(Some(text))
    }

    /// Whoever asks for the pod's interface relies on it: where the guest cannot have it, it is refused.
    fn pod_network(&mut self, pedestal: Pedestal) -> Result<bool, SettingsError> {
        let asked = self.said::<String>(annotation::CONTAINER_NETWORK)?;
        let asked = pick(&mut self.told, annotation::CONTAINER_NETWORK, asked, String::clone);
        let Some((network, origin)) = asked else { return Ok(false) };
        if !matches!(pedestal, Pedestal::Qemu | Pedestal::Xen) {
            let why =
                format!("guests of {pedestal} cannot have the pod's interface, those of qemu and xen can");
            return Err(SettingsError::value(&origin, &network, why));
        }
        permit(self.policy, &Ask::Network(&network), &network, &origin)?;
        Ok(true)
    }

    /// A key that means something to Xen alone.
    fn of_xen(&mut self, key: Key, pedestal: Pedestal) -> Option<String> {
        let text = self.conf.get(key).filter(|text| !text.is_empty())?;
        if pedestal == Pedestal::Xen {
            return Some(text.to_owned());
        }
        self.told.ignore(Origin::image(key), text, "only guests of Xen have it");
        None
    }

    fn debug(&mut self, pedestal: Pedestal) -> Result<bool, SettingsError> {
        let default = Candidate { value: false, origin: Origin::Default };
        let image = self.mica(Key::Debug, self.conf.debug());
        let said = self.said.all(annotation::RUNTIME_DEBUG, bool_of)?;
        let all = [default].into_iter().chain(image).chain(said);
        let (wanted, origin) =
            pick(&mut self.told, "debug", all, show_bool).unwrap_or((false, Origin::Default));
        if !wanted {
            return Ok(false);
        }
        if matches!(pedestal, Pedestal::Qemu | Pedestal::Remoteproc) {
            self.told.ignore(origin, "yes", "only micad has a debug service");
            return Ok(false);
        }
        permit(self.policy, &Ask::Debug, "yes", &origin)?;
        Ok(true)
    }

    /// Never, unless it is switched on and has a time.
    fn auto_close(&mut self) -> Result<Option<Duration>, SettingsError> {
        let closes = self.flag(annotation::CONTAINER_AUTO_CLOSE, false)?;
        let times = self.said.all(annotation::CONTAINER_AUTO_CLOSE_TIMEOUT, duration_of)?;
        let show = |time: &Duration| format!("{}s", time.as_secs());
        let time = pick(&mut self.told, annotation::CONTAINER_AUTO_CLOSE_TIMEOUT, times, show);
        match time.filter(|(time, _)| !time.is_zero()) {
            Some((time, _)) if closes => return Ok(Some(time)),
            Some((time, origin)) => {
                self.told.ignore(origin, &show(&time), "container.auto_close is not switched on");
            }
            None if closes => {
                let switch =
                    self.told.get(annotation::CONTAINER_AUTO_CLOSE).map(|switch| switch.origin.clone());
                let why = "container.auto_close_timeout names no time";
                self.told.ignore(switch.unwrap_or(Origin::Default), "yes", why);
            }
            None => {}
        }
        Ok(None)
    }

    fn pipe_size(&mut self) -> Result<Option<usize>, SettingsError> {
        let read = |text: &str| text.parse::<ByteSize>().map_err(|error| error.to_string());
        let sizes = self.said.all(annotation::RUNTIME_PIPE_SIZE, read)?;
        let size = self.pick(annotation::RUNTIME_PIPE_SIZE, sizes, ByteSize::to_string);
        // The kernel has its own idea of what is too much (/proc/sys/fs/pipe-max-size).
        Ok(size.and_then(|size| usize::try_from(size.0).ok()).filter(|size| *size > 0))
    }

    /// What is the same for all containers of the file.
    fn node_wide(&mut self) {
        for name in ["console.buffer", "console.ctrl_c", "exec.timeout"] {
            let key = super::node::keys::find(name);
            if let Some(value) = key.and_then(|key| (key.get)(self.config)) {
                let origin = self.config.place(name).map_or(Origin::Default, Origin::from);
                self.told.note(name, value.trim_matches('"').to_owned(), origin, Vec::new());
            }
        }
    }

    /// Asks the policy on behalf of whoever decided a value.
    fn permit(&self, name: &str, ask: &Ask<'_>, value: &str) -> Result<(), Denied> {
        let asker = self.told.get(name).map_or(Origin::Default, |value| value.origin.clone());
        permit(self.policy, ask, value, &asker)
    }

    fn pick<T>(
        &mut self,
        name: &str,
        candidates: impl IntoIterator<Item = Candidate<T>>,
        show: impl Fn(&T) -> String,
    ) -> Option<T> {
        pick(&mut self.told, name, candidates, show).map(|(value, _)| value)
    }

    fn pick_said<T>(&mut self, name: &str) -> Result<Option<T>, SettingsError>
    where
        T: std::str::FromStr<Err: Display> + Display,
    {
        let said = self.said(name)?;
        Ok(self.pick(name, said, T::to_string))
    }

    /// A switch; as it is built in where nobody set it.
    fn flag(&mut self, name: &str, default: bool) -> Result<bool, SettingsError> {
        let built_in = Candidate { value: default, origin: Origin::Default };
        let said = self.said.all(name, bool_of)?;
        Ok(self.pick(name, [built_in].into_iter().chain(said), show_bool).unwrap_or(default))
    }

    fn said<T>(&self, name: &str) -> Result<Vec<Candidate<T>>, SettingsError>
    where
        T: std::str::FromStr<Err: Display>,
    {
        self.said.all(name, |text| text.parse().map_err(|error: T::Err| error.to_string()))
    }

    /// A value of client.conf, where the file has the key.
    fn mica<T>(&self, key: Key, value: Option<T>) -> Option<Candidate<T>> {
        let value = value.filter(|_| self.conf.get(key).is_some())?;
        Some(Candidate { value, origin: Origin::image(key) })
    }

    /// A value of `micrun.conf`.
    fn node<T>(&self, key: &str, value: Option<T>) -> Option<Candidate<T>> {
        Some(Candidate {
            value: value?,
            origin: self.config.place(key).map_or(Origin::Default, Origin::from),
        })
    }
}

fn bool_of(text: &str) -> Result<bool, String> {
    parse_bool(text).ok_or_else(|| "write yes or no".to_owned())
}

fn show_bool(value: &bool) -> String {
    if *value { "yes".to_owned() } else { "no".to_owned() }
}

fn duration_of(text: &str) -> Result<Duration, &'static str> {
    duration(text).ok_or("write 30s, 5m, 60 (seconds) or 0 (never)")
}

#[cfg(test)]
mod tests;
