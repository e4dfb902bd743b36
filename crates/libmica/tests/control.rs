//! Control messages, answers and status lines as text.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop at once")]

use std::path::Path;

use libmica::command::MAX_LEN;
use libmica::reply::Reply;
use libmica::{Command, FieldError, Key, Setting, State, Status};
use proptest::prelude::*;

#[test]
fn every_command_is_the_word_of_the_daemon() {
    let set = |key, value: &str| Command::Set(Setting::new(key, value).unwrap());
    let table = [
        (Command::Start, "start"),
        (Command::Stop, "stop"),
        (Command::Remove, "rm"),
        (Command::Status, "status"),
        (set(Key::Cpu, "0-3,5"), "set cpu 0-3,5"),
        (set(Key::Vcpu, "2"), "set vcpu 2"),
        (set(Key::CpuWeight, "256"), "set cpuweight 256"),
        (set(Key::CpuCapacity, "0"), "set cpucapacity 0"),
        (set(Key::Memory, "64"), "set memory 64"),
        (set(Key::MaxMemory, "128"), "set maxmemory 128"),
    ];
    for (command, text) in table {
        assert_eq!(command.text(), text);
    }
}

#[test]
fn byte_32_is_never_sent() {
    let cores = "0-3,5,7,9,11,13,15,17-1"; // 23 characters: all that fits behind `set cpu `
    assert_eq!(Command::Set(Setting::new(Key::Cpu, cores).unwrap()).text().len(), MAX_LEN);
    let error = Setting::new(Key::Cpu, format!("{cores}9")).unwrap_err();
    assert_eq!(error, FieldError::TooLong { field: "cpu", length: 24, limit: 23 });
    assert_eq!(error.to_string(), "cpu has 24 bytes, and micad takes 23 at most");
}

#[test]
fn values_are_one_word_that_is_no_option() {
    for (key, value) in [
        (Key::Memory, "64\n"),
        (Key::Memory, "64 65"),
        (Key::Memory, "64m"),
        (Key::Memory, "-1"),
        (Key::Memory, "1,2"),
        (Key::Cpu, "-c"),
        (Key::Cpu, "all"),
        (Key::Cpu, ",1"),
        (Key::Vcpu, ""),
    ] {
        assert!(Setting::new(key, value).is_err(), "{key:?} {value:?}");
    }
}

proptest! {
    #[test]
    fn a_setting_fits_or_is_refused(value: String, list in "[0-9,-]{0,40}", key in proptest::sample::select(&Key::ALL)) {
        for value in [value, list] {
            if let Ok(setting) = Setting::new(key, &value) {
                let text = Command::Set(setting).text();
                prop_assert!(text.len() <= MAX_LEN && text.ends_with(&value) && !text.contains('\n'));
                prop_assert_eq!(text.split(' ').count(), 3);
            }
        }
    }
}

#[test]
fn an_answer_is_complete_when_it_ends_in_a_marker() {
    let parse = |text: &str| Reply::parse(text.as_bytes());
    assert_eq!(parse("MICA-SUCCESS"), Some(Reply::Success(String::new())));
    assert_eq!(parse("MICA-FAILED"), Some(Reply::Failed(String::new())));
    assert_eq!(
        parse("x is already createdMICA-FAILED"),
        Some(Reply::Failed("x is already created".to_owned()))
    );
    assert_eq!(
        parse("MICA-FAILED here, MICA-SUCCESS"),
        Some(Reply::Success("MICA-FAILED here, ".to_owned()))
    );
    assert_eq!(parse("text\nMICA-SUCCESS\n"), Some(Reply::Success("text\n".to_owned())));
    for incomplete in ["", "MICA-SUCC", "MICA-FAIL", "text", "MICA-SUCCESS and more"] {
        assert_eq!(parse(incomplete), None, "{incomplete:?}");
    }
}

/// The daemon's own format: `"%-30s%-20s%-20s%s"`.
fn line(name: &str, cpus: &str, state: &str, services: &str) -> String {
    format!("{name:<30}{cpus:<20}{state:<20}{services}")
}

