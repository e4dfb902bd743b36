//! From a guest's settings to a domain's configuration.

use std::path::PathBuf;

use async_trait::async_trait;
use micrun_image_spec::board::XenConsole;
use micrun_image_spec::firmware::Pedestal;
use micrun_image_spec::units::Mib;

use super::{OnDisk, create};
use crate::hypervisor::xen::{Affinity, DomainConfig, DomainName, DomainRef, Uuid, cap};
use crate::pedestal::node::BOARDS_DIR;
use crate::pedestal::{Claim, Created, DriverError, GuestSpec, Node, Plan, PlanError, Record};
use crate::resources::{Resources, Weight};
use crate::trace::TraceContext;

/// The memory of a guest for which nobody asked for any: enough for every RTOS, and so little that a device
/// tree of Xen's lies behind the firmware and not in it.
const DEFAULT_MEMORY: Mib = Mib(64);

/// A domain to be created.
#[derive(Debug)]
pub struct XenPlan {
    /// The domain.
    pub config: DomainConfig,
    /// Where its configuration is written.
    pub config_file: PathBuf,
    /// The most memory that it may ever have.
    pub max_memory: Mib,
    /// What goes to disk.
    pub on_disk: OnDisk,
    /// The trace that the guest is told.
    pub trace: Option<TraceContext>,
}

impl XenPlan {
    /// Plans a domain with this uuid.
    ///
    /// # Errors
    ///
    /// No boot image, or a board that is unknown or not one of Xen's.
    pub fn new(spec: &GuestSpec, node: &Node, uuid: Uuid) -> Result<XenPlan, PlanError> {
        let Some(kernel) = spec.pedestal_conf.clone() else {
            return Err(PlanError::new(
                "the image has no boot image for Xen",
                "pack it with micrun-image-builder pack --pedestal xen, which writes PedestalConf into client.conf",
            ));
        };
        let name = DomainName::new(spec.name.as_str()).map_err(|error| {
            PlanError::new(error.to_string(), "start the container under a name that begins with a letter")
        })?;
        let domain = DomainRef { name, uuid };
        let vuart = console(spec, node)? == XenConsole::Vuart;
        let Resources { vcpus, max_vcpus, weight, capacity, .. } = spec.resources;
        let affinity = affinity(&spec.resources);
        let pinned = if let Affinity::Each(cores) = &affinity { cores.clone() } else { Vec::new() };
        let memory = spec.resources.memory.unwrap_or(DEFAULT_MEMORY);
        let config = DomainConfig {
            domain: domain.clone(),
            kernel,
            memory,
            vcpus,
            max_vcpus,
            affinity,
            weight: weight.map(Weight::guest),
            cap: cap(capacity.percent(), max_vcpus),
            vuart,
            iomem: spec.settings.iomem.clone(),
            // Known once somebody has looked.
            pod_mac: None,
            network: spec.settings.network.clone(),
        };
        Ok(XenPlan {
            config,
            config_file: spec.dir.join("domain.cfg"),
            max_memory: spec.resources.max_memory.unwrap_or(memory).max(memory),
            on_disk: OnDisk { domain, vuart, pinned, max_vcpus, interface: spec.interface.clone() },
            trace: spec.trace,
        })
    }
}

/// Where the guest's output comes from: its board says. Without a board it is Xen's own console.
fn console(spec: &GuestSpec, node: &Node) -> Result<XenConsole, PlanError> {
    let Some(name) = &spec.settings.board else { return Ok(XenConsole::default()) };
    let Some(board) = node.boards.get(name) else {
        return Err(PlanError::new(
            format!("this node knows no board {name:?}"),
            format!("add a profile to {BOARDS_DIR}, or use an image for a known board"),
        ));
    };
    if !board.pedestals.contains(&Pedestal::Xen) {
        return Err(PlanError::new(
            format!("board {} is not one that Xen plays", board.name),
            "use an image for a board of Xen, such as xen_arm64",
        ));
    }
    Ok(board.xen.as_ref().map(|xen| xen.console).unwrap_or_default())
}

fn affinity(resources: &Resources) -> Affinity {
    match &resources.cpus {
        None => Affinity::Any,
        Some(cores) if resources.pin => Affinity::Each(cores.iter().take(resources.vcpus as usize).collect()),
        Some(cores) => Affinity::Within(cores.clone()),
    }
}

#[async_trait]
impl Plan for XenPlan {
    fn record(&self) -> Record {
        self.on_disk.record()
    }

    /// Its memory; where virtual CPUs are pinned, the cores that they alone run on; and the pod's interface.
    fn claims(&self) -> Vec<Claim> {
        let cores = match &self.config.affinity {
            Affinity::Each(cores) => cores.as_slice(),
            Affinity::Any | Affinity::Within(_) => &[],
        };
        let memory = Claim::Memory(self.config.memory);
        let interface = self.on_disk.interface.clone().map(Claim::Interface);
        std::iter::once(memory).chain(cores.iter().copied().map(Claim::Core)).chain(interface).collect()
    }

