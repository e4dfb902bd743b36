//! Who wins, who is refused, and what is told about both.

use micrun_image_spec::units::Mib;
use proptest::prelude::*;

use super::*;
use crate::config::given;
use crate::resources::{Resources, Weight};

const CONF: &str = "[Mica]\nName=z\nClientPath=/firmware.elf\nPedestal=qemu\nPedestalConf=\nMemory=64\n\
                    [MicRun]\nboard=qemu_arm64\n";

fn annotations(list: &[(&str, &str)]) -> HashMap<String, String> {
    list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn node(text: &str) -> NodeConfig {
    let mut node = NodeConfig::default();
    node.add_text(Path::new("micrun.conf"), text).unwrap();
    node
}

fn merge_all(node: &NodeConfig, conf: &str, list: &[(&str, &str)]) -> Result<Merged, SettingsError> {
    Settings::merge(node, &conf.parse().unwrap(), &annotations(list))
}

fn merge(list: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    merge_all(&NodeConfig::default(), CONF, list).map(|merged| merged.settings)
}

#[test]
fn the_image_speaks_for_itself() {
    let settings = merge(&[]).unwrap();
    assert_eq!(settings.board.as_deref(), Some("qemu_arm64"));
    assert_eq!((settings.pedestal, settings.wishes.memory), (Pedestal::Qemu, Some(Mib(64))));
    assert_eq!((settings.auto_close, settings.pipe_size, settings.debug), (None, None, false));
}

#[test]
fn annotations_beat_the_image_and_todays_prefix_beats_the_old_one() {
    let board = |list| merge(list).unwrap().board.unwrap();
    assert_eq!(board(&[("org.openeuler.micran.board", "old")]), "old");
    assert_eq!(board(&[("org.openeuler.micrun.board", "new"), ("org.openeuler.micran.board", "old")]), "new");
}

#[test]
fn an_annotation_for_one_container_of_a_pod_beats_the_bare_one() {
    let bare = ("org.openeuler.micrun.board", "bare");
    let motor = ("org.openeuler.micrun.c.motor/board", "motors");
    let other = ("org.openeuler.micrun.c.other/board", "others");
    let named = ("io.kubernetes.cri.container-name", "motor");
    let board = |list: &[(&str, &str)]| merge(list).unwrap().board.unwrap();
    assert_eq!(board(&[bare, motor, other, named]), "motors");
    assert_eq!(board(&[bare, other, named]), "bare");
    assert_eq!(board(&[other, named]), "qemu_arm64");
    let alone = merge_all(&NodeConfig::default(), CONF, &[motor]).unwrap();
    assert_eq!(alone.settings.board.as_deref(), Some("qemu_arm64"));
    assert!(alone.explanation.ignored[0].why.contains("not part of a pod"));
}

#[test]
fn each_value_knows_its_source_and_what_it_won_against() {
    let node = node("[guest]\nmemory = 32\nweight = 100\n[console]\nctrl_c = false\n");
    let list =
        [("org.openeuler.micrun.board", "other"), ("org.openeuler.micrun.runtime.static_resource", "yes")];
    let told = merge_all(&node, CONF, &list).unwrap().explanation;
    let line = |name: &str| {
        let value = told.get(name).unwrap();
        let losers = value.instead_of.iter().map(|loser| format!(" | {} ({})", loser.value, loser.origin));
        format!("{} ({}){}", value.value, value.origin, losers.collect::<String>())
    };
    assert_eq!(
        line("board"),
        "other (annotation org.openeuler.micrun.board) | qemu_arm64 (board in the image's client.conf)"
    );
    assert_eq!(line("memory"), "64 MiB (Memory in the image's client.conf) | 32 MiB (micrun.conf:2)");
    assert_eq!(line("weight"), "100 (micrun.conf:3)");
    assert_eq!(line("console.ctrl_c"), "false (micrun.conf:5)");
    assert_eq!(line("exec.timeout"), "30s (default)");
    assert_eq!(line("ped.pedestal"), "qemu (Pedestal in the image's client.conf) | baremetal (default)");
    assert_eq!(
        line("runtime.static_resource"),
        "yes (annotation org.openeuler.micrun.runtime.static_resource) | no (default)"
    );
}

#[test]
fn what_has_no_meaning_is_told_once_and_ignored() {
    let conf = format!("{CONF}compatibility.libmetal=1.2\n")
        .replace("Memory=64", "Memroy=64\nNetwork=bridge=br0\nAutoBoot=yes");
    let list = [
        ("org.openeuler.micrun.nonsense", "1"),
        ("org.openeuler.micrun.runtime.hugepage_enable", "yes"),
        ("org.openeuler.micrun.runtime.disable_new_netns", "yes"),
        ("example.com/other", "%"),
    ];
    let told = merge_all(&NodeConfig::default(), &conf, &list).unwrap().explanation;
    let mut ignored: Vec<String> =
        told.ignored.iter().map(|it| format!("{}: {}", it.origin, it.why)).collect();
    ignored.sort();
    assert_eq!(
        ignored,
        [
            "AutoBoot in the image's client.conf: a guest starts when its container does",
            "Memroy in the image's client.conf: nobody reads it",
            "Network in the image's client.conf: only guests of Xen have it",
            "annotation org.openeuler.micrun.nonsense: nobody reads it",
            "annotation org.openeuler.micrun.runtime.hugepage_enable: guests get ordinary pages",
            "compatibility.libmetal in the image's client.conf: it is a note for people",
        ]
    );
}

#[test]
fn a_guest_of_qemu_is_told_what_only_hypervisors_divide() {
    let conf = CONF.replace("Memory=64", "Memory=64\nMaxMemory=128\nVCPU=1\nMaxVCPU=2");
    let node = node("[guest]\nmax_vcpus = 4\n");
    let list = [("org.openeuler.micrun.runtime.vcpu_pcpu_binding", "yes")];
    let ignored = |conf: &str| -> Vec<String> {
        let told = merge_all(&node, conf, &list).unwrap().explanation;
        told.ignored.iter().map(|it| format!("{}: {}", it.origin, it.why)).collect()
    };
    assert_eq!(
        ignored(&conf),
        [
            "MaxVCPU in the image's client.conf: a guest of QEMU has the processors of its board",
            "MaxMemory in the image's client.conf: a guest of QEMU keeps the memory that it begins with",
            "annotation org.openeuler.micrun.runtime.vcpu_pcpu_binding: a guest of QEMU runs on all cores of its cpuset",
        ]
    );
    assert!(ignored(&conf.replace("Pedestal=qemu", "Pedestal=xen")).is_empty());
}

#[test]
fn a_value_of_the_wrong_kind_is_refused_by_name() {
    for (key, value) in [
        ("container.firmware_path", "/../etc/passwd"),
        ("container.firmware_hash", "sha256:12"),
        ("runtime.debug", "maybe"),
        ("container.auto_close_timeout", "soon"),
        ("runtime.pipe_size", "many"),
        ("runtime.hugepage_enable", "perhaps"),
    ] {
        let full = annotation::key(key);
        let error = merge(&[(&full, value)]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("annotation {full}: \"{value}\": ")), "{error}");
    }
    let conf = CONF.replace("board=qemu_arm64", "runtime.debug=maybe");
    let error = merge_all(&NodeConfig::default(), &conf, &[]).unwrap_err().to_string();
    assert!(error.starts_with("runtime.debug in the image's client.conf"), "{error}");
}

