//! Guests that run: in QEMU, with the test firmware, one story for each pedestal.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

mod common;

use std::fs;
use std::io::Write as _;
use std::path::Path;

use common::{BAD_TABLE, Daemon, Message, NO_RPMSG, RING_BUFFERS, Tty, firmware, firmware_with};
use common::{firmware_without_table, started, until};
use micad_sim::tty::{FirstWords, Naming};
use nix::sys::termios::{LocalFlags, OutputFlags, tcgetattr};

#[test]
fn a_guest_speaks_through_its_tty() {
    let daemon = Daemon::start(|_| {});
    started(&daemon, &Message::bare("a", firmware(), "3"));
    let link = daemon.tty(1);
    assert_eq!(link, daemon.sim.dev().join("ttyRPMSG0"));
    let line = format!(
        "{:<30}{:<20}{:<20}rpmsg-tty({}) rpmsg-rpc rpmsg-umt MICA-SUCCESS",
        "a",
        "3",
        "Running",
        link.display()
    );
    assert_eq!(daemon.tell("a", "status"), line);

    let mut tty = Tty::raw(&link);
    // The firmware ends lines with CR LF, of which the LF becomes another CR LF.
    assert!(tty.expect("micrun> ").contains("\r\r\n"));
    tty.0.write_all(b"echo one  two\r").unwrap();
    tty.expect("\none  two");
    assert_eq!(daemon.tell("a", "start"), "MICA-FAILED");

    assert_eq!(daemon.tell("a", "stop"), "MICA-SUCCESS");
    assert!(fs::symlink_metadata(&link).is_err());
    assert_eq!(daemon.state("a"), "Offline");
    // It was asked, and turns itself off a little later.
    until("the guest to end", || daemon.guests().is_empty().then_some(()));
    started_again(&daemon, "a");
}

fn started_again(daemon: &Daemon, name: &str) {
    assert_eq!(daemon.tell(name, "start"), "MICA-SUCCESS", "{:?}", daemon.sim.journal());
    Tty::raw(&daemon.tty(1)).expect("micrun> ");
}

#[test]
fn the_pty_is_left_cooked_and_stops_the_guest_when_full() {
    let daemon = Daemon::start(|options| options.first_words = FirstWords::WhenSpokenTo);
    started(&daemon, &Message::bare("a", firmware(), "3"));
    let mut tty = Tty::open(&daemon.tty(1));
    let modes = tcgetattr(&tty.0).unwrap();
    assert!(modes.local_flags.contains(LocalFlags::ECHO | LocalFlags::ICANON));
    assert!(modes.output_flags.contains(OutputFlags::OPOST));

    // Nothing comes before the first word from here.
    drop(tty);
    tty = Tty::raw(&daemon.tty(1));
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(tty.read(), "");
    tty.0.write_all(b"flood 9999\r").unwrap();
    tty.expect("micrun> ");
    // Nobody reads; the guest cannot finish, and nothing of it is lost.
    std::thread::sleep(std::time::Duration::from_millis(300));
    tty.expect("009999");
}

#[test]
fn a_guest_that_does_not_listen_keeps_its_core() {
    let daemon = Daemon::start(|_| {});
    started(&daemon, &Message::bare("a", firmware(), "3"));
    daemon.order("deaf a");
    assert_eq!(daemon.tell("a", "stop"), "MICA-SUCCESS");
    assert_eq!(daemon.state("a"), "Offline");
    assert_eq!(daemon.tell("a", "start"), "MICA-FAILED");
    assert_eq!(daemon.guests(), ["a"]);
    // Core 0 is Linux's.
    assert_eq!(daemon.create(&Message::bare("b", firmware(), "0")), "MICA-SUCCESS");
    assert_eq!(daemon.tell("b", "start"), "MICA-FAILED");
}

#[test]
fn only_a_guest_that_writes_it_down_is_seen_to_be_off() {
    let daemon = Daemon::start(|options| options.naming = Naming::ClientName);
    started(&daemon, &Message::bare("a", firmware(), "2"));
    started(&daemon, &Message::bare("b", firmware(), "3"));
    until("both ttys", || (fs::read_dir(daemon.sim.dev()).unwrap().count() == 2).then_some(()));
    daemon.order("off a");
    Tty::raw(&daemon.sim.dev().join("ttyRPMSG_b_0")).0.write_all(b"poweroff\r").unwrap();
    until("both to end", || daemon.guests().is_empty().then_some(()));
    // Nobody noticed until now.
    assert!(fs::symlink_metadata(daemon.sim.dev().join("ttyRPMSG_a_0")).is_ok());
    assert_eq!(daemon.state("a"), "Offline");
    assert!(fs::symlink_metadata(daemon.sim.dev().join("ttyRPMSG_a_0")).is_err());
    assert_eq!(daemon.state("b"), "Running");
}

