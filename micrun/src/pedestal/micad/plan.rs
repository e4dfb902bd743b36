//! From a guest's settings to the message that creates it.

use std::path::{Path, PathBuf};

use libmica::{ClientName, Create};
use micrun_image_spec::firmware::Pedestal;
use micrun_image_spec::units::Mib;

use crate::config::node::IoMem;
use crate::hypervisor::xen::cap;
use crate::pedestal::{Claim, GuestSpec, Node, PlanError};
use crate::resources::{CpuSet, Resources, Weight};

/// The one kind of core that micad knows on hetero.
const RISCV: &str = "riscv";

/// A client that could be created.
#[derive(Debug)]
pub struct MicadPlan {
    /// What the daemon will be told.
    pub create: Create,
    /// What the guest runs on.
    pub pedestal: Pedestal,
    /// The directory of the daemon's sockets.
    pub micad: PathBuf,
    /// Where the daemon makes ttys.
    pub dev: PathBuf,
    /// What micad does not do about a domain.
    pub beyond: Beyond,
    cores: Vec<u32>,
}

/// What a domain gets beside what micad gives it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beyond {
    /// The cores, where vCPU i gets core i alone.
    pub pin: Option<CpuSet>,
    /// The most virtual CPUs that it can have.
    pub max_vcpus: u32,
    /// The most memory that it may have, where that is more than at the start: Xen on arm64 creates no such domain, so
    /// it is raised afterwards.
    pub max_memory: Option<Mib>,
}

/// What micad calls a pedestal; `None` for those that it does not know.
pub fn word(pedestal: Pedestal) -> Option<libmica::Pedestal> {
    match pedestal {
        Pedestal::Xen => Some(libmica::Pedestal::Xen),
        Pedestal::Baremetal => Some(libmica::Pedestal::Baremetal),
        Pedestal::Jailhouse => Some(libmica::Pedestal::Jailhouse),
        Pedestal::Hetero => Some(libmica::Pedestal::Hetero),
        Pedestal::Qemu | Pedestal::Remoteproc => None,
    }
}

impl MicadPlan {
    /// Plans the client for a guest.
    ///
    /// # Errors
    ///
    /// What micad or its pedestal cannot do, with a remedy.
    pub fn new(spec: &GuestSpec, node: &Node, dev: &Path) -> Result<MicadPlan, PlanError> {
        let pedestal = spec.settings.pedestal;
        let micad_word = word(pedestal).ok_or_else(|| {
            PlanError::new(format!("micad knows no pedestal {pedestal}"), "use another driver")
        })?;
        if spec.interface.is_some() {
            return Err(PlanError::new(
                "guests of micad cannot have the pod's interface",
                "leave the annotation container.network out; or, where the guest is one of Xen, stop micad on this node, \
                 and the shim runs it by itself",
            ));
        }
        let name = ClientName::new(spec.name.as_str()).map_err(unfit)?;
        let mut create = Create::new(name, &spec.firmware, micad_word);
        create.pedestal_conf = pedestal_conf(spec)?;
        let resources = &spec.resources;
        let mut beyond = Beyond::default();
        match pedestal {
            Pedestal::Xen => beyond = on_xen(&mut create, resources, node)?,
            Pedestal::Baremetal => create.cpus = one_core(resources)?.to_string(),
            Pedestal::Hetero => create.cpus = core_kind(spec)?,
            _ => create.cpus = list(resources),
        }
        create.debug = spec.settings.debug;
        create.iomem = iomem(&spec.settings.iomem);
        create.network = spec.settings.network.clone().unwrap_or_default();
        create.encode().map_err(unfit)?;
        // Xen shares cores, unless virtual CPUs are bound to them.
        let alone = match (pedestal, &resources.cpus) {
            (Pedestal::Xen, Some(cores)) if resources.pin => {
                cores.iter().take(resources.vcpus as usize).collect()
            }
            (Pedestal::Xen, _) | (_, None) => Vec::new(),
            (_, Some(cores)) => cores.iter().collect(),
        };
        let (micad, dev) = (node.micad.clone(), dev.to_owned());
        Ok(MicadPlan { create, pedestal, micad, dev, beyond, cores: alone })
    }

