//! What the daemon would be told, and what it is not even asked.

use micrun_image_spec::board::Boards;
use micrun_image_spec::client_conf::ClientConf;

use super::*;
use crate::config::{NodeConfig, Settings};
use crate::id::{GuestName, Id, Key};
use crate::resources::Asked;

const CONF: &str = "[Mica]\nName=x\nClientPath=/firmware.elf\n";

fn node() -> Node {
    let mut node = Node::new(Boards::builtin(), []);
    (node.on_xen, node.cores) = (true, CpuSet::first(8));
    node
}

/// A container of an image with these lines in its client.conf, for which the engine asks this.
fn spec(lines: &str, asked: &Asked) -> GuestSpec {
    let conf: ClientConf = format!("{CONF}{lines}\n").parse().unwrap();
    let settings = Settings::merge(&NodeConfig::default(), &conf, &Default::default()).unwrap().settings;
    let key = Key { namespace: Id::new("default").unwrap(), id: Id::new("0").unwrap() };
    GuestSpec {
        name: GuestName::of(&key),
        key,
        dir: "/run/x".into(),
        firmware: "/run/x/firmware.elf".into(),
        pedestal_conf: settings.pedestal_conf.is_some().then(|| "/run/x/pedestal.conf".into()),
        resources: Resources::plan(&settings.wishes, asked, &CpuSet::first(8), None).unwrap(),
        cgroup: None,
        interface: None,
        settings,
        trace: None,
    }
}

fn plan(lines: &str) -> Result<MicadPlan, PlanError> {
    MicadPlan::new(&spec(lines, &Asked::default()), &node(), Path::new("/dev"))
}

fn refused(lines: &str) -> String {
    plan(lines).unwrap_err().to_string()
}

#[test]
fn a_domain_gets_what_image_and_engine_say() {
    let asked = Asked {
        weight: Some(Weight::of_shares(2048)),
        quota: Some(150_000),
        cpus: Some("1-2".parse().unwrap()),
        memory: Some(48 << 20),
        ..Asked::default()
    };
    let lines = "Pedestal=xen\nPedestalConf=/image.bin\nMemory=64\nMaxMemory=128\nMaxVCPU=4";
    let spec = spec(lines, &asked);
    let plan = MicadPlan::new(&spec, &node(), Path::new("/dev")).unwrap();
    let create = &plan.create;
    assert_eq!(create.name.as_str(), spec.name.as_str());
    assert_eq!(create.firmware, Path::new("/run/x/firmware.elf"));
    assert_eq!(create.pedestal, libmica::Pedestal::Xen);
    assert_eq!(create.pedestal_conf.as_deref(), Some(Path::new("/run/x/pedestal.conf")));
    assert_eq!((create.cpus.as_str(), create.vcpus, create.max_vcpus), ("1-2", Some(2), Some(4)));
    assert_eq!((create.cpu_weight, create.cpu_capacity), (Some(512), Some(150)));
    assert_eq!((create.memory, create.max_memory), (Some(48), None));
    assert_eq!(plan.beyond, Beyond { pin: None, max_vcpus: 4, max_memory: Some(Mib(128)) });
    assert!(!create.debug && create.iomem.is_empty() && create.network.is_empty());
    assert_eq!(plan.claims(), [Claim::Memory(Mib(48))]);
}

#[test]
fn the_pods_interface_is_not_micads_to_give() {
    let mut spec = spec("Pedestal=xen\nPedestalConf=/image.bin", &Asked::default());
    spec.interface = Some(serde_json::from_value("/run/netns/p".into()).unwrap());
    let said = MicadPlan::new(&spec, &node(), Path::new("/dev")).unwrap_err().to_string();
    assert!(
        said.starts_with("guests of micad cannot have the pod's interface; leave the annotation"),
        "{said}"
    );
}

#[test]
fn nothing_is_made_up_for_a_domain() {
    let create = plan("Pedestal=xen\nPedestalConf=/image.bin\nMemory=64").unwrap().create;
    assert_eq!(
        (create.cpus.as_str(), create.vcpus, create.cpu_weight, create.cpu_capacity),
        ("", Some(1), None, None)
    );
}

