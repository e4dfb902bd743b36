//! The client and the simulator against each other. Neither uses the other's code, so what they agree on is the
//! protocol, or a mistake that was made twice.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

mod common;

use std::path::Path;
use std::time::Duration;

use common::{Daemon, firmware, until};
use libmica::command::{Command, Key, Setting};
use libmica::reply::Reply;
use libmica::{ClientName, Create, Error, Micad, Pedestal, State, Status};
use micad_sim::wire::{control, create, status};
use proptest::prelude::*;

/// Runs what is asked for to its end.
fn done<T>(request: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(request)
}

fn name(text: &str) -> ClientName {
    ClientName::new(text).unwrap()
}

fn bare_metal(text: &str, core: &str) -> Create {
    let mut message = Create::new(name(text), firmware(), Pedestal::Baremetal);
    message.cpus = core.to_owned();
    message
}

fn domain(text: &str) -> Create {
    let mut message = Create::new(name(text), firmware(), Pedestal::Xen);
    message.pedestal_conf = Some(firmware().to_owned());
    (message.vcpus, message.memory) = (Some(1), Some(64));
    message
}

#[test]
fn every_command_is_carried_out() {
    let daemon = Daemon::start(|_| {});
    let micad = Micad::new(daemon.sim.dir());
    let a = name("a");
    done(async {
        let mut message = domain("a");
        message.cpus = "0-1".to_owned();
        micad.create(&message).await.unwrap();
        assert_eq!(micad.status(&a).await.unwrap(), Status { state: State::Offline, services: Vec::new() });
        micad.start(&a).await.unwrap();
        for (key, value) in [
            (Key::Cpu, "1-3"),
            (Key::Vcpu, "1"),
            (Key::CpuWeight, "512"),
            (Key::CpuCapacity, "50"),
            (Key::Memory, "32"),
            (Key::MaxMemory, "128"),
        ] {
            micad.set(&a, Setting::new(key, value).unwrap()).await.unwrap();
        }
        micad.stop(&a).await.unwrap();
        assert_eq!(micad.status(&a).await.unwrap().state, State::Offline);
        micad.remove(&a).await.unwrap();
    });
    assert!(daemon.guests().is_empty());
}

#[test]
fn ttys_are_found_under_both_names() {
    for naming in [micad_sim::tty::Naming::Legacy, micad_sim::tty::Naming::ClientName] {
        let daemon = Daemon::start(|options| options.naming = naming);
        let micad = Micad::new(daemon.sim.dir());
        done(async {
            micad.create(&bare_metal("a", "3")).await.unwrap();
            micad.start(&name("a")).await.unwrap();
        });
        let link = daemon.tty(1);
        let status = done(micad.status(&name("a"))).unwrap();
        assert_eq!(status.ttys(daemon.sim.dev()).collect::<Vec<_>>(), [&*link]);
        assert_eq!(status.state, State::Running);
    }
}

#[test]
fn refusals_are_told_apart() {
    let daemon = Daemon::start(|_| {});
    let micad = Micad::new(daemon.sim.dir());
    done(async {
        let mut message = bare_metal("a", "3");
        micad.create(&message).await.unwrap();
        assert!(matches!(micad.create(&message).await, Err(Error::NameTaken { .. })));
        message.firmware = "/nowhere/a.elf".into();
        let refused = micad.create(&message).await.unwrap_err();
        assert!(refused.to_string().contains("No such file: /nowhere/a.elf"), "{refused}");
        assert!(matches!(micad.start(&name("b")).await, Err(Error::UnknownClient { .. })));
        let setting = Setting::new(Key::Vcpu, 1).unwrap();
        assert!(matches!(micad.set(&name("a"), setting).await, Err(Error::Refused { .. })));
        micad.remove(&name("a")).await.unwrap();
    });
}

#[test]
fn faults_become_the_errors_that_they_are() {
    let daemon = Daemon::start(|_| {});
    let micad = Micad::new(daemon.sim.dir()).patience(Duration::from_secs(60));
    let a = name("a");
    let status = || done(micad.status(&a));
    done(micad.create(&bare_metal("a", "3"))).unwrap();

    daemon.order("status slow 300");
    daemon.order("status split 1");
    assert_eq!([status().unwrap().state, status().unwrap().state], [State::Offline; 2]);
    daemon.order("status refuse out of memory");
    assert!(matches!(status(), Err(Error::Refused { reason, .. }) if reason.contains("out of memory")));
    daemon.order("status cut");
    assert!(matches!(status(), Err(Error::Broken { .. })));
    daemon.order("status die");
    assert!(matches!(status(), Err(Error::Broken { .. })));
    assert!(matches!(status(), Err(Error::Dead { .. })));
    daemon.order("restart");
    assert!(matches!(status(), Err(Error::UnknownClient { .. })));
}

