//! The file and its drop-ins.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use micrun_image_spec::text::excerpt;
use micrun_strict_toml::{DeTable, DeValue, Syntax, Text, Unfit, Value};
use toml::Spanned;

use super::error::{NodeConfigError, Problem};
use super::keys::{self, ALL, Key};
use super::{NodeConfig, Place};

/// Largest file that is read, bytes: a full one has a hundredth of it.
pub const MAX_BYTES: u64 = 64 * 1024;

/// Most drop-ins that are read.
const MAX_FILES: usize = 64;

/// The file, where it is there, and then its drop-ins.
pub(super) fn existing(path: &Path) -> Result<Vec<PathBuf>, NodeConfigError> {
    let mut drop_ins = Vec::new();
    let mut dir = path.as_os_str().to_owned();
    dir.push(".d");
    let dir = PathBuf::from(dir);
    let failed = |error: io::Error| NodeConfigError::of_file(&dir, error.into());
    match fs::read_dir(&dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
        Ok(entries) => {
            for entry in entries {
                let file = entry.map_err(failed)?.path();
                if file.extension().is_some_and(|extension| extension == "conf") {
                    drop_ins.push(file);
                }
                if drop_ins.len() > MAX_FILES {
                    let problem = Problem::TooManyFiles { max: MAX_FILES };
                    return Err(NodeConfigError::of_file(&dir, problem));
                }
            }
        }
    }
    drop_ins.sort();
    if path.exists() {
        drop_ins.insert(0, path.to_owned());
    }
    Ok(drop_ins)
}

/// Reads a regular file (opening a FIFO would wait for ever) of bounded size.
pub(super) fn read(path: &Path) -> Result<String, NodeConfigError> {
    let failed = |error: io::Error| NodeConfigError::of_file(path, error.into());
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(failed(io::Error::other("it is not a regular file")));
    }
    let mut bytes = Vec::new();
    // One byte more than is taken, so that a longer file is refused and not cut.
    File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(NodeConfigError::of_file(path, Problem::TooLarge { max: MAX_BYTES }));
    }
    String::from_utf8(bytes).map_err(|_| NodeConfigError::of_file(path, Problem::NotText))
}

impl NodeConfig {
    /// Adds what a text says. `path` is the file that it comes from.
    ///
    /// # Errors
    ///
    /// The first thing in it that cannot be used.
    pub fn add_text(&mut self, path: &Path, text: &str) -> Result<(), NodeConfigError> {
        let text = Source { path, text: Text(text) };
        let table = text.text.parse().map_err(|Syntax { at, problem }| NodeConfigError {
            file: path.to_owned(),
            at: Some(at),
            problem: Problem::Syntax(problem),
        })?;
        self.add_table(&text, "", table.get_ref())?;
        match self.contradiction() {
            Some((at, problem)) => {
                // This file is the one that contradicts: what came before it did not.
                let line = at.and_then(|key| self.place(key)).map(|place| place.line);
                let at = line.map(|line| (line, 1));
                Err(NodeConfigError { file: path.to_owned(), at, problem })
            }
            None => Ok(()),
        }
    }

    fn add_table(
        &mut self,
        text: &Source<'_>,
        prefix: &str,
        table: &DeTable<'_>,
    ) -> Result<(), NodeConfigError> {
        for (name, value) in table {
            let full = if prefix.is_empty() {
                name.get_ref().to_string()
            } else {
                format!("{prefix}.{}", name.get_ref())
            };
            let at = name.span().start;
            match (keys::find(&full), value.get_ref()) {
                (Some(key), _) => self.add_value(text, key, at, value)?,
                (None, DeValue::Table(table)) if keys::is_section(&full) => {
                    self.add_table(text, &full, table)?
                }
                (None, _) => {
                    let problem = Problem::Unknown { nearest: keys::nearest(&full), name: excerpt(&full) };
                    return Err(text.error(at, problem));
                }
            }
        }
        Ok(())
    }

    fn add_value(
        &mut self,
        text: &Source<'_>,
        key: &'static Key,
        at: usize,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<(), NodeConfigError> {
        (key.set)(self, &Value(value)).map_err(|Unfit { at, found, wanted }| {
            text.error(at, Problem::Value { name: key.name, found, wanted })
        })?;
        let (line, _) = text.text.position(at);
        self.places.insert(key.name, Place { file: text.path.to_owned(), line });
        Ok(())
    }

    /// What no single key shows: the key to point at, and the problem.
    fn contradiction(&self) -> Option<(Option<&'static str>, Problem)> {
        let (memory, maximum) = (self.guest.memory?, self.guest.max_memory?);
        let (maximum_key, name) = ("guest.max_memory", "guest.memory");
        (maximum < memory)
            .then_some((Some(maximum_key), Problem::MaximumBelow { maximum: maximum_key, name }))
    }
}

/// A text and where it comes from.
struct Source<'a> {
    path: &'a Path,
    text: Text<'a>,
}

impl Source<'_> {
    fn error(&self, at: usize, problem: Problem) -> NodeConfigError {
        NodeConfigError { file: self.path.to_owned(), at: Some(self.text.position(at)), problem }
    }
}

/// The effective configuration as a file, with a comment on each key: what `micrun config` prints, and what the example
/// in the layer is made of.
pub fn to_toml(config: &NodeConfig) -> String {
    let mut text = String::new();
    let mut section = "";
    for key in ALL {
        if key.section() != section {
            section = key.section();
            text += &format!("\n[{section}]\n");
        }
        text += &format!("# {}\n", key.about);
        match (key.get)(config) {
            Some(value) => text += &format!("{} = {value}\n", key.leaf()),
            None => text += &format!("# {} = {}\n", key.leaf(), key.example),
        }
    }
    text
}
