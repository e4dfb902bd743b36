//! Every key of a declaration but the annotations, in one table. The reader and the tests of the documents go by it.

use std::path::PathBuf;
use std::time::Duration;

use micrun_strict_toml::{Unfit, Value};

use super::declaration::{Draft, Log, Restart, is_identifier};
use super::image;

/// One key.
pub struct Key {
    /// Its full name.
    pub name: &'static str,
    /// Takes a value.
    pub(super) set: fn(&mut Draft, &Value<'_>) -> Result<(), Unfit>,
}

const DAY: Duration = Duration::from_secs(24 * 3600);
/// A boot waits for the health of all guests, and is given up after half an hour.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
const RESTART: &str = "\"always\", \"on-failure\", \"on-failure:N\" with a number of times, or \"no\"";
const LOG: &str = "\"file\", \"journal\", \"none\", or a URI such as \"file:///var/log/motor.log\"";
const TEXT: &str = "a text in quotes, of one line and up to 200 characters";

/// All of them.
pub const ALL: &[Key] = &[
    Key { name: "image", set: |d, v| put(&mut d.image, v.word(|text| text.parse().ok(), image::WANTED)?) },
    Key {
        name: "namespace",
        set: |d, v| {
            let wanted = "a namespace of containerd, such as \"default\" or \"k8s.io\"";
            put(&mut d.namespace, v.word(|text| is_identifier(text, 76).then(|| text.to_owned()), wanted)?)
        },
    },
    Key {
        name: "restart",
        set: |d, v| {
            d.restart = v.word(Restart::from_word, RESTART)?;
            Ok(())
        },
    },
    Key {
        name: "stop_timeout",
        set: |d, v| put(&mut d.stop_timeout, v.duration(DAY, "a time such as \"10s\", of a day at most")?),
    },
    Key {
        name: "log",
        set: |d, v| {
            d.log = v.word(Log::from_word, LOG)?;
            Ok(())
        },
    },
    Key { name: "health.console", set: |d, v| put(&mut d.console, line(v)?) },
    Key { name: "health.exec", set: |d, v| put(&mut d.exec, line(v)?) },
    Key {
        name: "health.within",
        set: |d, v| {
            let wanted = "a time such as \"30s\", of five minutes at most";
            let within = v.duration(LONGEST_WAIT, wanted)?;
            put(&mut d.within, Some(within).filter(|time| !time.is_zero()).ok_or_else(|| v.unfit(wanted))?)
        },
    },
    Key {
        name: "verify.key",
        set: |d, v| {
            let path = |text: &str| text.starts_with('/').then(|| PathBuf::from(text));
            put(&mut d.verify_key, v.word(path, "the absolute path of a public key")?)
        },
    },
    Key { name: "resources.memory", set: |d, v| put(&mut d.resources.memory_mib, v.mib()?.0) },
    Key {
        name: "resources.capacity",
        set: |d, v| {
            put(
                &mut d.resources.capacity,
                v.number32(1, 409_600, "percent of one core, such as 150, without quotes")?,
            )
        },
    },
    Key {
        name: "resources.shares",
        set: |d, v| put(&mut d.resources.shares, v.number32(2, 262_144, "CPU shares from 2 to 262144")?),
    },
    Key {
        name: "resources.cores",
        set: |d, v| put(&mut d.resources.cores, v.word(cores, "cores such as \"1-2,4\"")?),
    },
];

/// The key of this full name.
pub fn find(name: &str) -> Option<&'static Key> {
    ALL.iter().find(|key| key.name == name)
}

/// Whether keys begin with this name.
pub fn is_section(name: &str) -> bool {
    ALL.iter().any(|key| key.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
}

/// What a misspelt name may have meant.
pub fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|key| key.name).chain(["annotations", "health", "resources", "verify"])
}

fn put<T>(slot: &mut Option<T>, value: T) -> Result<(), Unfit> {
    *slot = Some(value);
    Ok(())
}

fn line(value: &Value<'_>) -> Result<String, Unfit> {
    let is_line =
        |text: &str| !text.trim().is_empty() && text.len() <= 200 && !text.chars().any(char::is_control);
    value.word(|text| is_line(text).then(|| text.to_owned()), TEXT)
}

/// A list of cores; whether the node has them, its shim finds out.
fn cores(text: &str) -> Option<String> {
    let number = |text: &str| text.parse::<u16>().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
    let is_part = |part: &str| match part.split_once('-') {
        Some((from, to)) => matches!((number(from), number(to)), (Some(from), Some(to)) if from <= to),
        None => number(part).is_some(),
    };
    text.split(',').all(is_part).then(|| text.to_owned())
}

impl Restart {
    fn from_word(word: &str) -> Option<Restart> {
        match word {
            "always" => Some(Restart::Always),
            "no" => Some(Restart::No),
            "on-failure" => Some(Restart::OnFailure(None)),
            _ => {
                let times = word.strip_prefix("on-failure:")?;
                let times = times
                    .parse()
                    .ok()
                    .filter(|n| (1..=1_000_000).contains(n) && times.bytes().all(|b| b.is_ascii_digit()))?;
                Some(Restart::OnFailure(Some(times)))
            }
        }
    }

    /// As containerd's restart monitor has it; `None` where it has nothing to do.
    pub fn policy(self) -> Option<String> {
        match self {
            Restart::Always => Some("always".to_owned()),
            Restart::OnFailure(None) => Some("on-failure".to_owned()),
            Restart::OnFailure(Some(times)) => Some(format!("on-failure:{times}")),
            Restart::No => None,
        }
    }
}

impl Log {
    fn from_word(word: &str) -> Option<Log> {
        let is_uri = |scheme: &str| {
            word.strip_prefix(scheme).is_some_and(|path| path.starts_with('/') && path.len() > 1)
        };
        let plain = word.len() <= 1024 && word.bytes().all(|b| b.is_ascii_graphic());
        match word {
            "file" => Some(Log::File),
            "journal" => Some(Log::Journal),
            "none" => Some(Log::None),
            _ if plain && (is_uri("file://") || is_uri("binary://")) => Some(Log::Uri(word.to_owned())),
            _ => None,
        }
    }
}
