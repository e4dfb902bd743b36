//! Every command and every answer, byte by byte. No guest runs here.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

mod common;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

use common::{Daemon, Message, answer, ask};
use micad_sim::wire::create::{Create, LENGTH};
use micad_sim::wire::table::{self, Found, Table};
use proptest::prelude::*;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../crates/libmica/tests/golden");

/// An ELF file with nothing but a resource table.
const ELF: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/micad_sim/good.elf");

fn golden(name: &str) -> (Vec<u8>, Create) {
    let bytes = fs::read(format!("{GOLDEN}/{name}.create.bin")).unwrap();
    let message = Create::decode(&bytes);
    (bytes, message)
}

/// The values of the file that the original's client made the message from.
fn conf(name: &str, key: &str) -> String {
    let text = fs::read_to_string(format!("{GOLDEN}/{name}.conf")).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    value.unwrap_or_default().to_owned()
}

#[test]
fn messages_of_the_original_client_are_read() {
    for name in ["xen", "baremetal", "hetero", "edges"] {
        let (bytes, message) = golden(name);
        assert_eq!(bytes.len(), LENGTH);
        // Numbers and texts alike; an unset number is -1, an unset text empty.
        let expected = |key: &str| conf(name, key);
        let number = |key: &str| expected(key).parse().unwrap_or(-1);
        assert_eq!(message.name, *expected("Name"));
        assert_eq!(message.path, Path::new(&expected("ClientPath")));
        assert_eq!(message.pedestal, *expected("Pedestal"));
        assert_eq!(message.pedestal_conf, Path::new(&expected("PedestalConf")));
        assert_eq!(message.debug, expected("Debug") == "yes");
        assert_eq!(message.cpu, *expected("CPU"));
        assert_eq!(message.iomem, *expected("IOMem"));
        assert_eq!(message.network, *expected("Network"));
        let numbers = [
            message.vcpus,
            message.max_vcpus,
            message.weight,
            message.capacity,
            message.memory,
            message.max_memory,
        ];
        let keys = ["VCPU", "MaxVCPU", "CPUWeight", "CPUCapacity", "Memory", "MaxMemory"];
        assert_eq!(numbers, keys.map(number), "{name}");
    }
}

#[test]
fn the_life_of_a_client() {
    let daemon = Daemon::start(|_| {});
    let firmware = daemon.file("a.elf", b"no ELF");
    let message = Message::bare("a", &firmware, "3");

    assert_eq!(daemon.create(&message), "MICA-SUCCESS");
    assert_eq!(daemon.create(&message), "a is already createdMICA-FAILED");
    assert_eq!(
        daemon.create(&Message::bare("mica-create", &firmware, "3")),
        "mica-create is already createdMICA-FAILED"
    );
    let line = format!("{:<30}{:<20}{:<20}MICA-SUCCESS", "a", "3", "Offline");
    assert_eq!(daemon.tell("a", "status"), line);
    assert_eq!(daemon.tell("a", "stop"), "MICA-SUCCESS");
    assert_eq!(daemon.tell("a", "start"), "MICA-FAILED");
    assert_eq!(daemon.tell("a", "rm"), "MICA-SUCCESS");
    common::until("the socket to go", || (!daemon.socket("a").exists()).then_some(()));
    assert_eq!(daemon.create(&message), "MICA-SUCCESS");
}

#[test]
fn a_file_that_is_missing_is_the_only_other_refusal_with_words() {
    let daemon = Daemon::start(|_| {});
    let missing = Path::new("/nowhere/a.elf");
    assert_eq!(daemon.create(&Message::bare("a", missing, "3")), "No such file: /nowhere/a.elfMICA-FAILED");

    let firmware = daemon.file("a.elf", b"no ELF");
    for (what, message) in [
        ("a core that does not exist", Message::bare("a", &firmware, "4")),
        ("a name that is no file name", Message::bare("a/b", &firmware, "3")),
        ("xen without vcpus", Message { numbers: [-1, -1, -1, -1, 64, -1], ..Message::xen("a", &firmware) }),
        ("xen without memory", Message { numbers: [1, -1, -1, -1, -1, -1], ..Message::xen("a", &firmware) }),
        ("xen without an image", Message { conf: Path::new(""), ..Message::xen("a", &firmware) }),
        ("hetero on another core", Message { pedestal: "hetero", ..Message::bare("a", &firmware, "arm") }),
        ("jailhouse without a cell", Message { pedestal: "jailhouse", ..Message::bare("a", &firmware, "") }),
    ] {
        assert_eq!(daemon.create(&message), "MICA-FAILED", "{what}");
        assert!(!daemon.socket("a").exists());
    }
}

#[test]
fn an_unknown_pedestal_is_bare_metal() {
    let daemon = Daemon::start(|_| {});
    let firmware = daemon.file("a.elf", b"no ELF");
    // The CPU text of a Xen guest is a core's number here.
    let message = Message { pedestal: "Xen", ..Message::bare("a", &firmware, "1-3") };
    assert_eq!(daemon.create(&message), "MICA-SUCCESS");
    assert_eq!(daemon.tell("a", "set cpu 1"), "MICA-FAILED");
}

