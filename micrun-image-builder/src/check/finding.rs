//! What was found in a file, for people and for programs.

use std::fmt;

use serde::Serialize;

use super::code::{Code, Severity};

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which kind of finding.
    pub code: Code,
    /// How bad it is; lower than the code's own where the user allowed it.
    pub severity: Severity,
    /// One sentence about this file.
    pub message: String,
    /// Where, if it is anywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// What to do.
    pub remedy: String,
    /// An error that the user allowed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
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
    /// An option of the command line, or a key of client.conf.
    Option(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Offset(offset) => write!(f, "offset {offset:#x}"),
            Place::Segment(index) => write!(f, "segment {index}"),
            Place::Section(name) => write!(f, "section {name}"),
            Place::Option(text) => f.write_str(text),
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
        let (message, remedy) = (message.into(), remedy.into());
        self.0.push(Finding { code, severity: code.severity(), message, place, remedy, allowed: false });
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

    /// The findings.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter()
    }
}