#[test]
fn a_limit_is_never_more_than_the_virtual_cpus_can_use() {
    let create =
        plan("Pedestal=xen\nPedestalConf=/image.bin\nMemory=64\nCPUCapacity=500\nMaxVCPU=2").unwrap().create;
    assert_eq!(create.cpu_capacity, Some(200));
}

#[test]
fn the_other_pedestals_get_their_core_and_their_file() {
    let bare = plan("CPU=3").unwrap();
    assert_eq!((bare.create.cpus.as_str(), bare.create.pedestal_conf.is_none()), ("3", true));
    assert_eq!((bare.create.memory, bare.create.vcpus), (None, None));
    assert_eq!(bare.claims(), [Claim::Core(3)]);

    let cell = plan("Pedestal=jailhouse\nPedestalConf=/demo.cell\nCPU=2-3").unwrap();
    assert_eq!(cell.create.cpus, "2-3");
    assert!(cell.create.pedestal_conf.is_some());
    assert_eq!(cell.claims(), [Claim::Core(2), Claim::Core(3)]);

    let riscv = plan("Pedestal=hetero\nPedestalConf=/image.bin\nCPU=riscv").unwrap();
    assert_eq!(riscv.create.cpus, "riscv");
    assert_eq!(riscv.claims(), [Claim::Coprocessor("riscv".to_owned())]);
}

#[test]
fn pinned_cores_are_the_guests_alone() {
    let mut spec =
        spec("Pedestal=xen\nPedestalConf=/image.bin\nMemory=64\nCPU=2-3\nVCPU=2", &Asked::default());
    spec.resources.pin = true;
    let plan = MicadPlan::new(&spec, &node(), Path::new("/dev")).unwrap();
    assert_eq!(plan.beyond.pin.as_ref().unwrap().to_string(), "2-3");
    assert_eq!(plan.claims(), [Claim::Core(2), Claim::Core(3), Claim::Memory(Mib(64))]);
}

#[test]
fn what_micad_cannot_do_is_refused_with_a_remedy() {
    for (lines, fault, remedy) in [
        (
            "Pedestal=xen\nPedestalConf=\nMemory=64",
            "the image has no boot image, which xen needs",
            "--boot-image",
        ),
        ("Pedestal=xen\nPedestalConf=/i", "how much memory the guest gets", "memory limit"),
        ("Pedestal=jailhouse\nPedestalConf=", "has no configuration of a cell", "PedestalConf"),
        ("Pedestal=hetero\nPedestalConf=\nCPU=riscv", "the image has no boot image", "--boot-image"),
        ("Pedestal=hetero\nPedestalConf=/i\nCPU=arm", "no kind of core \"arm\"", "riscv"),
        ("Pedestal=hetero\nPedestalConf=/i", "no kind of core \"\"", "riscv"),
        ("", "which core the guest runs on", "a cpuset of one core"),
        ("CPU=2-3", "has one core, and this one was given 2", "a cpuset of one core"),
        ("CPU=0", "core 0 belongs to Linux", "maxcpus="),
    ] {
        let said = refused(lines);
        assert!(said.contains(fault) && said.contains(remedy), "{lines:?}: {said}");
    }
    let mut no_xen = node();
    no_xen.on_xen = false;
    let xen = spec("Pedestal=xen\nPedestalConf=/i\nMemory=64", &Asked::default());
    let said = MicadPlan::new(&xen, &no_xen, Path::new("/dev")).unwrap_err().to_string();
    assert!(said.contains("does not run on Xen"), "{said}");
}

#[test]
fn what_does_not_fit_is_refused_before_anything_exists() {
    let mut long = spec("CPU=3", &Asked::default());
    long.firmware = format!("/{}", "x".repeat(255)).into();
    let said = MicadPlan::new(&long, &node(), Path::new("/dev")).unwrap_err().to_string();
    assert!(said.contains("the path of the firmware has 256 bytes, and micad takes 255 at most"), "{said}");
}