#[test]
fn a_domain_that_crashed_is_not_noticed() {
    let daemon = Daemon::start(|_| {});
    started(&daemon, &Message::xen("a", firmware()));
    daemon.order("kill a");
    assert_eq!(daemon.guests(), [""; 0]);
    assert_eq!(daemon.state("a"), "Running");
    assert_eq!(daemon.tell("a", "stop"), "MICA-SUCCESS");
    assert_eq!(daemon.state("a"), "Running");
    assert_eq!(daemon.tell("a", "start"), "MICA-FAILED");
    // The way out: rm, create, start.
    assert_eq!(daemon.tell("a", "rm"), "MICA-SUCCESS");
    until("the socket to go", || (!daemon.socket("a").exists()).then_some(()));
    started(&daemon, &Message::xen("a", firmware()));
    assert_eq!(daemon.guests(), ["a"]);
}

#[test]
fn a_domain_is_configured_and_changed_with_xl() {
    let daemon = Daemon::start(|_| {});
    let message = Message { numbers: [2, 4, 512, 0, 64, 64], cpu: "1-3", ..Message::xen("a", firmware()) };
    started(&daemon, &message);
    let config = daemon.sim.dir().with_file_name("xen").join("a-xen.cfg");
    let expected = format!(
        "name = \"a\"\nvcpus = 2\nmemory = 64\nkernel = \"{}\"\ngic_version = \"v3\"\nacpi = 0\nmaxvcpus = 4\n\
         maxmem = 64\ncpus = \"1-3\"\ncpu_weight = 512\ncap = 0\n",
        firmware().display()
    );
    assert_eq!(fs::read_to_string(&config).unwrap(), expected);

    for set in ["CPU 0-1", "vcpu 1", "CPUWeight 256", "cpucapacity 50", "memory 32", "MaxMemory 64"] {
        assert_eq!(daemon.tell("a", &format!("set {set}")), "MICA-SUCCESS", "{set}");
    }
    for set in ["maxvcpu 2", "cpucap 5", "MaxMem 5", "cpu 9", "vcpu two"] {
        assert_eq!(daemon.tell("a", &format!("set {set}")), "MICA-FAILED", "{set}");
    }
    assert!(daemon.tell("a", "status").starts_with(&format!("{:<30}{:<20}Running", "a", "0-1")));

    assert_eq!(daemon.tell("a", "stop"), "MICA-SUCCESS");
    assert_eq!((daemon.guests().len(), daemon.state("a")), (0, "Offline".to_owned()));
    assert_eq!(daemon.tell("a", "set vcpu 1"), "MICA-FAILED");
    started_again(&daemon, "a");
    assert_eq!(daemon.tell("a", "rm"), "MICA-SUCCESS");
    assert!(!config.exists());
}

#[test]
fn a_domain_cannot_be_made_with_more_memory_to_come() {
    let daemon = Daemon::start(|_| {});
    let message = Message { numbers: [1, -1, -1, -1, 64, 128], ..Message::xen("a", firmware()) };
    assert_eq!(daemon.create(&message), "MICA-SUCCESS");
    assert_eq!(daemon.tell("a", "start"), "MICA-FAILED");
    assert_eq!(daemon.guests(), [""; 0]);
}

#[test]
fn a_start_that_fails_leaves_things_behind() {
    let daemon = Daemon::start(|_| {});
    // A table that cannot be parsed: the paused domain stays, whatever is asked.
    let bad = daemon.file("bad.elf", &firmware_with(BAD_TABLE));
    assert_eq!(daemon.create(&Message::xen("bad", &bad)), "MICA-SUCCESS");
    assert_eq!(daemon.tell("bad", "start"), "MICA-FAILED");
    assert_eq!(daemon.state("bad"), "Offline");
    for command in ["stop", "rm"] {
        assert_eq!(daemon.tell("bad", command), "MICA-SUCCESS");
        assert_eq!(daemon.guests(), ["bad"]);
    }
    // No table at all: the client is left in between, and rm does end the domain.
    let none = daemon.file("none.elf", &firmware_without_table());
    assert_eq!(daemon.create(&Message::xen("none", &none)), "MICA-SUCCESS");
    assert_eq!(daemon.tell("none", "start"), "MICA-FAILED");
    assert_eq!((daemon.state("none"), daemon.guests().len()), ("Ready".to_owned(), 2));
    assert_eq!(daemon.tell("none", "rm"), "MICA-SUCCESS");
    assert_eq!(daemon.guests(), ["bad"]);
}

