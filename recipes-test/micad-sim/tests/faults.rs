//! The fault matrix: each fault, and what a client sees of it. README.md has it as a table.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

mod common;

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use common::{Daemon, Message, answer, ask, firmware, started, until};

/// A daemon with a client `a` that was never started.
fn with_client() -> Daemon {
    let daemon = Daemon::start(|_| {});
    let firmware = daemon.file("a.elf", b"no ELF");
    assert_eq!(daemon.create(&Message::bare("a", &firmware, "3")), "MICA-SUCCESS");
    daemon
}

/// A connection on which a command was sent and no answer comes.
fn unanswered(daemon: &Daemon, command: &str) -> UnixStream {
    let mut connection = UnixStream::connect(daemon.socket("a")).unwrap();
    connection.write_all(command.as_bytes()).unwrap();
    connection.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let error = connection.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    connection.set_read_timeout(None).unwrap();
    connection
}

#[test]
fn slow_holds_everybody_up() {
    let daemon = with_client();
    daemon.order("stop slow 400");
    let start = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| assert_eq!(daemon.tell("a", "stop"), "MICA-SUCCESS"));
        // Whichever of the two came first, the other was not served beside it.
        assert!(daemon.tell("a", "status").ends_with("MICA-SUCCESS"));
    });
    assert!(start.elapsed() >= Duration::from_millis(400));
}

#[test]
fn hang_goes_on_once_it_is_cleared() {
    let daemon = with_client();
    daemon.order("stop hang");
    let mut first = unanswered(&daemon, "stop");
    let mut second = unanswered(&daemon, "status");
    daemon.order("clear");
    assert_eq!(answer(&mut first), "MICA-SUCCESS");
    assert!(answer(&mut second).ends_with("MICA-SUCCESS"));
}

#[test]
fn hang_ends_with_the_daemon() {
    let daemon = with_client();
    daemon.order("any hang");
    let mut first = unanswered(&daemon, "stop");
    let mut second = unanswered(&daemon, "status");
    daemon.order("restart");
    assert_eq!([answer(&mut first), answer(&mut second)], ["", ""]);
    assert!(!daemon.socket("a").exists());
}

#[test]
fn refuse_says_why_and_does_nothing() {
    let daemon = with_client();
    daemon.order("rm refuse the client is busy");
    assert_eq!(daemon.tell("a", "rm"), "the client is busyMICA-FAILED");
    assert_eq!(daemon.state("a"), "Offline");
    daemon.order("create refuse no more memory");
    let missing = std::path::Path::new("/nowhere");
    assert_eq!(daemon.create(&Message::bare("b", missing, "1")), "no more memoryMICA-FAILED");
}

#[test]
fn cut_ends_an_answer_in_its_marker() {
    let daemon = with_client();
    daemon.order("every rm cut");
    assert_eq!(daemon.tell("a", "rm"), "MICA-S");
    // It was done all the same.
    until("the socket to go", || (!daemon.socket("a").exists()).then_some(()));
}

