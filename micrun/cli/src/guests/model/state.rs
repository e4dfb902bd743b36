//! What is remembered of a guest from one run to the next, and over a loss of power.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use micrun_image_spec::digest::Sha256Digest;
use serde::{Deserialize, Serialize};

use super::Generation;

/// The version that is written, and the newest that is read.
const VERSION: u32 = 1;

/// Largest file that is read, bytes: a usual one has one thousand.
const MAX_BYTES: u64 = 256 * 1024;

/// What is remembered of one guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    version: u32,
    /// containerd's namespace in which it is.
    pub namespace: String,
    /// The folder whose file declared it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    /// What runs, or should.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<Generation>,
    /// What ran before it, and can run again at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Generation>,
    /// What is being tried; the current one is not running then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<Trial>,
    /// What is not tried again, the latest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Refused>,
    /// What an operator wants instead of what is declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<Chosen>,
    /// The run of the guest that was healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
}

/// A generation that is being tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// Which.
    pub generation: Generation,
    /// How often that was begun: power that fails twice in a trial may well fail because of it.
    pub tries: u32,
}

/// A generation that is not tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Its [`Generation::id`].
    pub generation: String,
    /// Its image's digest, for people.
    pub digest: Sha256Digest,
    /// Why not.
    pub why: String,
}

/// An image that an operator chose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// As the declaration could name it.
    pub image: String,
    /// The image that the declaration named at that time...
    pub over: String,
    /// ...and its digest, where that was known. Once either changes, the declaration holds again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over_digest: Option<Sha256Digest>,
}

/// A run of a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The kernel's id of the boot.
    pub boot: String,
    /// The task's process.
    pub pid: u32,
    /// How long the log was by then, bytes.
    pub log: u64,
}

/// Why there is no telling what was.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A call of the operating system.
    #[error("{doing} {}: {source}", .path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Written by a later program.
    #[error("{} is of version {version} and this program knows {VERSION}: use the newer micrun, or remove the file", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// No state at all.
    #[error("{} is damaged ({problem})", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl State {
    /// Of a guest that was never there.
    pub fn new(namespace: &str) -> State {
        State {
            version: VERSION,
            namespace: namespace.to_owned(),
            folder: None,
            current: None,
            previous: None,
            trial: None,
            refused: Vec::new(),
            chosen: None,
            seen: None,
        }
    }

    /// Reads a file's text.
    ///
    /// # Errors
    ///
    /// [`StateError::Newer`] and [`StateError::Damaged`].
    pub fn parse(path: &Path, text: &[u8]) -> Result<State, StateError> {
        let damaged = |error: serde_json::Error| StateError::Damaged {
            path: path.to_owned(),
            problem: error.to_string(),
        };
        let Versioned { version } = serde_json::from_slice(text).map_err(damaged)?;
        if version > VERSION {
            return Err(StateError::Newer { path: path.to_owned(), version });
        }
        serde_json::from_slice(text).map_err(damaged)
    }

    /// Reads a file; `None` where there is none.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub fn load(path: &Path) -> Result<Option<State>, StateError> {
        let failed = |source| StateError::Io { doing: "cannot read", path: path.to_owned(), source };
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(failed)?,
        };
        let mut text = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(file, MAX_BYTES), &mut text).map_err(failed)?;
        State::parse(path, &text).map(Some)
    }

    /// As [`State::load`]; a damaged file is set aside as `NAME.damaged`, and there is none then.
    ///
    /// # Errors
    ///
    /// [`StateError::Io`] and [`StateError::Newer`].
    pub fn rescue(path: &Path) -> Result<(Option<State>, Option<StateError>), StateError> {
        match State::load(path) {
            Err(damaged @ StateError::Damaged { .. }) => {
                let failed =
                    |source| StateError::Io { doing: "cannot rename", path: path.to_owned(), source };
                fs::rename(path, path.with_extension("damaged")).map_err(failed)?;
                Ok((None, Some(damaged)))
            }
            state => Ok((state?, None)),
        }
    }

    /// Writes the file: after a loss of power it is either as it was or as it is now.
    ///
    /// # Errors
    ///
    /// [`StateError::Io`].
    pub fn save(&self, path: &Path) -> Result<(), StateError> {
        let failed = |source| StateError::Io { doing: "cannot write", path: path.to_owned(), source };
        let new = path.with_extension("new");
        let text = serde_json::to_vec_pretty(self).map_err(|error| failed(error.into()))?;
        let write = || {
            let mut file = File::create(&new)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&new, path)?;
            File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
        };
        write().map_err(failed)
    }

    /// Whether a version is not tried again.
    pub fn refuses(&self, generation: &Generation) -> bool {
        let id = generation.id();
        self.refused.iter().any(|refused| refused.generation == id)
    }

    /// A version is not tried again.
    pub fn refuse(&mut self, refused: Refused) {
        self.refused.retain(|other| other.generation != refused.generation);
        self.refused.push(refused);
    }

    /// A version may be tried again.
    pub fn pardon(&mut self, generation: &Generation) {
        let id = generation.id();
        self.refused.retain(|refused| refused.generation != id);
    }

    /// Forgets the refusal of versions that nobody wants any more: neither the declaration, which wants this one, nor whoever
    /// goes back.
    pub fn forget_refusals(&mut self, wanted: &Generation) {
        let asked: Vec<String> =
            [Some(wanted), self.previous.as_ref()].iter().flatten().map(|one| one.id()).collect();
        self.refused.retain(|refused| asked.contains(&refused.generation));
    }

    /// The versions whose images are kept.
    pub fn kept(&self) -> impl Iterator<Item = &Generation> {
        let trial = self.trial.as_ref().map(|trial| &trial.generation);
        [self.current.as_ref(), self.previous.as_ref(), trial].into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("motor.json");
        assert_eq!(State::load(&path).unwrap(), None);
        let mut state = State::new("default");
        state.chosen =
            Some(Chosen { image: "/a.tar".to_owned(), over: "/b.tar".to_owned(), over_digest: None });
        state.seen = Some(Seen { boot: "b".to_owned(), pid: 7, log: 12 });
        state.save(&path).unwrap();
        assert_eq!(State::load(&path).unwrap(), Some(state));
    }

    #[test]
    fn refusals_are_kept_as_long_as_they_matter() {
        let version = |byte: u8| Generation {
            image: String::new(),
            digest: Sha256Digest::of(&[byte]),
            log: String::new(),
            resources: Default::default(),
            annotations: Default::default(),
        };
        let refusal = |version: &Generation| Refused {
            generation: version.id(),
            digest: version.digest,
            why: "it is bad".to_owned(),
        };
        let [bad, second, other] = [1, 2, 3].map(version);
        let mut state = State::new("default");
        state.refuse(refusal(&bad));
        state.refuse(refusal(&second));
        state.refuse(refusal(&bad));
        state.previous = Some(second.clone());
        state.forget_refusals(&bad);
        assert!(state.refused.len() == 2 && state.refuses(&bad) && state.refuses(&second));
        state.forget_refusals(&other);
        assert!(!state.refuses(&bad) && state.refuses(&second));
        state.pardon(&second);
        assert!(state.refused.is_empty());
    }

    #[test]
    fn what_is_no_state_is_told_apart() {
        let read = |text: &str| State::parse(Path::new("motor.json"), text.as_bytes()).unwrap_err();
        assert!(matches!(read(""), StateError::Damaged { .. }));
        assert!(matches!(read("{\"version\": 1}"), StateError::Damaged { .. }));
        assert!(matches!(read("{\"version\": 2, \"new\": true}"), StateError::Newer { version: 2, .. }));
    }
}
