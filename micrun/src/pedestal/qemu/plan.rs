//! From a guest's settings to an emulator's command line.

use std::fs;
use std::path::PathBuf;

use micrun_image_spec::board::{BoardProfile, ExitConvention, Nic};
use micrun_image_spec::firmware::Arch;
use micrun_image_spec::units::Mib;

use super::lost::root_name;
use crate::cgroup::{Limits, Place};
use crate::network::PodInterface;
use crate::pedestal::node::BOARDS_DIR;
use crate::pedestal::{GuestSpec, Node, PlanError};
use crate::resources::Resources;

/// Where the firmware is, as the emulator sees it in its jail.
pub const FIRMWARE_IN_JAIL: &str = "/firmware.elf";

/// Where a guest finds its trace (`docs/specs/fw_cfg.rst` of QEMU: names of users begin with `opt/` and a domain).
const TRACEPARENT: &str = "opt/org.openeuler.micrun/traceparent";

/// The emulator to run, complete but for the two sockets.
#[derive(Debug)]
pub struct QemuPlan {
    /// The emulator.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// How its exit status is to be read.
    pub exit: ExitConvention,
    /// The firmware on the node.
    pub firmware: PathBuf,
    /// Where the jail's root is mounted, seen by the emulator alone.
    pub jail: PathBuf,
    /// What that mount is called: by it the emulator can be found where nothing else is left.
    pub root_name: String,
    /// Where the emulator is counted and limited.
    pub cgroup: Option<Place>,
    /// What it is limited to there.
    pub limits: Limits,
    /// The pod's interface, and what the guest sees of it.
    pub network: Option<(PodInterface, Nic)>,
}

impl QemuPlan {
    /// Plans the emulator for a guest.
    ///
    /// # Errors
    ///
    /// No board, an unknown board, a board that QEMU does not emulate, or no emulator on this node.
    pub fn new(spec: &GuestSpec, node: &Node) -> Result<QemuPlan, PlanError> {
        let board = find_board(spec, node)?;
        let Some(qemu) = &board.qemu else {
            return Err(PlanError::new(
                format!("board {} is not one that QEMU emulates", board.name),
                "use an image for another pedestal, or give the board profile a `qemu` section",
            ));
        };
        let network = match (&spec.interface, qemu.nic) {
            (None, _) => None,
            (Some(interface), Some(nic)) => Some((interface.clone(), nic)),
            (Some(_), None) => {
                return Err(PlanError::new(
                    format!(
                        "board {} has no network interface, so its guest cannot have the pod's",
                        board.name
                    ),
                    "leave the annotation container.network out, or name one in the board profile (`nic`)",
                ));
            }
        };
        let memory = spec.resources.memory.unwrap_or(qemu.memory);
        fits(memory, &fs::read_to_string("/proc/meminfo").unwrap_or_default())?;
        let mut arguments: Vec<String> = FIXED_ARGUMENTS.map(str::to_owned).into();
        let mut option = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        option("-name", spec.key.id.to_string());
        option("-machine", qemu.machine.as_str().to_owned());
        if let Some(cpu) = &qemu.cpu {
            option("-cpu", cpu.as_str().to_owned());
        }
        option("-m", format!("{}M", memory.0));
        option("-kernel", FIRMWARE_IN_JAIL.to_owned());
        if let Some(trace) = spec.trace.filter(|_| qemu.fw_cfg) {
            option("-fw_cfg", format!("name={TRACEPARENT},string={trace}"));
        }
        arguments.extend(qemu.args.as_slice().iter().cloned());
        Ok(QemuPlan {
            program: find_emulator(board.arch, node)?,
            arguments,
            exit: qemu.exit,
            firmware: spec.firmware.clone(),
            jail: spec.dir.join("jail"),
            root_name: root_name(&spec.key),
            cgroup: spec.cgroup.as_ref().map(|path| Place::new(path, &node.cgroups, &node.systemd)),
            limits: limits(&spec.resources),
            network,
        })
    }
}

impl QemuPlan {
    /// The pod's interface, where the guest gets it.
    pub fn interface(&self) -> Option<PodInterface> {
        self.network.as_ref().map(|(interface, _)| interface.clone())
    }
}

/// No guest can have more than the node has, nor more than is free (proc(5)): the kernel gives memory when it is touched, and
/// would kill the guest, or another one, long after it was started.
fn fits(memory: Mib, meminfo: &str) -> Result<(), PlanError> {
    let of = |name: &str| -> Option<u64> {
        let value = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_suffix("kB"));
        value?.trim().parse::<u64>().ok().map(|kib| kib / 1024)
    };
    let wanted = u64::from(memory.0);
    let asks = format!("the guest is to have {wanted} MiB of memory");
    if let Some(there) = of("MemTotal:").filter(|there| wanted > *there) {
        return Err(PlanError::new(
            format!("{asks}, and the whole node has {there} MiB"),
            "lower the container's memory limit, or choose a larger node",
        ));
    }
    if let Some(free) = of("MemAvailable:").filter(|free| wanted > *free) {
        return Err(PlanError::new(
            format!("{asks}, and {free} MiB of the node's are free"),
            "end something else, lower the container's memory limit, or choose another node",
        ));
    }
    Ok(())
}