    async fn create(mut self: Box<Self>) -> Result<Created, DriverError> {
        if let Some(interface) = &self.on_disk.interface {
            self.config.pod_mac = Some(create::address_of(interface).await?);
        }
        create::create(&self).await
    }
}

#[cfg(test)]
mod tests {
    use micrun_image_spec::board::Boards;

    use super::*;
    use crate::config::{NodeConfig, Settings};
    use crate::id::{GuestName, Id, Key};
    use crate::network::PodInterface;
    use crate::resources::Asked;

    fn spec(conf: &str) -> GuestSpec {
        let conf = format!("[Mica]\nClientPath=/firmware.elf\nPedestal=xen\n{conf}").parse().unwrap();
        let settings = Settings::merge(&NodeConfig::default(), &conf, &Default::default()).unwrap().settings;
        let cores = "0-3".parse().unwrap();
        let resources = Resources::plan(&settings.wishes, &Asked::default(), &cores, None).unwrap();
        let key = Key { namespace: Id::new("n").unwrap(), id: Id::new("0").unwrap() };
        GuestSpec {
            name: GuestName::of(&key),
            key,
            dir: "/run/x".into(),
            firmware: "/run/x/firmware.elf".into(),
            pedestal_conf: settings.pedestal_conf.as_ref().map(|_| "/run/x/pedestal.conf".into()),
            settings,
            resources,
            trace: None,
            cgroup: None,
            interface: None,
        }
    }

    fn plan(conf: &str) -> Result<XenPlan, PlanError> {
        let uuid = "12345678-1234-4234-8234-123456789abc".parse().unwrap();
        XenPlan::new(&spec(conf), &Node::new(Boards::builtin(), []), uuid)
    }

    #[test]
    fn the_domain_gets_what_image_and_board_say() {
        let plan = plan(
            "PedestalConf=/image.bin\nMemory=32\nMaxMemory=64\nCPU=2-3\nVCPU=2\nCPUCapacity=500\nCPUWeight=300\n\
             [MicRun]\nboard=xen_arm64_vuart\nruntime.vcpu_pcpu_binding=yes\n",
        )
        .unwrap();
        let text = plan.config.to_text().unwrap();
        for line in [
            "memory = 32",
            "vcpus = 2",
            r#"cpus = ["2", "3"]"#,
            "cpu_weight = 300",
            "cap = 200",
            "vuart = \"sbsa_uart\"",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} in {text}");
        }
        assert_eq!(plan.max_memory, Mib(64));
        assert_eq!(plan.claims(), [Claim::Memory(Mib(32)), Claim::Core(2), Claim::Core(3)]);
        assert!(plan.on_disk.vuart);
        assert!(plan.on_disk.domain.name.as_str().starts_with("0-"), "a container 0 is not Dom0");
    }

    #[test]
    fn little_is_enough() {
        let plan = plan("PedestalConf=/image.bin\n").unwrap();
        assert_eq!((plan.config.memory, plan.max_memory), (DEFAULT_MEMORY, DEFAULT_MEMORY));
        assert_eq!(plan.config.affinity, Affinity::Any);
        assert!(!plan.on_disk.vuart);
        assert_eq!(plan.claims(), [Claim::Memory(DEFAULT_MEMORY)]);
    }

    #[test]
    fn a_guest_behind_its_pods_interface_has_it_alone() {
        let interface: Option<PodInterface> = serde_json::from_value("/run/netns/p".into()).unwrap();
        let spec = GuestSpec { interface: interface.clone(), ..spec("PedestalConf=/image.bin\nMemory=32\n") };
        let uuid = "12345678-1234-4234-8234-123456789abc".parse().unwrap();
        let plan = XenPlan::new(&spec, &Node::new(Boards::builtin(), []), uuid).unwrap();
        assert_eq!(plan.claims(), [Claim::Memory(Mib(32)), Claim::Interface(interface.clone().unwrap())]);
        assert_eq!(OnDisk::read(&plan.record()).unwrap().interface, interface);
    }

    #[test]
    fn what_cannot_run_is_refused_with_a_remedy() {
        let said = |conf: &str| plan(conf).unwrap_err().to_string();
        assert!(said("PedestalConf=\n").starts_with("the image has no boot image for Xen; pack it"));
        let board = |name| format!("PedestalConf=/image.bin\n[MicRun]\nboard={name}\n");
        assert!(said(&board("nosuch")).contains("knows no board \"nosuch\"; add a profile"));
        assert!(said(&board("qemu_x86")).contains("is not one that Xen plays; use an image"));
    }
}
