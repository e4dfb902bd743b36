//! The create message beside those that the original client sent.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop at once")]

use std::path::PathBuf;

use libmica::{ClientName, Create, FieldError, Pedestal, create};
use proptest::prelude::*;

fn golden(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A message taken apart by the offsets of the C struct, written down here once more.
#[derive(Debug, PartialEq)]
struct Decoded {
    texts: [String; 7],
    debug: u8,
    padding: u8,
    numbers: [i32; 6],
}

fn decode(message: &[u8]) -> Decoded {
    assert_eq!(message.len(), 1772);
    let text = |from: usize, size: usize| {
        let field = &message[from..from + size];
        let end = field.iter().position(|&byte| byte == 0).expect("a text ends inside its field");
        assert!(field[end..].iter().all(|&byte| byte == 0), "the rest of the field at {from} is NUL");
        String::from_utf8(field[..end].to_vec()).unwrap()
    };
    let number = |at: usize| i32::from_ne_bytes(message[at..at + 4].try_into().unwrap());
    Decoded {
        texts: [
            text(0, 66),
            text(66, 256),
            text(322, 16),
            text(338, 256),
            text(595, 128),
            text(748, 512),
            text(1260, 512),
        ],
        debug: message[594],
        padding: message[723],
        numbers: [724, 728, 732, 736, 740, 744].map(number),
    }
}

fn client(name: &str, firmware: &str, pedestal: Pedestal) -> Create {
    Create::new(ClientName::new(name).unwrap(), firmware, pedestal)
}

#[test]
fn baremetal_is_what_the_original_client_sends() {
    let create =
        Create { cpus: "3".to_owned(), ..client("guest-a", "/lib/firmware/a.elf", Pedestal::Baremetal) };
    assert!(create.encode().unwrap() == golden("baremetal.create.bin"));
}

#[test]
fn hetero_is_what_the_original_client_sends() {
    let create = Create {
        cpus: "riscv".to_owned(),
        pedestal_conf: Some("/lib/firmware/l.bin".into()),
        ..client("liteos", "/lib/firmware/l.elf", Pedestal::Hetero)
    };
    assert!(create.encode().unwrap() == golden("hetero.create.bin"));
}

fn xen() -> Create {
    Create {
        pedestal_conf: Some("/run/micrun/x/image.bin".into()),
        debug: true,
        cpus: "1-3".to_owned(),
        vcpus: Some(2),
        max_vcpus: Some(4),
        cpu_weight: Some(512),
        cpu_capacity: Some(150),
        memory: Some(64),
        max_memory: Some(128),
        ..client("0a1b2c3d4e5f-00112233445566aa", "/run/micrun/x/firmware.elf", Pedestal::Xen)
    }
}

#[test]
fn xen_is_what_the_original_client_sends() {
    assert!(xen().encode().unwrap() == golden("xen.create.bin"));
}

/// A Jailhouse guest whose every text fills its field.
fn edges() -> Create {
    let fill = |start: &str, letter: &str, length: usize, end: &str| {
        format!("{start}{}{end}", letter.repeat(length - start.len() - end.len()))
    };
    Create {
        pedestal_conf: Some(fill("/", "c", 255, "").into()),
        cpus: fill("", "1", 127, ""),
        iomem: fill("[", "i", 511, "]"),
        network: fill("", "w", 511, ""),
        ..client(&fill("", "n", 65, ""), &fill("/", "p", 255, ""), Pedestal::Jailhouse)
    }
}

#[test]
fn full_fields_are_what_the_original_client_sends() {
    assert!(edges().encode().unwrap() == golden("edges.create.bin"));
}

#[test]
fn the_golden_messages_have_the_layout_of_the_daemon() {
    let xen = decode(&golden("xen.create.bin"));
    assert_eq!(xen.texts[0], "0a1b2c3d4e5f-00112233445566aa");
    assert_eq!(xen.texts[4], "1-3");
    assert_eq!((xen.debug, xen.padding), (1, 0));
    assert_eq!(xen.numbers, [2, 4, 512, 150, 64, 128]);
    assert_eq!(decode(&golden("baremetal.create.bin")).numbers, [-1; 6]);
    assert_eq!(
        decode(&golden("edges.create.bin")).texts.map(|text| text.len()),
        [65, 255, 9, 255, 127, 511, 511]
    );
}

#[test]
fn one_byte_more_is_refused_by_name_length_and_limit() {
    let more = |field: &str, limit: usize| {
        format!("{field} has {} bytes, and micad takes {limit} at most", limit + 1)
    };
    let long = |path: &Option<PathBuf>| Some(format!("{}x", path.as_ref().unwrap().display()).into());
    let message = |create: Create| create.encode().unwrap_err().to_string();
    let all = edges();
    assert_eq!(ClientName::new("n".repeat(66)).unwrap_err().to_string(), more("the client's name", 65));
    let firmware = long(&Some(all.firmware.clone())).unwrap();
    assert_eq!(message(Create { firmware, ..edges() }), more("the path of the firmware", 255));
    assert_eq!(
        message(Create { pedestal_conf: long(&all.pedestal_conf), ..edges() }),
        more("PedestalConf", 255)
    );
    assert_eq!(message(Create { cpus: all.cpus.clone() + ",", ..edges() }), more("CPU", 127));
    assert_eq!(message(Create { iomem: all.iomem.clone() + " ", ..edges() }), more("IOMem", 511));
    assert_eq!(message(Create { network: all.network.clone() + "w", ..edges() }), more("Network", 511));
}

#[test]
fn a_number_that_would_turn_negative_is_refused() {
    let create = Create { memory: Some(1 << 31), ..xen() };
    let error = create.encode().unwrap_err();
    assert_eq!(error, FieldError::TooLarge { field: "Memory", value: 1 << 31, limit: (1 << 31) - 1 });
}

#[test]
fn what_would_become_another_line_of_the_domain_is_refused() {
    let network = |network: &str| Create { network: network.to_owned(), ..xen() }.encode();
    assert!(network("bridge=xenbr0").is_ok());
    for injected in ["a\nkernel = \"/etc/shadow\"", "a\0b", "a\" \"b", "a\\", "\u{7f}"] {
        assert!(
            matches!(network(injected), Err(FieldError::Character { field: "Network", .. })),
            "{injected:?}"
        );
    }
    let firmware = Create { firmware: "/a\nb".into(), ..xen() };
    assert!(firmware.encode().is_err());
    let none = Create { firmware: "".into(), ..xen() };
    assert!(matches!(none.encode(), Err(FieldError::Empty { .. })));
}

#[test]
fn names_that_stand_for_something_else_are_refused() {
    for name in ["", ".", "..", "0", "4711", "mica-create", "a/b", "a b", "a\nb", "a\0", "ü", "a\"b"] {
        assert!(ClientName::new(name).is_err(), "{name:?}");
    }
    for name in ["a", "0a", "0-1", "guest_1.2"] {
        assert_eq!(ClientName::new(name).unwrap().as_str(), name);
    }
}

proptest! {
    #[test]
    fn whatever_is_encoded_reads_back(
        name in "[a-z][a-zA-Z0-9._-]{0,64}",
        firmware in "/[ -~]{0,254}",
        conf in proptest::option::of("/[a-z/.]{0,254}"),
        debug: bool,
        cpus in "[0-9,-]{0,127}",
        iomem in "[ -~]{0,511}",
        numbers: [Option<u16>; 6],
    ) {
        let [vcpus, max_vcpus, cpu_weight, cpu_capacity, memory, max_memory] = numbers.map(|n| n.map(u32::from));
        let create = Create {
            pedestal_conf: conf.clone().map(PathBuf::from), debug, cpus: cpus.clone(), iomem: iomem.clone(),
            vcpus, max_vcpus, cpu_weight, cpu_capacity, memory, max_memory,
            ..client(&name, &firmware, Pedestal::Xen)
        };
        let message = create.encode().unwrap();
        prop_assert_eq!(message.len(), create::LENGTH);
        prop_assert_eq!(decode(&message), Decoded {
            texts: [name, firmware, "xen".to_owned(), conf.unwrap_or_default(), cpus, iomem, String::new()],
            debug: u8::from(debug),
            padding: 0,
            numbers: numbers.map(|number| number.map_or(-1, i32::from)),
        });
    }

    #[test]
    fn any_text_is_encoded_whole_or_refused(text: String, firmware: String) {
        if let Ok(name) = ClientName::new(text.clone()) {
            let mut create = Create::new(name, firmware, Pedestal::Xen);
            create.network = text.clone();
            create.iomem = text.clone();
            create.cpus = text;
            if let Ok(message) = create.encode() {
                prop_assert_eq!(&decode(&message).texts[6], &create.network);
            }
        }
    }
}
