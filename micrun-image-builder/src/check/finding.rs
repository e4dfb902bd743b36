//! What was found in a file, for people and for programs.

use std::fmt;

use serde::Serialize;

use super::code::{Code, Severity};
use super::quote::Quotable;
use crate::source::ReadAt;

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which kind of finding.
    pub code: Code,
    /// How bad it is; lower than the code's own where the user allowed it.
    pub severity: Severity,
    /// One sentence about this file.
    pub message: String,
    /// The part of an image that it is in: a path in the image's root, or a document. None for what was given itself.
    pub part: Option<String>,
    /// Where, if it is anywhere.
    pub place: Option<Place>,
    /// What stands there, in one line.
    pub excerpt: Option<String>,
    /// What to do.
    pub remedy: String,
    /// An error that the user allowed.
    pub allowed: bool,
}

/// A place in the input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// An offset in the file.
    Offset(u64),
    /// A program header, by its index.
    Segment(usize),
    /// A section, by its name.
    Section(String),
    /// An option of the command line.
    Option(String),
    /// A key of client.conf, of the annotations, or of another document of an image.
    Key(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Offset(offset) => write!(f, "offset {offset:#x}"),
            Place::Segment(index) => write!(f, "segment {index}"),
            Place::Section(name) => write!(f, "section {name}"),
            Place::Option(text) | Place::Key(text) => f.write_str(text),
        }
    }
}

/// Findings in the order in which they were made.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(transparent)]
pub struct Report(Vec<Finding>);

impl Report {
    /// Adds a finding with the severity of its code.
    pub fn add(
        &mut self,
        code: Code,
        place: Option<Place>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let (severity, message, remedy) = (code.severity(), message.into(), remedy.into());
        let (part, excerpt) = (None, None);
        self.0.push(Finding { code, severity, message, part, place, excerpt, remedy, allowed: false });
    }

    /// Adds the findings about one part of an image.
    pub fn add_part(&mut self, part: &str, findings: Report) {
        self.0.extend(findings.0.into_iter().map(|mut finding| {
            finding.part.get_or_insert_with(|| part.to_owned());
            finding
        }));
    }

    /// Adds other findings behind these.
    pub fn append(&mut self, findings: Report) {
        self.0.extend(findings.0);
    }

    /// Quotes a firmware beside the findings that were made in it: what stands at each place.
    pub fn quote(&mut self, firmware: &dyn ReadAt) {
        let places = self.0.iter_mut().filter(|finding| finding.part.is_none() && finding.excerpt.is_none());
        let mut quoted = Quotable::new(firmware);
        for finding in places {
            finding.excerpt = finding.place.as_ref().and_then(|place| quoted.at(place));
        }
    }

    /// Turns the errors that the user allows into warnings.
    pub fn allow(&mut self, allowed: &[Code]) {
        for finding in &mut self.0 {
            let error = finding.severity == Severity::Error;
            if error && finding.code.can_be_allowed() && allowed.contains(&finding.code) {
                finding.severity = Severity::Warning;
                finding.allowed = true;
            }
        }
    }

    /// True if no image may be made.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// The number of findings that are as bad as that.
    pub fn count(&self, severity: Severity) -> usize {
        self.0.iter().filter(|finding| finding.severity == severity).count()
    }

    /// The findings.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter()
    }
}