#[test]
fn every_state_is_found() {
    for state in State::ALL {
        let status = Status::parse(&line("guest-a", "3", state.word(), "")).unwrap();
        assert_eq!((status.state, status.services.len()), (state, 0));
    }
    assert_eq!(Status::parse(&line("guest-a", "3", "(null)", "")), None);
    assert_eq!(Status::parse(&line("guest-a", "3", "Runningwild", "")), None);
}

#[test]
fn columns_that_run_into_each_other_hide_no_state() {
    for name in ["n".repeat(29), "n".repeat(30), "n".repeat(31), "nnnnnnnnnnnn...n".to_owned()] {
        for cpus in ["", "riscv", "1-3", &"1,".repeat(10)[..19], &"1,".repeat(10), &"1,".repeat(63)] {
            let status = Status::parse(&line(&name, cpus, "Running", "rpmsg-umt ")).unwrap();
            assert_eq!((status.state, status.services[0].name.as_str()), (State::Running, "rpmsg-umt"));
        }
    }
}

#[test]
fn names_with_a_state_in_them_do_not_count() {
    let status =
        Status::parse(&line("Running", "Error", "Offline", "rpmsg-tty Ready(/dev/ttyRPMSG0) ")).unwrap();
    assert_eq!(status.state, State::Offline);
}

#[test]
fn ttys_are_found_in_both_naming_schemes() {
    let ttys = |services: &str| -> Vec<String> {
        let status = Status::parse(&line("guest-a", "3", "Running", services)).unwrap();
        status.ttys(Path::new("/dev")).map(|tty| tty.display().to_string()).collect()
    };
    assert_eq!(ttys("rpmsg-tty(/dev/ttyRPMSG0) rpmsg-rpc rpmsg-umt "), ["/dev/ttyRPMSG0"]);
    assert_eq!(ttys("rpmsg-umt rpmsg-tty1(/dev/ttyRPMSG_guest-a_12) "), ["/dev/ttyRPMSG_guest-a_12"]);
    assert_eq!(ttys("a(/dev/ttyRPMSG9) b(/dev/ttyRPMSG2) "), ["/dev/ttyRPMSG9", "/dev/ttyRPMSG2"]);
    assert_eq!(ttys(""), [""; 0]);
}

#[test]
fn a_guest_cannot_name_a_path_of_its_choice() {
    let services = "a(/etc/shadow) b(/dev/mem) c(/dev/../etc/ttyRPMSG0) c(/dev//ttyRPMSG0) c(/dev/./ttyRPMSG0) d(/dev/ttyRPMSG) e(/dev/ttyRPMSG/0) (/dev/ttyRPMSG.) \
                    f(ttyRPMSG0) g(/dev/ttyRPMSG0 h)i(";
    let status = Status::parse(&line("guest-a", "3", "Running", services)).unwrap();
    assert_eq!(status.ttys(Path::new("/dev")).count(), 0, "{status:?}");
}

#[test]
fn a_service_that_was_cut_off_is_dropped() {
    let all = "rpmsg-tty(/dev/ttyRPMSG0) ".repeat(10);
    let cut = |length: usize| {
        Status::parse(&line("guest-a", "3", "Running", &all[..length])).unwrap().services.len()
    };
    assert_eq!(cut(255), 9); // rpmsg-tty(/dev/ttyRPM
    assert_eq!(cut(260), 10);
    let words = "rpmsg-umt ".repeat(26);
    let status = Status::parse(&line("guest-a", "3", "Running", &words[..255])).unwrap();
    assert!(status.services.iter().all(|service| service.name == "rpmsg-umt"));
    assert_eq!(status.services.len(), 25);
}

proptest! {
    #[test]
    fn any_text_is_a_status_or_not(text: String, tail in "[ -~]{0,300}") {
        let _ = Status::parse(&text);
        let line = line("guest-a", &text, "Running", &tail);
        prop_assert!(Status::parse(&line).is_some());
    }

    #[test]
    fn any_bytes_are_an_answer_or_not(bytes: Vec<u8>) {
        let _ = Reply::parse(&bytes);
        let mut failed = bytes.clone();
        failed.extend(b"MICA-FAILED");
        prop_assert!(matches!(Reply::parse(&failed), Some(Reply::Failed(_))));
    }
}