#[test]
fn what_a_guest_may_have_is_read_from_all() {
    let conf = "[Mica]\nClientPath=/f\nPedestal=xen\nPedestalConf=/image.bin\nCPU=1-2\nVCPU=2\nCPUWeight=512\nMaxVCPU=3\n";
    let node = node("[guest]\nmax_vcpus = 2\ncapacity = 50\nweight = 1\n");
    let list = [
        ("org.openeuler.micrun.container.max_vcpu_num", "4"),
        ("org.openeuler.micrun.container.min_memory_mb", "16"),
        ("org.openeuler.micrun.runtime.vcpu_pcpu_binding", "yes"),
    ];
    let settings = merge_all(&node, conf, &list).unwrap().settings;
    let wishes = settings.wishes;
    assert_eq!((wishes.vcpus, wishes.max_vcpus, wishes.weight), (Some(2), Some(4), Some(512)));
    assert_eq!((wishes.capacity, wishes.min_memory), (Some(50), Some(Mib(16))));
    assert_eq!((wishes.cpus.unwrap().to_string().as_str(), wishes.pin), ("1-2", true));
    assert_eq!(settings.pedestal_conf.unwrap().as_str(), "/image.bin");
    let asked = Asked { reservation: Some(1), memory: Some(2), ..Asked::default() };
    let merged = |list: &[(&str, &str)]| merge_all(&node, conf, list).unwrap();
    assert_eq!(merged(&list).counting(asked.clone()), Asked { reservation: None, ..asked.clone() });
    assert_eq!(merged(&[]).counting(asked.clone()), asked);
    let unpinned = [list[2], ("org.openeuler.micrun.runtime.enable_vcpus_pinning", "no")];
    assert!(!merge_all(&node, conf, &unpinned).unwrap().settings.wishes.pin);
}

#[test]
fn a_kind_of_core_is_none_of_linux_cores() {
    let conf = "[Mica]\nClientPath=/f\nPedestal=hetero\nPedestalConf=/i\nCPU=riscv\n";
    let settings = merge_all(&NodeConfig::default(), conf, &[]).unwrap().settings;
    assert_eq!((settings.core_kind.as_deref(), settings.wishes.cpus), (Some("riscv"), None));
}