/// What an emulator may need beside the guest's memory: its program, its heap and the code that it translates the
/// guest's into. Measured: 43 MB resident (docs/decisions/0012). A guest that uses all of its own memory must not die of it.
const OVERHEAD: Mib = Mib(128);

fn limits(resources: &Resources) -> Limits {
    let with_overhead = |memory: Mib| memory.bytes().saturating_add(OVERHEAD.bytes());
    Limits {
        weight: resources.weight,
        capacity: resources.capacity,
        cpus: resources.cpus.clone(),
        memory: resources.limit.map(with_overhead),
        min_memory: resources.min_memory.map(with_overhead),
    }
}

/// What every guest gets: paused until Start, nothing that the board profile does not name, no
/// configuration of the node's, no way to start processes or to gain privileges.
const FIXED_ARGUMENTS: [&str; 8] = [
    "-S",
    "-no-reboot",
    "-nodefaults",
    "-no-user-config",
    "-display",
    "none",
    "-sandbox",
    "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
];

fn find_board<'n>(spec: &GuestSpec, node: &'n Node) -> Result<&'n BoardProfile, PlanError> {
    let Some(name) = &spec.settings.board else {
        return Err(PlanError::new(
            "the image does not say which board it is for",
            "pack it again with --board, or start it with the annotation org.openeuler.micrun.board",
        ));
    };
    node.boards.get(name).ok_or_else(|| {
        PlanError::new(
            format!("this node knows no board {name:?}"),
            format!("add a profile to {}, or use an image for a known board", BOARDS_DIR),
        )
    })
}

fn find_emulator(arch: Arch, node: &Node) -> Result<PathBuf, PlanError> {
    let name = arch.qemu_program();
    node.find_program(name).ok_or_else(|| {
        PlanError::new(
            format!("{name} is not on this node"),
            format!("install it (Debian and Ubuntu: package {}; Yocto: qemu)", debian_package(arch)),
        )
    })
}