#[test]
fn die_leaves_stale_sockets() {
    let daemon = with_client();
    daemon.order("status die");
    let half = daemon.tell("a", "status");
    assert!(half.starts_with("a ") && half.ends_with("MICA-S"), "{half}");
    for name in ["a", "mica-create"] {
        let error = UnixStream::connect(daemon.socket(name)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{name}");
    }
    daemon.order("restart");
    assert!(UnixStream::connect(daemon.socket("mica-create")).is_ok());
    assert!(!daemon.socket("a").exists());
}

#[test]
fn the_xl_of_a_domain_holds_the_sockets_of_a_dead_daemon() {
    let daemon = Daemon::start(|_| {});
    assert_eq!(daemon.create(&Message::xen("a", firmware())), "MICA-SUCCESS");
    let mut starter = UnixStream::connect(daemon.socket("a")).unwrap();
    starter.write_all(b"start").unwrap();
    assert_eq!(answer(&mut starter), "MICA-SUCCESS");
    // The connection has no end, although the daemon closed it.
    starter.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert_eq!(starter.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    // Connections are taken, and nobody is there.
    daemon.order("crash");
    let mut connection = unanswered(&daemon, "status");
    // The next daemon has sockets of its own, whatever waits at the old ones.
    daemon.order("restart");
    assert_eq!(daemon.create(&Message::bare("b", firmware(), "3")), "MICA-SUCCESS");
    daemon.order("kill a");
    starter.set_read_timeout(None).unwrap();
    assert_eq!([answer(&mut starter), answer(&mut connection)], ["", ""]);
}

#[test]
fn split_sends_one_byte_after_the_other() {
    let daemon = with_client();
    daemon.order("stop split 20");
    let mut connection = UnixStream::connect(daemon.socket("a")).unwrap();
    connection.write_all(b"stop").unwrap();
    let mut pieces = Vec::new();
    let mut buffer = [0; 64];
    loop {
        match connection.read(&mut buffer).unwrap() {
            0 => break,
            length => pieces.push(buffer[..length].to_vec()),
        }
    }
    assert_eq!(pieces.concat(), b"MICA-SUCCESS");
    assert!(pieces.len() > 1);
}

#[test]
fn table_fails_a_start_after_the_domain_was_made() {
    let daemon = Daemon::start(|_| {});
    assert_eq!(daemon.create(&Message::xen("a", firmware())), "MICA-SUCCESS");
    daemon.order("start table");
    assert_eq!(daemon.tell("a", "start"), "MICA-FAILED");
    assert_eq!((daemon.state("a"), daemon.guests()), ("Offline".to_owned(), vec!["a".to_owned()]));
    // The paused domain is in the way of the next start, too.
    assert_eq!(daemon.tell("a", "start"), "MICA-FAILED");
}

#[test]
fn a_restarted_daemon_takes_a_core_over_and_loses_a_domain() {
    let daemon = Daemon::start(|_| {});
    started(&daemon, &Message::bare("core", firmware(), "3"));
    let link = daemon.tty(1);
    started(&daemon, &Message::xen("domain", firmware()));
    daemon.tty(2);
    daemon.order("restart");
    // Both run on. The links stay, and lead nowhere or to somebody else's pty.
    assert_eq!(daemon.guests().len(), 2);
    assert!(fs::symlink_metadata(&link).is_ok());
    let before = daemon.sim.guests().unwrap();

    started(&daemon, &Message::bare("core", firmware(), "3"));
    assert_eq!(daemon.sim.guests().unwrap(), before);
    assert_eq!(daemon.state("core"), "Running");
    assert_eq!(daemon.create(&Message::xen("domain", firmware())), "MICA-SUCCESS");
    assert_eq!(daemon.tell("domain", "start"), "MICA-FAILED");
}

#[test]
fn a_restarted_daemon_cannot_take_over_a_guest_that_does_not_listen() {
    let daemon = Daemon::start(|_| {});
    started(&daemon, &Message::bare("a", firmware(), "3"));
    daemon.order("deaf a");
    daemon.order("restart");
    assert_eq!(daemon.create(&Message::bare("a", firmware(), "3")), "MICA-SUCCESS");
    assert_eq!(daemon.tell("a", "start"), "MICA-FAILED");
    assert_eq!(daemon.guests(), ["a"]);
}

#[test]
fn a_tty_that_is_lost_comes_back() {
    let daemon = Daemon::start(|_| {});
    started(&daemon, &Message::bare("a", firmware(), "3"));
    let link = daemon.tty(1);
    daemon.order("lose-tty a");
    assert!(fs::symlink_metadata(&link).is_err());
    assert!(!daemon.tell("a", "status").contains("rpmsg-tty"));
    assert_eq!((daemon.state("a"), daemon.guests()), ("Running".to_owned(), vec!["a".to_owned()]));
    assert_eq!(daemon.sim.order("lose-tty a").unwrap_err().to_string(), "a has no tty");
    daemon.order("give-tty a");
    assert_eq!(daemon.tty(1), link);
    common::Tty::raw(&link).expect("micrun> ");
}

#[test]
fn orders_for_nobody_are_refused() {
    let daemon = Daemon::start(|_| {});
    for order in ["lose-tty a", "give-tty a", "deaf a", "kill a", "off a"] {
        assert!(daemon.sim.order(order).unwrap_err().to_string().starts_with("there is no "), "{order}");
    }
    assert!(daemon.sim.order("explode").unwrap_err().to_string().starts_with("`explode` is no order"));
    // They change nothing.
    assert_eq!(ask(&daemon.socket("mica-create"), b"x"), "No such file: MICA-FAILED");
}