#[test]
fn a_container_ends_by_itself_only_where_both_are_said() {
    let closes = |on: &str, time: &str| {
        let keys = [annotation::key("container.auto_close"), annotation::key("container.auto_close_timeout")];
        let list: Vec<(&str, &str)> = [(keys[0].as_str(), on), (keys[1].as_str(), time)]
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let merged = merge_all(&NodeConfig::default(), CONF, &list).unwrap();
        let closes = merged.settings.auto_close.map(|time| time.as_secs());
        // Half of it is said to have no effect.
        let half = closes.is_none() && (on == "yes" || time == "5m");
        assert_eq!(merged.explanation.ignored.len(), usize::from(half), "{on} {time}");
        closes
    };
    for (on, time, expected) in [
        ("yes", "5m", Some(300)),
        ("yes", "30s", Some(30)),
        ("yes", "60", Some(60)),
        ("yes", "0", None),
        ("yes", "", None),
        ("", "5m", None),
        ("no", "5m", None),
    ] {
        assert_eq!(closes(on, time), expected, "{on} {time}");
    }
}

const XEN: &str = "[Mica]\nClientPath=/f\nPedestal=xen\nPedestalConf=/i\nMemory=64\n";

#[test]
fn what_reaches_into_the_node_is_denied_unless_it_is_allowed() {
    let denied = |node: &NodeConfig, conf: &str, list: &[(&str, &str)]| {
        let error = merge_all(node, conf, list).unwrap_err();
        assert!(matches!(error, SettingsError::Denied(_)), "{error}");
        error.to_string()
    };
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, &'a str);
    let table: [Case<'_>; 6] = [
        ("IOMem=0x9000,1\n", &[], "IOMem in the image's client.conf", "iomem = [\"0x9000,1\"]"),
        ("Network=bridge=br0\n", &[], "Network in the image's client.conf", "network = [\"bridge=br0\"]"),
        ("Debug=yes\n", &[], "Debug in the image's client.conf", "debug = true"),
        (
            "",
            &[("org.openeuler.micrun.runtime.debug", "on")],
            "annotation org.openeuler.micrun.runtime.debug",
            "debug = true",
        ),
        (
            "",
            &[("org.openeuler.micrun.runtime.exclusive_dom0_cpu", "1")],
            "annotation org.openeuler.micrun.runtime.exclusive_dom0_cpu",
            "exclusive_dom0_cpu = true",
        ),
        (
            "",
            &[("org.openeuler.micrun.config_path", "/etc/shadow")],
            "annotation org.openeuler.micrun.config_path",
            "config_path = [\"/etc/shadow\"]",
        ),
    ];
    for (lines, list, asker, line) in table {
        let said = denied(&NodeConfig::default(), &format!("{XEN}{lines}"), list);
        assert!(said.contains(&format!("(from: {asker})")), "{said}");
        assert!(
            said.contains(&format!("write `{line}` under [policy.allow] in /etc/mica/micrun/micrun.conf")),
            "{said}"
        );
        // The line that is told does allow it.
        let allowed = merge_all(&node(&format!("[policy.allow]\n{line}\n")), &format!("{XEN}{lines}"), list);
        assert!(!matches!(allowed, Err(SettingsError::Denied(_))), "{line}: {allowed:?}");
    }
    let allows = node("[policy.allow]\niomem = [\"0x9000,10\"]\nnetwork = [\"bridge=br*\"]\ndebug = true\n");
    let conf = format!("{XEN}IOMem=0x9000,1 0x9001,2\nNetwork=bridge=br1\nDebug=yes\n");
    let settings = merge_all(&allows, &conf, &[]).unwrap().settings;
    assert_eq!(settings.iomem.len(), 2);
    assert_eq!((settings.network.as_deref(), settings.debug), (Some("bridge=br1"), true));
    let said = denied(&allows, &conf.replace("0x9001,2", "0x9010,1"), &[]);
    assert!(said.contains("iomem = [\"0x9000,10\", \"0x9010,1\"]"), "{said}");
}