    /// What the guest takes of the node.
    pub fn claims(&self) -> Vec<Claim> {
        let cores = self.cores.iter().copied().map(Claim::Core);
        let memory = self.create.memory.map(|mib| Claim::Memory(Mib(mib)));
        let other = (self.pedestal == Pedestal::Hetero).then(|| Claim::Coprocessor(self.create.cpus.clone()));
        cores.chain(memory).chain(other).collect()
    }
}

/// What does not fit into the message.
fn unfit(error: libmica::FieldError) -> PlanError {
    PlanError::new(
        format!("micad cannot be asked for this guest: {error}"),
        "change the value in client.conf, or give the container a shorter id",
    )
}

/// The boot image or the cell, without which these pedestals start nothing.
fn pedestal_conf(spec: &GuestSpec) -> Result<Option<PathBuf>, PlanError> {
    let (what, remedy) = match spec.settings.pedestal {
        Pedestal::Baremetal => return Ok(None),
        Pedestal::Jailhouse => ("configuration of a cell", "name it in client.conf, PedestalConf"),
        _ => {
            ("boot image", "pack it with `micrun-image-builder pack`, which makes one, or with --boot-image")
        }
    };
    match &spec.pedestal_conf {
        Some(path) => Ok(Some(path.clone())),
        None => {
            let pedestal = spec.settings.pedestal;
            Err(PlanError::new(format!("the image has no {what}, which {pedestal} needs"), remedy))
        }
    }
}

fn on_xen(create: &mut Create, resources: &Resources, node: &Node) -> Result<Beyond, PlanError> {
    if !node.on_xen {
        return Err(PlanError::new(
            "the image is for Xen, and this machine does not run on Xen",
            "boot Xen, or use an image for another pedestal",
        ));
    }
    let Some(memory) = resources.memory else {
        return Err(PlanError::new(
            "nobody says how much memory the guest gets, and Xen has no default",
            "set Memory in client.conf, or give the container a memory limit",
        ));
    };
    create.memory = Some(memory.0);
    create.vcpus = Some(resources.vcpus);
    create.max_vcpus = Some(resources.max_vcpus);
    create.cpu_weight = resources.weight.map(Weight::guest);
    create.cpu_capacity =
        Some(cap(resources.capacity.percent(), resources.max_vcpus)).filter(|percent| *percent > 0);
    create.cpus = list(resources);
    Ok(Beyond {
        pin: resources.cpus.clone().filter(|_| resources.pin),
        max_vcpus: resources.max_vcpus,
        max_memory: resources.max_memory.filter(|max| *max > memory),
    })
}

/// As a list in xl's syntax, which micad writes into the domain's configuration as it is.
fn iomem(all: &[IoMem]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let pages: Vec<String> = all.iter().map(|pages| format!("\"{pages}\"")).collect();
    format!("[{}]", pages.join(", "))
}

fn list(resources: &Resources) -> String {
    resources.cpus.as_ref().map(CpuSet::to_string).unwrap_or_default()
}

/// micad reads no core as core 0, which is Linux's own.
fn one_core(resources: &Resources) -> Result<u32, PlanError> {
    let cores = || resources.cpus.iter().flat_map(CpuSet::iter);
    match (cores().next(), cores().count()) {
        (Some(0), 1) => Err(PlanError::new(
            "core 0 belongs to Linux",
            "name a core that Linux was told to leave alone (`maxcpus=` on the kernel's command line)",
        )),
        (Some(core), 1) => Ok(core),
        (None, _) => Err(PlanError::new(
            "nobody says which core the guest runs on",
            "set CPU in client.conf, or give the container a cpuset of one core",
        )),
        (_, many) => Err(PlanError::new(
            format!("a guest on bare metal has one core, and this one was given {many}"),
            "set CPU in client.conf to one core, or give the container a cpuset of one core",
        )),
    }
}

fn core_kind(spec: &GuestSpec) -> Result<String, PlanError> {
    match spec.settings.core_kind.as_deref() {
        Some(RISCV) => Ok(RISCV.to_owned()),
        other => Err(PlanError::new(
            format!("micad knows no kind of core {:?}", other.unwrap_or_default()),
            format!("set CPU in client.conf to {RISCV}"),
        )),
    }
}

#[cfg(test)]
mod tests;