#[test]
fn a_start_without_rpmsg_fails_and_leaves_a_guest_that_runs() {
    let daemon = Daemon::start(|_| {});
    let none = daemon.file("none.elf", &firmware_with(NO_RPMSG));
    assert_eq!(daemon.create(&Message::bare("core", &none, "1")), "MICA-SUCCESS");
    assert_eq!(daemon.tell("core", "start"), "MICA-FAILED");
    assert_eq!((daemon.state("core"), daemon.guests().len()), ("Running".to_owned(), 1));
    // It has no services, and stops as any other.
    assert!(daemon.tell("core", "status").ends_with("Running             MICA-SUCCESS"));
    assert_eq!(daemon.tell("core", "stop"), "MICA-SUCCESS");

    // A core finds the vrings without being told, a domain does not.
    let untold = daemon.file("untold.elf", &firmware_with(RING_BUFFERS));
    started(&daemon, &Message::bare("told", &untold, "2"));
    assert_eq!(daemon.create(&Message::xen("domain", &untold)), "MICA-SUCCESS");
    assert_eq!(daemon.tell("domain", "start"), "MICA-FAILED");
    assert_eq!(daemon.state("domain"), "Running");
}

#[test]
fn debugging_needs_ring_buffers() {
    let daemon = Daemon::start(|_| {});
    let debug = |name, path, core| Message { debug: true, ..Message::bare(name, path, core) };
    assert_eq!(daemon.create(&debug("a", firmware(), "1")), "MICA-SUCCESS");
    assert_eq!(daemon.tell("a", "start"), "MICA-FAILED");
    assert_eq!(daemon.state("a"), "Running");
    let buffers = daemon.file("buffers.elf", &firmware_with(RING_BUFFERS));
    started(&daemon, &debug("b", &buffers, "2"));
    assert!(daemon.tell("b", "status").contains("debug-rtos-kernel "));
}

#[test]
fn a_core_without_a_table_takes_the_daemon_down() {
    let daemon = Daemon::start(|_| {});
    let none = daemon.file("none.elf", &firmware_without_table());
    assert_eq!(daemon.create(&Message::bare("a", &none, "3")), "MICA-SUCCESS");
    assert_eq!(daemon.tell("a", "start"), "MICA-FAILED");
    assert_eq!(daemon.state("a"), "Ready");
    // It writes into the table that is not there. systemd starts it again.
    assert_eq!(daemon.tell("a", "stop"), "");
    until("the daemon", || daemon.socket("mica-create").exists().then_some(()));
    assert!(!daemon.socket("a").exists());
}

#[test]
fn a_co_processor_is_never_turned_off() {
    let daemon = Daemon::start(|_| {});
    let message = Message { pedestal: "hetero", ..Message::bare("a", firmware(), "riscv") };
    started(&daemon, &message);
    assert_eq!(daemon.tell("a", "stop"), "MICA-SUCCESS");
    assert_eq!((daemon.state("a"), daemon.guests()), ("Offline".to_owned(), vec!["a".to_owned()]));
    assert_eq!(daemon.tell("a", "rm"), "MICA-SUCCESS");
    assert_eq!(daemon.guests(), ["a"]);
}

#[test]
fn a_cell_is_there_from_create_to_rm() {
    let daemon = Daemon::start(|_| {});
    let mut cell = b"JHCLL\x02\x0d\0demo-cell".to_vec();
    cell.resize(44, 0);
    let conf = daemon.file("a.cell", &cell);
    let cell = |name| Message { pedestal: "jailhouse", conf: &conf, ..Message::bare(name, firmware(), "") };
    started(&daemon, &cell("a"));
    assert_eq!(daemon.create(&cell("b")), "MICA-FAILED");
    assert_eq!(daemon.sim.guests().unwrap()[0].place.to_string(), "cell demo-cell");
    assert_eq!(daemon.tell("a", "stop"), "MICA-SUCCESS");
    assert_eq!(daemon.guests(), [""; 0]);
    assert_eq!(daemon.create(&cell("b")), "MICA-FAILED");
    assert_eq!(daemon.tell("a", "rm"), "MICA-SUCCESS");
    until("rm to be over", || (daemon.create(&cell("b")) == "MICA-SUCCESS").then_some(()));
}

#[test]
fn guests_end_with_the_simulator() {
    let daemon = Daemon::start(|_| {});
    started(&daemon, &Message::bare("a", firmware(), "3"));
    let pid = daemon.sim.guests().unwrap()[0].pid.unwrap();
    let folder = daemon.sim.dir().parent().unwrap().to_owned();
    assert!(Path::new(&format!("/proc/{pid}")).exists());
    drop(daemon);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert!(!folder.exists());
}
