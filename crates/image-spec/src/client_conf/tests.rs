use super::*;

fn parse(text: &str) -> Result<ClientConf, ClientConfError> {
    text.parse()
}

fn problem(text: &str) -> (Option<usize>, Problem) {
    let error = parse(text).unwrap_err();
    (error.line, error.problem)
}

#[test]
fn reads_what_an_image_carries() {
    let conf = parse(
        "# made by hand\n[Mica]\nclientpath = firmware.elf\nPEDESTAL: Xen\nPedestalConf=/image.bin\r\n\
         VCPU=2\nMaxVCPU=4\nMemory=064\nAutoBoot=On\n; and ours\n[MicRun]\nContainer.OS=zephyr\n",
    )
    .unwrap();
    assert_eq!(conf.client_path().unwrap().as_str(), "/firmware.elf");
    assert_eq!(conf.pedestal(), Pedestal::Xen);
    assert_eq!(conf.pedestal_conf().unwrap().as_str(), "/image.bin");
    assert_eq!((conf.vcpu(), conf.max_vcpu()), (Some(2), Some(4)));
    assert_eq!(conf.memory(), Some(Mib(64)));
    assert_eq!(conf.auto_boot(), Some(true));
    assert_eq!(conf.micrun()["container.os"], "zephyr");
}

#[test]
fn writes_the_same_bytes_whatever_the_order() {
    let a = parse("[MicRun]\nboard=b\n[Mica]\nMemory=64\nfoo=1\nClientPath=/f\nBar=2\n").unwrap();
    let b = parse("[Mica]\nBar=2\nCLIENTPATH=f\nmemory=64\nfoo=1\n[MicRun]\nBOARD=b\n").unwrap();
    let text = "[Mica]\nClientPath=/f\nPedestal=baremetal\nPedestalConf=\nMemory=64\nBar=2\nfoo=1\n\n\
                [MicRun]\nboard=b\n";
    assert_eq!(a.to_string(), text);
    assert_eq!(b.to_string(), text);
    assert_eq!(a.unknown_keys().collect::<Vec<_>>(), ["Bar", "foo"]);
}

#[test]
fn names_the_line() {
    assert_eq!(problem("[Mica]\n\nVCPU=two\n").0, Some(3));
    let error = parse("[Mica]\nMemory=0\n").unwrap_err().to_string();
    assert_eq!(error, "client.conf line 2: Memory is `0`: write a number from 1 to 2147483647");
}

#[test]
fn refuses_what_micad_would_misread() {
    use Problem::*;
    assert!(matches!(problem("[Mica]\nName=a\n  b\n"), (Some(3), Continuation)));
    assert!(matches!(problem("[mica]\nName=a\n"), (Some(1), UnknownSection(_))));
    assert!(matches!(problem("[DEFAULT]\nName=a\n[Mica]\n"), (Some(1), UnknownSection(_))));
    assert!(matches!(problem("[Mica]\nName=a\nNAME=b\n"), (Some(3), DuplicateKey(_))));
    assert!(matches!(problem("[Mica]\nfoo=a\nFOO=b\n"), (Some(3), DuplicateKey(_))));
    assert!(matches!(problem("[Mica]\n[Mica]\n"), (Some(2), DuplicateSection(_))));
    assert!(matches!(problem("Name=a\n[Mica]\n"), (Some(1), KeyOutsideSection)));
    assert!(matches!(problem("[Mica]\nName\n"), (Some(2), NotAKey(_))));
    assert!(matches!(problem("[Mica]\n=x\n"), (Some(2), NotAKey(_))));
    assert!(matches!(problem("[MicRun]\nboard=b\n"), (None, NoMicaSection)));
    for value in ["50%", "a\"b", "it's", "a\tb", "a\u{7f}", "ü", "a\rb", "\0"] {
        let text = format!("[Mica]\nIOMem=x{value}x\n");
        assert!(matches!(problem(&text), (Some(2), RefusedCharacter { .. })), "{value:?}");
    }
}

#[test]
fn keeps_micads_limits() {
    for (key, longest) in [("Name", 65), ("IOMem", 511), ("Network", 511)] {
        assert!(parse(&format!("[Mica]\n{key}={}\n", "1".repeat(longest))).is_ok(), "{key}");
        let over = problem(&format!("[Mica]\n{key}={}\n", "1".repeat(longest + 1))).1;
        assert!(matches!(over, Problem::TooLong { .. }), "{key}");
    }
    for key in ["ClientPath", "PedestalConf"] {
        assert!(parse(&format!("[Mica]\n{key}=/{}\n", "p".repeat(254))).is_ok());
        assert!(parse(&format!("[Mica]\n{key}=/{}\n", "p".repeat(255))).is_err());
    }
    assert!(parse(&format!("[Mica]\nCPU={}\n", "1".repeat(127))).is_ok());
    assert!(parse(&format!("[Mica]\nCPU={}\n", "1".repeat(128))).is_err());
    for bad in [
        "Name=",
        "Name=a/b",
        "Name=a b",
        "ClientPath=",
        "ClientPath=/../x",
        "ClientPath=/x /",
        "Pedestal=kvm",
        "CPU=one core",
        "CPUWeight=0",
        "CPUWeight=65536",
        "CPUCapacity=-1",
        "VCPU=0",
        "VCPU=+1",
        "VCPU=",
        "Memory=64M",
        "Memory=2147483648",
        "Memory=99999999999999999999",
        "AutoBoot=maybe",
    ] {
        assert_eq!(parse(&format!("[Mica]\n{bad}\n")).unwrap_err().line, Some(2), "{bad}");
    }
}

#[test]
fn a_maximum_is_not_below_what_it_limits() {
    assert!(parse("[Mica]\nMemory=64\nMaxMemory=64\n").is_ok());
    assert!(matches!(problem("[Mica]\nMaxMemory=63\nMemory=64\n"), (None, Problem::MaximumBelow { .. })));
    let mut conf = ClientConf::default();
    conf.set("vcpu", "4").unwrap();
    conf.set("MaxVcpu", "2").unwrap();
    assert!(conf.validate().is_err());
    conf.set("MaxVcpu", "8").unwrap();
    assert_eq!(conf.validate(), Ok(()));
}

#[test]
fn is_bounded() {
    let huge = format!("[Mica]\n{}", "#".repeat(ClientConf::MAX_BYTES));
    assert!(matches!(problem(&huge), (None, Problem::FileTooLarge { .. })));
    assert_eq!(ClientConf::from_bytes(b"[Mica]\nName=\xff\n").unwrap_err().problem, Problem::NotText);
}

#[test]
fn a_program_cannot_make_one_that_is_too_large() {
    let mut conf = ClientConf::default();
    for number in 0..16 {
        conf.set_micrun(&format!("key{number}"), &"x".repeat(4096)).unwrap();
    }
    assert!(matches!(conf.validate().unwrap_err().problem, Problem::FileTooLarge { .. }));
}

#[test]
fn a_program_can_fill_one_in() {
    let mut conf = ClientConf::default();
    conf.set("ClientPath", "firmware.elf").unwrap();
    conf.set("Pedestal", "qemu").unwrap();
    conf.set("PedestalConf", "").unwrap();
    conf.set_micrun("board", "qemu_arm64").unwrap();
    assert!(conf.set("Name", "a\nb").is_err());
    assert!(conf.set_micrun("no spaces", "x").is_err());
    assert_eq!(conf.to_string().parse(), Ok(conf));
}