#[test]
fn a_hung_daemon_is_given_up() {
    let daemon = Daemon::start(|_| {});
    let a = name("a");
    done(Micad::new(daemon.sim.dir()).create(&bare_metal("a", "3"))).unwrap();
    daemon.order("status hang");
    // The deadlines are long; what hangs is let go instead, and until then there is no answer.
    let asked = std::thread::scope(|scope| {
        let asked = scope.spawn(|| done(Micad::new(daemon.sim.dir()).status(&a)));
        std::thread::sleep(Duration::from_millis(200));
        assert!(!asked.is_finished());
        daemon.order("clear");
        asked.join().unwrap()
    });
    assert_eq!(asked.unwrap().state, State::Offline);
    until("no fault", || done(Micad::new(daemon.sim.dir()).status(&a)).ok());
}

/// A number as the message has it.
fn sent(number: Option<u32>) -> i32 {
    number.map_or(-1, |number| i32::try_from(number).unwrap())
}

fn text(max: usize) -> impl Strategy<Value = String> {
    proptest::string::string_regex(&format!("[a-zA-Z0-9/,.=-]{{0,{max}}}")).unwrap()
}

proptest! {
    #[test]
    fn what_the_client_packs_is_what_the_daemon_reads(
        client in "[a-z][a-z0-9-]{0,64}",
        pedestal in prop::sample::select(vec![
            Pedestal::Baremetal, Pedestal::Jailhouse, Pedestal::Xen, Pedestal::Hetero
        ]),
        texts in (text(255), text(255), text(127), text(511), text(511)),
        debug: bool,
        numbers in prop::array::uniform6(prop::option::of(0_u32..1 << 31)),
    ) {
        let mut message = Create::new(name(&client), format!("/{}", &texts.0[..texts.0.len().min(254)]), pedestal);
        message.pedestal_conf = Some(texts.1.clone().into());
        (message.cpus, message.iomem, message.network) = (texts.2, texts.3, texts.4);
        message.debug = debug;
        [message.vcpus, message.max_vcpus, message.cpu_weight, message.cpu_capacity, message.memory, message.max_memory] =
            numbers;
        // What it refuses is its own matter.
        let Ok(bytes) = message.encode() else { return Ok(()) };
        let read = create::Create::decode(&bytes);
        prop_assert_eq!(read.name.to_str(), Some(client.as_str()));
        prop_assert_eq!(&read.path, &message.firmware);
        prop_assert_eq!(read.pedestal.to_str(), Some(pedestal.word()));
        prop_assert_eq!(read.pedestal_conf, Path::new(&texts.1));
        prop_assert_eq!(read.debug, debug);
        prop_assert_eq!(read.cpu.to_str(), Some(message.cpus.as_str()));
        prop_assert_eq!(read.iomem.to_str(), Some(message.iomem.as_str()));
        prop_assert_eq!(read.network.to_str(), Some(message.network.as_str()));
        let read = [read.vcpus, read.max_vcpus, read.weight, read.capacity, read.memory, read.max_memory];
        prop_assert_eq!(read, numbers.map(sent));
    }

    #[test]
    fn settings_arrive_whole(key in prop::sample::select(Key::ALL.to_vec()), value in "[0-9][0-9,-]{0,25}") {
        let Ok(setting) = Setting::new(key, &value) else { return Ok(()) };
        let text = Command::Set(setting).text();
        let read = control::Command::decode(text.as_bytes());
        prop_assert_eq!(read, control::Command::Set { key: key.word().into(), value: value.into() });
    }

    #[test]
    fn status_lines_are_understood(
        client in "[a-z][a-z0-9-]{0,64}",
        cpu in "[0-9,-]{0,127}",
        state in prop::sample::select(State::ALL.to_vec()),
        ttys in 0_usize..13,
    ) {
        let services: String = (0..ttys).map(|number| format!("rpmsg-tty(/dev/ttyRPMSG{}) ", number % 10)).collect();
        let line = status::line(client.as_bytes(), cpu.as_bytes(), state.word(), &services);
        let read = Status::parse(std::str::from_utf8(&line).unwrap()).unwrap();
        prop_assert_eq!(read.state, state);
        // Nine fit into 255 bytes, a tenth is cut.
        prop_assert_eq!(read.ttys(Path::new("/dev")).count(), ttys.min(9));
        let answer = [&line[..], micad_sim::wire::SUCCESS].concat();
        prop_assert!(matches!(Reply::parse(&answer), Some(Reply::Success(_))));
    }
}
