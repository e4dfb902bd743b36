//! Where each value of a container came from. A by-product of merging, so that it cannot say anything else than what
//! happened; kept beside the container's state for `micrun explain`.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::origin::Origin;

/// The version of [`Explanation`] that this build writes, and the newest that it reads.
pub const VERSION: u32 = 1;

/// Its name in a container's directory.
const FILE: &str = "explanation.json";

/// Largest file that is read, bytes: more than client.conf and all annotations of config.json can fill.
const MAX_BYTES: u64 = 16 << 20;

/// The values of a container with their origins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// [`VERSION`].
    pub version: u32,
    /// What holds, by name.
    pub values: Vec<Explained>,
    /// What was said and has no effect.
    pub ignored: Vec<Ignored>,
}

/// A value, and what it won against.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// Its name.
    pub name: String,
    /// The value.
    pub value: String,
    /// Where it comes from.
    #[serde(flatten)]
    pub origin: Origin,
    /// What weaker sources say, the strongest of them first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instead_of: Vec<Loser>,
}

/// A value that another one won against.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loser {
    /// The value.
    pub value: String,
    /// Where it comes from.
    #[serde(flatten)]
    pub origin: Origin,
}

/// Something that was said and has no effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ignored {
    /// Who said it, and under which key.
    #[serde(flatten)]
    pub origin: Origin,
    /// The value.
    pub value: String,
    /// Why it has none.
    pub why: String,
}

impl Default for Explanation {
    fn default() -> Explanation {
        Explanation { version: VERSION, values: Vec::new(), ignored: Vec::new() }
    }
}

impl Explanation {
    /// Writes it into a container's directory, whole or not at all.
    ///
    /// # Errors
    ///
    /// A full disk, for one.
    pub fn save(&self, dir: &Path) -> io::Result<()> {
        let new = dir.join("explanation.json.new");
        let file = File::create(&new)?;
        serde_json::to_writer(&file, self)?;
        file.sync_all()?;
        fs::rename(&new, dir.join(FILE))
    }

    /// Reads it back.
    ///
    /// # Errors
    ///
    /// There is none, it cannot be read, or a newer build wrote it.
    pub fn load(dir: &Path) -> io::Result<Explanation> {
        let mut text = Vec::new();
        File::open(dir.join(FILE))?.take(MAX_BYTES).read_to_end(&mut text)?;
        let read: Explanation = serde_json::from_slice(&text)?;
        if read.version > VERSION {
            let why = format!("a newer build wrote it (version {}, this one knows {VERSION})", read.version);
            return Err(io::Error::other(why));
        }
        Ok(read)
    }

    /// The value of this name.
    pub fn get(&self, name: &str) -> Option<&Explained> {
        self.values.iter().find(|value| value.name == name)
    }

    /// Notes what a value is, and what it won against.
    pub fn note(&mut self, name: &str, value: String, origin: Origin, instead_of: Vec<Loser>) {
        self.values.push(Explained { name: name.to_owned(), value, origin, instead_of });
    }

    /// Notes what is decided later than the rest. What was noted before has lost, unless it is where the new value
    /// comes from.
    pub fn settle(&mut self, name: &str, value: String, decider: Option<Origin>) {
        let Some(at) = self.values.iter().position(|value| value.name == name) else {
            return self.note(name, value, decider.unwrap_or(Origin::Default), Vec::new());
        };
        let known = &mut self.values[at];
        let before = std::mem::replace(&mut known.value, value);
        if let Some(decider) = decider.filter(|decider| *decider != known.origin) {
            let origin = std::mem::replace(&mut known.origin, decider);
            known.instead_of.insert(0, Loser { value: before, origin });
        }
    }

    /// Notes that something has no effect, and logs it.
    pub fn ignore(&mut self, origin: Origin, value: &str, why: &str) {
        tracing::warn!(said = %origin, value, %why, "has no effect");
        self.ignored.push(Ignored { origin, value: value.to_owned(), why: why.to_owned() });
    }
}
