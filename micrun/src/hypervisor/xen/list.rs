//! The table that `xl list -v` prints.
//!
//! A table, and not the JSON of `xl list -l`: that holds what a domain was created with, and neither its
//! state nor why it ended.

use std::time::Duration;

use micrun_image_spec::units::Mib;

use super::Uuid;

/// A domain as the hypervisor sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// Its name; `(null)` where Xen has forgotten it, as of a domain that is being destroyed.
    pub name: String,
    /// Its number, good for as long as its uuid is not seen with another one.
    pub id: u32,
    /// Memory that it has.
    pub memory: Mib,
    /// Virtual CPUs that are on.
    pub vcpus: u32,
    /// What it does.
    pub state: State,
    /// Processor time of all its virtual CPUs. `xl` prints tenths of a second.
    pub cpu_time: Duration,
    /// Its uuid.
    pub uuid: Uuid,
    /// Why it shut down, once it has.
    pub reason: Option<Reason>,
}

/// What a domain does, as far as it matters here (xl(1), "list").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Its clock stands still.
    pub paused: bool,
    /// It ended; its memory is still there.
    pub shut_down: bool,
    /// It is being destroyed, or could not be destroyed to its end.
    pub dying: bool,
}

/// Why a domain shut down (Xen, public/sched.h, `SHUTDOWN_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// 0: it powered itself off.
    PowerOff,
    /// 1 and 5: it asked to be started anew.
    Reboot,
    /// 2: it suspended itself.
    Suspend,
    /// 3: it, or Xen on its behalf, reported a crash.
    Crash,
    /// 4: its watchdog ran out.
    Watchdog,
    /// A number that Xen did not have when this was written.
    Other(u32),
}

impl Reason {
    /// From Xen's number.
    pub fn from_code(code: u32) -> Reason {
        match code {
            0 => Reason::PowerOff,
            1 | 5 => Reason::Reboot,
            2 => Reason::Suspend,
            3 => Reason::Crash,
            4 => Reason::Watchdog,
            other => Reason::Other(other),
        }
    }
}

/// Reads the whole table. A line that is no domain (the heading, the head of a name with a line end in it)
/// is passed over.
pub fn parse(text: &str) -> Vec<Listed> {
    text.lines().filter_map(line).collect()
}

/// Reads one line from its end: the name comes first and is free text. Columns after it: number, memory,
/// virtual CPUs, state, seconds, uuid, reason, security label.
fn line(line: &str) -> Option<Listed> {
    let mut words = line.split_ascii_whitespace().rev();
    let _label = words.next()?;
    let reason = match words.next()? {
        "-" => None,
        code => Some(Reason::from_code(code.parse().ok()?)),
    };
    let uuid = words.next()?.parse().ok()?;
    let cpu_time = seconds(words.next()?)?;
    let state = state(words.next()?)?;
    let vcpus = words.next()?.parse().ok()?;
    let memory = Mib(words.next()?.parse().ok()?);
    let id = words.next()?.parse().ok()?;
    let mut name: Vec<&str> = words.collect();
    name.reverse();
    Some(Listed { name: name.join(" "), id, memory, vcpus, state, cpu_time, uuid, reason })
}

/// Six places: running, blocked, paused, shut down and why (a letter), dying.
fn state(text: &str) -> Option<State> {
    let [_, _, paused, shut_down, _, dying] = text.as_bytes() else { return None };
    Some(State { paused: *paused == b'p', shut_down: *shut_down == b's', dying: *dying == b'd' })
}

fn seconds(text: &str) -> Option<Duration> {
    let (whole, tenths) = text.split_once('.')?;
    let (whole, tenths): (u64, u8) = (whole.parse().ok()?, tenths.parse().ok().filter(|n| *n < 10)?);
    Some(Duration::from_secs(whole) + Duration::from_millis(100) * u32::from(tenths))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Printed by Xen 4.20.4-pre on arm64, one domain in each state.
    const RECORDED: &str = include_str!("testdata/list-v-4.20.txt");

    #[test]
    fn every_state_of_a_domain_is_read() {
        let listed = parse(RECORDED);
        let named = |name: &str| listed.iter().find(|domain| domain.name == name).unwrap();
        assert_eq!((named("Domain-0").id, named("Domain-0").memory), (0, Mib(1024)));
        assert_eq!(named("Domain-0").cpu_time, Duration::from_millis(82_200));
        let paused = named("fresh");
        assert!(paused.state.paused && !paused.state.shut_down && paused.reason.is_none());
        assert_eq!(named("blocked").state, State::default());
        for (name, reason) in [
            ("off", Reason::PowerOff),
            ("reset", Reason::Reboot),
            ("suspended", Reason::Suspend),
            ("crashed", Reason::Crash),
            ("watchdog", Reason::Watchdog),
        ] {
            assert!(named(name).state.shut_down, "{name}");
            assert_eq!(named(name).reason, Some(reason), "{name}");
        }
        let forgotten = named("(null)");
        assert!(forgotten.state.dying && !named("fresh").state.dying);
        assert_eq!(forgotten.uuid.to_string(), "12345678-1234-4234-8234-123456789051");
        assert_eq!(named("a b").id, 28);
        assert_eq!(listed.len(), 10, "the heading is no domain");
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,200}") {
            let _ = parse(&text);
        }

        #[test]
        fn damaged_tables_are_read_without_a_panic(at in 0..RECORDED.len(), with in ".{0,4}") {
            if RECORDED.is_char_boundary(at) {
                let _ = parse(&format!("{}{with}{}", &RECORDED[..at], &RECORDED[at..]));
                let _ = parse(&RECORDED[..at]);
            }
        }
    }
}