#[test]
fn the_pods_interface_is_for_guests_of_qemu_and_xen_whom_the_node_allows_it() {
    const QEMU: &str = "[Mica]\nName=x\nClientPath=/f.elf\nPedestal=qemu\n";
    let ask = [("org.openeuler.micrun.container.network", "pod")];
    let refusal = merge_all(&NodeConfig::default(), QEMU, &ask).unwrap_err();
    assert!(matches!(refusal, SettingsError::Denied(_)), "{refusal}");
    let said = refusal.to_string();
    assert!(
        said.contains("network \"pod\" (from: annotation org.openeuler.micrun.container.network)"),
        "{said}"
    );
    assert!(said.contains("write `network = [\"pod\"]` under [policy.allow]"), "{said}");

    let allows = node("[policy.allow]\nnetwork = [\"pod\"]\n");
    let merged = merge_all(&allows, QEMU, &ask).unwrap();
    assert!(merged.settings.pod_network);
    assert_eq!(merged.explanation.get("container.network").unwrap().value, "pod");
    assert!(!merge_all(&allows, QEMU, &[]).unwrap().settings.pod_network, "nobody asked for it");
    let of_image = format!("{QEMU}[MicRun]\ncontainer.network=pod\n");
    assert!(merge_all(&allows, &of_image, &[]).unwrap().settings.pod_network);
    assert!(merge_all(&allows, XEN, &ask).unwrap().settings.pod_network);
    let of_micad = QEMU.replace("qemu", "baremetal");
    let said = merge_all(&allows, &of_micad, &ask).unwrap_err().to_string();
    assert!(said.contains("guests of baremetal cannot have the pod's interface"), "{said}");
    let said = merge_all(&allows, QEMU, &[(ask[0].0, "host")]).unwrap_err().to_string();
    assert!(said.contains("write pod"), "{said}");
}

#[test]
fn a_value_that_xl_would_read_otherwise_is_no_value() {
    for line in ["IOMem=[0x9000]", "IOMem=0x9000,1;0x9001,1", "Network=bridge = br0", "Network=bridge=br0;x"]
    {
        let error = merge_all(&NodeConfig::default(), &format!("{XEN}{line}\n"), &[]).unwrap_err();
        assert!(matches!(error, SettingsError::Value { .. }), "{line}: {error}");
    }
}

#[test]
fn another_configuration_says_everything_but_what_is_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pod.conf");
    std::fs::write(&path, "[guest]\nmemory = 16\n[console]\nctrl_c = false\n[policy.allow]\ndebug = true\n")
        .unwrap();
    let node = node(&format!(
        "[guest]\nweight = 9\n[policy.allow]\nconfig_path = [\"{}/*\"]\n",
        dir.path().display()
    ));
    let named = path.display().to_string();
    let list = [("org.openeuler.micrun.config_path", named.as_str())];
    let conf = XEN.replace("Memory=64\n", "");
    let merged = merge_all(&node, &conf, &list).unwrap();
    let wishes = &merged.settings.wishes;
    assert_eq!((wishes.memory, wishes.weight, merged.config.console.ctrl_c), (Some(Mib(16)), None, false));
    assert_eq!(merged.explanation.get("memory").unwrap().origin.to_string(), format!("{named}:2"));
    assert_eq!(merged.config.policy, node.policy);
    let error = merge_all(&node, &format!("{conf}Debug=yes\n"), &list).unwrap_err();
    assert!(matches!(error, SettingsError::Denied(_)), "{error}");
    std::fs::write(&path, "[gest]\n").unwrap();
    let error = merge_all(&node, &conf, &list).unwrap_err().to_string();
    assert!(error.contains("pod.conf:1:2: there is no key `gest`"), "{error}");
}

/// Some value or none.
fn some<T: std::fmt::Debug + Clone>(values: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    prop::option::of(values)
}

proptest! {
    /// What the explanation calls decided by the engine does not move when the image says something else.
    #[test]
    fn the_explanation_of_resources_is_true(
        quota in some(-1..400_000_i64), shares in some(2..4096_u64), memory in some(-1..(1_i64 << 28)),
        cpus in some(prop::collection::vec(0..4_u32, 1..4)), weight in 1..1000_u32, capacity in 0..300_u32, mib in 1..64_u32,
    ) {
        let asked = Asked {
            quota, weight: shares.map(Weight::of_shares), memory, cpus: cpus.map(|cpus| cpus.into_iter().collect()), ..Asked::default()
        };
        let there = CpuSet::first(4);
        let given = |more: u32| {
            let conf = format!(
                "{}Memory={}\nCPUWeight={}\nCPUCapacity={}\n",
                XEN.replace("Memory=64\n", ""), mib + more, weight + more, capacity + more * 300
            );
            let mut merged = merge_all(&NodeConfig::default(), &conf, &[]).unwrap();
            let given = Resources::plan(&merged.settings.wishes, &asked, &there, None).unwrap();
            given::settle(&mut merged.explanation, &asked, &given);
            (given, merged.explanation)
        };
        let ((before, told), (after, _)) = (given(0), given(1));
        let by_engine = |name: &str| matches!(told.get(name).unwrap().origin, Origin::Spec { .. });
        prop_assert_eq!(by_engine("memory"), before.memory == after.memory);
        prop_assert_eq!(by_engine("weight"), before.weight == after.weight);
        if by_engine("capacity") {
            prop_assert_eq!(before.capacity, after.capacity);
        }
        prop_assert_eq!(told.get("memory").unwrap().value.clone(), before.memory.unwrap().to_string());
    }
}