#[test]
fn a_create_message_is_one_recv() {
    let daemon = Daemon::start(|_| {});
    let firmware = daemon.file("a.elf", b"no ELF");
    let bytes = Message::bare("a", &firmware, "3").pack();
    // What comes after the first piece is nobody's.
    let mut connection = UnixStream::connect(daemon.socket("mica-create")).unwrap();
    connection.write_all(&bytes[..66]).unwrap();
    assert_eq!(answer(&mut connection), "No such file: MICA-FAILED");
    // What is longer than the message, too.
    assert_eq!(ask(&daemon.socket("mica-create"), &[&bytes[..], b"more"].concat()), "MICA-SUCCESS");
}

#[test]
fn a_control_message_has_32_bytes_and_set_has_31() {
    let daemon = Daemon::start(|_| {});
    let firmware = daemon.file("a.elf", b"no ELF");
    daemon.create(&Message::bare("a", &firmware, "3"));
    let long = "x".repeat(40);
    assert_eq!(daemon.tell("a", &long), format!("Invalid command: {}MICA-FAILED", "x".repeat(32)));
    assert_eq!(daemon.tell("a", "start\n"), "Invalid command: start\nMICA-FAILED");
    assert_eq!(daemon.tell("a", "pause"), "Invalid command: pauseMICA-FAILED");
    let usage = "Invalid set command. Usage: set <key> <value>MICA-FAILED";
    assert_eq!(daemon.tell("a", "set cpu"), usage);
    assert_eq!(daemon.tell("a", "set cpu 1 2"), usage);
    // The 2 is the 31st byte here, and the 32nd there.
    assert_eq!(daemon.tell("a", "set cpu 1,1,1,1,1,1,1,1,1,1,1 2"), usage);
    assert_eq!(daemon.tell("a", "set cpu 01,1,1,1,1,1,1,1,1,1,1 2"), "MICA-FAILED");
    // Whoever connects and leaves has sent an empty command.
    drop(UnixStream::connect(daemon.socket("a")).unwrap());
    assert_eq!(daemon.state("a"), "Offline");
}

#[test]
fn an_idle_connection_blocks_everybody() {
    let daemon = Daemon::start(|_| {});
    let firmware = daemon.file("a.elf", b"no ELF");
    daemon.create(&Message::bare("a", &firmware, "3"));
    let idle = UnixStream::connect(daemon.socket("a")).unwrap();
    let mut waiting = common::until("the daemon to wait for it", || {
        let mut connection = UnixStream::connect(daemon.socket("a")).unwrap();
        connection.write_all(b"status").unwrap();
        connection.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        // An answer: this one came first.
        connection.read(&mut [0]).is_err().then_some(connection)
    });
    drop(idle);
    waiting.set_read_timeout(None).unwrap();
    assert!(answer(&mut waiting).ends_with("MICA-SUCCESS"));
}

#[test]
fn debugging_is_asked_for_at_creation() {
    let daemon = Daemon::start(|_| {});
    let firmware = daemon.file("a.elf", b"no ELF");
    daemon.create(&Message::bare("a", &firmware, "3"));
    daemon.create(&Message { debug: true, ..Message::bare("b", &firmware, "3") });
    assert_eq!(daemon.tell("a", "gdb"), "The elf file does not support debugging\nMICA-FAILED");
    let line = daemon.tell("b", "gdb");
    assert!(
        line.starts_with(&format!("gdb {} -ex 'set remotetimeout unlimited' ", firmware.display())),
        "{line}"
    );
    assert!(line.ends_with("MICA-SUCCESS"), "{line}");
}

#[test]
fn the_directory_is_emptied_at_the_start() {
    let daemon = Daemon::start(|options| {
        fs::create_dir_all(&options.dir).unwrap();
        fs::write(options.dir.join("left.socket"), "").unwrap();
    });
    let names: Vec<_> =
        fs::read_dir(daemon.sim.dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["mica-create.socket"]);
}

#[test]
fn clients_may_come_from_many_threads() {
    let daemon = Daemon::start(|_| {});
    let firmware = daemon.file("a.elf", b"no ELF");
    thread::scope(|scope| {
        for number in 0..40 {
            let (daemon, firmware) = (&daemon, &firmware);
            scope.spawn(move || {
                let name = format!("guest-{number}");
                assert_eq!(daemon.create(&Message::bare(&name, firmware, "1")), "MICA-SUCCESS");
                assert_eq!(daemon.state(&name), "Offline");
                assert_eq!(daemon.tell(&name, "rm"), "MICA-SUCCESS");
            });
        }
    });
}

#[test]
fn a_resource_table_is_found_by_its_section() {
    let bytes = fs::read(ELF).unwrap();
    let Found::Table(table) = table::find(&bytes) else { panic!("{:?}", table::find(&bytes)) };
    let table = Table::decode(table).unwrap();
    assert!(table.has_rpmsg(true) && !table.has_ring_buffers());
    assert_eq!(table::find(b"no ELF file"), Found::NoElf);
}

proptest! {
    #[test]
    fn a_damaged_firmware_file_is_survived(changes in proptest::collection::vec((0_usize..512, any::<u8>()), 1..8)) {
        let mut bytes = fs::read(ELF).unwrap();
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        if let Found::Table(table) = table::find(&bytes) {
            // Whatever it says: what matters is that it says something.
            let _ = Table::decode(table);
        }
    }

    #[test]
    fn any_bytes_are_a_create_message(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let message = Create::decode(&bytes);
        prop_assert!(message.name.len() < 66 && !message.name.as_bytes().contains(&0));
        prop_assert!(message.path.as_os_str().len() < 256);
        prop_assert!(message.network.len() < 512);
    }
}
