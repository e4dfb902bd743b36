//! A file of `guests.d`: one guest.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use micrun_image_spec::annotation::{self, Kind};
use micrun_image_spec::text::excerpt;
use micrun_strict_toml::{DeTable, DeValue, Syntax, Text, Unfit, Value, nearest};

use super::error::{DeclarationError, Problem};
use super::generation::Resources;
use super::image::{self, Image};
use super::keys;

/// Largest file that is read, bytes.
pub const MAX_BYTES: u64 = 64 * 1024;

/// containerd's namespace where nothing else is said.
pub const DEFAULT_NAMESPACE: &str = "default";

/// How long a guest must run to be healthy where nothing else is said.
const USUAL_RUN: Duration = Duration::from_secs(5);
/// How long a guest has to say what it should.
const USUAL_PATIENCE: Duration = Duration::from_secs(30);

/// What an operator wants of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declaration {
    /// The file that declares it.
    pub file: PathBuf,
    /// Where its image comes from.
    pub image: Image,
    /// containerd's namespace.
    pub namespace: String,
    /// What happens when it ends.
    pub restart: Restart,
    /// How long it may take to end when asked to.
    pub stop_timeout: Duration,
    /// Where its output goes.
    pub log: Log,
    /// When it is healthy.
    pub health: Health,
    /// The public key that must have signed its image.
    pub verify_key: Option<PathBuf>,
    /// What it may use.
    pub resources: Resources,
    /// Annotations of the container.
    pub annotations: BTreeMap<String, String>,
}

/// What happens when a guest ends by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// It is started again.
    #[default]
    Always,
    /// It is started again unless its status is 0; so often at most.
    OnFailure(Option<u32>),
    /// Nothing.
    No,
}

/// Where output goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Log {
    /// A file named after the guest.
    #[default]
    File,
    /// systemd's journal.
    Journal,
    /// Nowhere.
    None,
    /// As containerd's clients write it.
    Uri(String),
}

/// When a guest is healthy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Once it has run for so long.
    Runs(Duration),
    /// Once it has printed a text.
    Console {
        /// The text.
        text: String,
        /// How long that may take.
        within: Duration,
    },
    /// Once a command in its own shell succeeds.
    Exec {
        /// The command.
        command: String,
        /// How long that may take.
        within: Duration,
    },
}

/// A declaration while it is read.
#[derive(Default)]
pub struct Draft {
    pub(super) image: Option<Image>,
    pub(super) namespace: Option<String>,
    pub(super) restart: Restart,
    pub(super) stop_timeout: Option<Duration>,
    pub(super) log: Log,
    pub(super) console: Option<String>,
    pub(super) exec: Option<String>,
    pub(super) within: Option<Duration>,
    pub(super) verify_key: Option<PathBuf>,
    pub(super) resources: Resources,
    annotations: BTreeMap<String, String>,
}

impl Declaration {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// The first thing in it that cannot be used, with line and column.
    pub fn load(path: &Path) -> Result<Declaration, DeclarationError> {
        let failed = |error: io::Error| DeclarationError::of_file(path, error.into());
        if !fs::metadata(path).map_err(failed)?.is_file() {
            return Err(failed(io::Error::other("it is not a regular file")));
        }
        let mut bytes = Vec::new();
        File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes)).map_err(failed)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(DeclarationError::of_file(path, Problem::TooLarge { max: MAX_BYTES }));
        }
        let text = String::from_utf8(bytes).map_err(|_| DeclarationError::of_file(path, Problem::NotText))?;
        Declaration::parse(path, &text)
    }

    /// Reads a text. `path` is the file that it comes from.
    ///
    /// # Errors
    ///
    /// As [`Declaration::load`].
    pub fn parse(path: &Path, text: &str) -> Result<Declaration, DeclarationError> {
        let text = Text(text);
        let at =
            |at: Option<(usize, usize)>, problem| DeclarationError { file: path.to_owned(), at, problem };
        let table = text
            .parse()
            .map_err(|Syntax { at: place, problem }| at(Some(place), Problem::Syntax(problem)))?;
        let mut draft = Draft::default();
        draft
            .read(table.get_ref(), "")
            .map_err(|Wrong { place, problem }| at(Some(text.position(place)), problem))?;
        draft.finish(path).map_err(|problem| at(None, problem))
    }
}

