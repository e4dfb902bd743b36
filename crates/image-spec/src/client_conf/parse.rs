//! Reads the INI text, line by line, as micad's own reader (Python's configparser) would, but refuses what that
//! reader would understand in a surprising way.

use super::{ClientConf, ClientConfError, Problem};
use crate::text::excerpt;

/// The two sections.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Mica,
    MicRun,
}

impl Section {
    fn from_name(name: &str) -> Option<Section> {
        match name {
            "Mica" => Some(Section::Mica),
            "MicRun" => Some(Section::MicRun),
            _ => None,
        }
    }
}

pub(super) fn parse(text: &str) -> Result<ClientConf, ClientConfError> {
    let mut reader = Reader::default();
    for (index, line) in text.lines().enumerate() {
        reader.line(line).map_err(|problem| ClientConfError { line: Some(index + 1), problem })?;
    }
    if !reader.seen.contains(&Section::Mica) {
        return Err(ClientConfError { line: None, problem: Problem::NoMicaSection });
    }
    reader.conf.validate()?;
    Ok(reader.conf)
}

#[derive(Default)]
struct Reader {
    conf: ClientConf,
    current: Option<Section>,
    seen: Vec<Section>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), Problem> {
        let content = line.trim();
        if content.is_empty() || content.starts_with(['#', ';']) {
            return Ok(());
        }
        if line.starts_with(char::is_whitespace) {
            return Err(Problem::Continuation);
        }
        match content.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(name) => self.section(name),
            None => self.key(content),
        }
    }

    fn section(&mut self, name: &str) -> Result<(), Problem> {
        let section = Section::from_name(name).ok_or_else(|| Problem::UnknownSection(excerpt(name)))?;
        if self.seen.contains(&section) {
            return Err(Problem::DuplicateSection(name.to_owned()));
        }
        self.seen.push(section);
        self.current = Some(section);
        Ok(())
    }

    fn key(&mut self, content: &str) -> Result<(), Problem> {
        let section = self.current.ok_or(Problem::KeyOutsideSection)?;
        let (key, value) =
            content.split_once(['=', ':']).ok_or_else(|| Problem::NotAKey(excerpt(content)))?;
        let (key, value) = (key.trim(), value.trim());
        if self.conf.contains(section, key) {
            return Err(Problem::DuplicateKey(excerpt(key)));
        }
        self.conf.put(section, key, value)
    }
}