/// The package of Debian and Ubuntu that has the emulator for an architecture.
pub fn debian_package(arch: Arch) -> &'static str {
    match arch {
        Arch::Aarch64 | Arch::Arm => "qemu-system-arm",
        Arch::Riscv64 | Arch::Riscv32 => "qemu-system-misc",
        Arch::X86 | Arch::X86_64 => "qemu-system-x86",
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use micrun_image_spec::board::Boards;

    use super::*;
    use crate::config::{NodeConfig, Settings};
    use crate::id::{GuestName, Id, Key};
    use crate::resources::{Asked, CpuSet};
    use crate::trace::TraceContext;

    fn spec(board: Option<&str>, memory: Option<Mib>) -> GuestSpec {
        let conf = "[Mica]\nClientPath=/firmware.elf\nPedestal=qemu\nPedestalConf=\n".parse().unwrap();
        let settings = Settings::merge(&NodeConfig::default(), &conf, &Default::default()).unwrap().settings;
        let resources =
            Resources::plan(&settings.wishes, &Asked::default(), &CpuSet::first(1), None).unwrap();
        let key = Key { namespace: Id::new("n").unwrap(), id: Id::new("a").unwrap() };
        GuestSpec {
            name: GuestName::of(&key),
            key,
            dir: "/run/x".into(),
            firmware: "/run/x/firmware.elf".into(),
            pedestal_conf: None,
            settings: Settings { board: board.map(str::to_owned), ..settings },
            resources: Resources { memory, ..resources },
            trace: None,
            cgroup: None,
            interface: None,
        }
    }

    /// A node with these emulators.
    fn node(programs: &[&str]) -> (tempfile::TempDir, Node) {
        let dir = tempfile::tempdir().unwrap();
        for name in programs {
            let file = dir.path().join(name);
            fs::write(&file, "").unwrap();
            fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let node = Node::new(Boards::builtin(), [dir.path().to_owned()]);
        (dir, node)
    }

    #[test]
    fn a_missing_emulator_is_named_with_its_package() {
        let (_dir, node) = node(&["qemu-system-arm"]);
        for (board, program, package) in [
            ("qemu_arm64", "qemu-system-aarch64", "qemu-system-arm"),
            ("qemu-riscv64", "qemu-system-riscv64", "qemu-system-misc"),
            ("qemu_x86", "qemu-system-i386", "qemu-system-x86"),
        ] {
            let said = QemuPlan::new(&spec(Some(board), None), &node).unwrap_err().to_string();
            assert!(said.contains(&format!("{program} is not on this node; install it")), "{said}");
            assert!(said.contains(&format!("package {package};")), "{said}");
        }
    }

    #[test]
    fn a_board_that_is_missing_or_unknown_is_told_apart() {
        let (_dir, node) = node(&[]);
        let said = |board| QemuPlan::new(&spec(board, None), &node).unwrap_err().to_string();
        assert!(said(None).contains("does not say which board"));
        assert!(said(Some("nosuch")).contains(r#"knows no board "nosuch"; add a profile to "#));
    }

    #[test]
    fn the_emulator_gets_what_image_and_board_say_and_starts_paused() {
        let (_dir, node) = node(&["qemu-system-riscv64"]);
        let plan = QemuPlan::new(&spec(Some("qemu-riscv64"), Some(Mib(64))), &node).unwrap();
        let line = plan.arguments.join(" ");
        for part in
            ["-S ", "-no-reboot", "-nodefaults", "-sandbox on,", "-machine virt", "-m 64M", "-bios none"]
        {
            assert!(line.contains(part), "{part} in {line}");
        }
        assert_eq!(plan.exit, ExitConvention::Status);
        let default = QemuPlan::new(&spec(Some("qemu-riscv64"), None), &node).unwrap();
        assert!(default.arguments.join(" ").contains("-m 128M"), "the board's own memory");
    }

    #[test]
    fn more_memory_than_the_node_has_or_than_is_free_is_refused_with_both_numbers() {
        let meminfo = "MemTotal:  2048000 kB\nMemFree:  1024 kB\nMemAvailable:  1024000 kB\n";
        let refused = |memory| fits(Mib(memory), meminfo).unwrap_err().to_string();
        assert!(fits(Mib(1000), meminfo).is_ok());
        let said = refused(1001);
        assert!(said.contains("1001 MiB") && said.contains("1000 MiB of the node's are free; end"), "{said}");
        let said = refused(2001);
        assert!(said.contains("2001 MiB") && said.contains("has 2000 MiB; lower"), "{said}");
        assert!(fits(Mib(2001), "").is_ok(), "a node that does not say what it has");
    }

    #[test]
    fn a_guest_is_told_its_trace_where_its_machine_can() {
        let (_dir, node) = node(&["qemu-system-aarch64", "qemu-system-arm"]);
        let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let told = |board, trace| {
            let spec = GuestSpec { trace, ..spec(Some(board), None) };
            let line = QemuPlan::new(&spec, &node).unwrap().arguments.join(" ");
            line.contains(&format!("-fw_cfg name=opt/org.openeuler.micrun/traceparent,string={traceparent}"))
        };
        let trace = TraceContext::parse(traceparent);
        assert!(told("qemu_arm64", trace));
        assert!(!told("qemu_arm64", None), "there is none");
        assert!(!told("qemu_cortex_m3", trace), "QEMU's lm3s6965evb has no fw_cfg and would not start");
    }

    #[test]
    fn the_pods_interface_is_for_boards_that_have_one() {
        let (_dir, node) = node(&["qemu-system-aarch64", "qemu-system-arm", "qemu-system-i386"]);
        let plan =
            |board, interface| QemuPlan::new(&GuestSpec { interface, ..spec(Some(board), None) }, &node);
        let pod: Option<PodInterface> = serde_json::from_value("/run/netns/p".into()).unwrap();
        for (board, nic) in [("qemu_arm64", Nic::VirtioNetDevice), ("qemu_x86", Nic::E1000)] {
            let (interface, with) = plan(board, pod.clone()).unwrap().network.unwrap();
            assert_eq!((Some(interface), with), (pod.clone(), nic), "{board}");
            assert!(plan(board, None).unwrap().network.is_none(), "nobody asked for it");
        }
        let said = plan("qemu_cortex_m3", pod).unwrap_err().to_string();
        assert!(said.starts_with("board qemu_cortex_m3 has no network interface"), "{said}");
    }

    #[test]
    fn the_engines_limit_is_the_guests_and_the_emulators_own_memory_comes_on_top() {
        let resources = |limit, reservation| {
            let asked = Asked { memory: limit, reservation, ..Asked::default() };
            Resources::plan(&Default::default(), &asked, &CpuSet::first(1), None).unwrap()
        };
        let of = |limit, reservation| {
            let limits = limits(&resources(limit, reservation));
            (limits.memory, limits.min_memory)
        };
        assert_eq!(of(None, None), (None, None), "nobody limits it");
        assert_eq!(of(Some(64 << 20), Some(32 << 20)), (Some(192 << 20), Some(160 << 20)));
    }
}