/// Something that cannot be used, and the byte where it begins.
struct Wrong {
    place: usize,
    problem: Problem,
}

impl Draft {
    fn read(&mut self, table: &DeTable<'_>, prefix: &str) -> Result<(), Wrong> {
        for (name, value) in table {
            let full = format!("{prefix}{}", name.get_ref());
            let place = name.span().start;
            match (keys::find(&full), value.get_ref()) {
                (Some(key), _) => (key.set)(self, &Value(value)).map_err(|unfit| wrong(&full, unfit))?,
                (None, DeValue::Table(table)) if full == "annotations" => self.annotate(table)?,
                (None, DeValue::Table(table)) if keys::is_section(&full) => {
                    self.read(table, &format!("{full}."))?
                }
                (None, _) if full == "annotations" || keys::is_section(&full) => {
                    let unfit = Value(value).unfit("a section: its name in brackets, and its keys below it");
                    return Err(wrong(&full, unfit));
                }
                (None, _) => {
                    let problem =
                        Problem::Unknown { nearest: nearest(&full, keys::names()), name: excerpt(&full) };
                    return Err(Wrong { place, problem });
                }
            }
        }
        Ok(())
    }

    fn annotate(&mut self, table: &DeTable<'_>) -> Result<(), Wrong> {
        for (name, value) in table {
            let full: &str = name.get_ref();
            let quoted = format!("annotations.\"{}\"", excerpt(full));
            let value = Value(value);
            let text = value.text("a text in quotes").map_err(|found| wrong(&quoted, found))?;
            if let Some(key) = annotation::strip(full) {
                let Some(kind) = Kind::of(key.name) else {
                    return Err(Wrong {
                        place: name.span().start,
                        problem: Problem::Annotation(excerpt(full)),
                    });
                };
                kind.check(text).map_err(|why| {
                    let problem = Problem::BadAnnotation { name: quoted.clone(), why: why.to_string() };
                    Wrong { place: value.0.span().start, problem }
                })?;
            }
            self.annotations.insert(full.to_owned(), text.to_owned());
        }
        Ok(())
    }

    fn finish(self, file: &Path) -> Result<Declaration, Problem> {
        let within = self.within.unwrap_or(USUAL_PATIENCE);
        let health = match (self.console, self.exec) {
            (Some(_), Some(_)) => return Err(Problem::TwoHealths),
            (Some(text), None) => Health::Console { text, within },
            (None, Some(command)) => Health::Exec { command, within },
            (None, None) => Health::Runs(self.within.unwrap_or(USUAL_RUN)),
        };
        let readable = match &self.log {
            Log::File => true,
            Log::Uri(uri) => uri.starts_with("file://"),
            Log::Journal | Log::None => false,
        };
        if matches!(health, Health::Console { .. }) && !readable {
            return Err(Problem::NoLog);
        }
        Ok(Declaration {
            file: file.to_owned(),
            image: self.image.ok_or(Problem::NoImage { wanted: image::WANTED })?,
            namespace: self.namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned()),
            restart: self.restart,
            stop_timeout: self.stop_timeout.unwrap_or(Duration::from_secs(10)),
            log: self.log,
            health,
            verify_key: self.verify_key,
            resources: self.resources,
            annotations: self.annotations,
        })
    }
}

fn wrong(name: &str, Unfit { at, found, wanted }: Unfit) -> Wrong {
    Wrong { place: at, problem: Problem::Value { name: excerpt(name), found, wanted: wanted.to_owned() } }
}

/// Whether containerd takes this name for a container or a namespace (its package identifiers), within `max` bytes.
pub fn is_identifier(text: &str, max: usize) -> bool {
    let words = text.split(['.', '_', '-']);
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric());
    text.len() <= max && words.into_iter().all(is_word)
}

/// Longest name of a guest: with what is put before and behind it, containerd's names are still short enough.
pub const MAX_NAME: usize = 60;

/// The guest that a file declares.
///
/// # Errors
///
/// A name that containerd would not take.
pub fn name_of(path: &Path) -> Result<String, DeclarationError> {
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    if is_identifier(&name, MAX_NAME) {
        return Ok(name);
    }
    Err(DeclarationError::of_file(path, Problem::Name { name: excerpt(&name) }))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
