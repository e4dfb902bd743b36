//! OS profiles: how a guest's own shell looks and how to type at it is data, not code.
//!
//! A profile is one YAML file with one operating system, found by the value of `container.os`. Some are built in; a
//! node adds its own under `/etc/mica/micrun/os.d/`, and one of the same name replaces the built-in one. The shim
//! runs commands in a guest's shell with it, and types no faster than it says.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::firmware::Rtos;
use crate::profile::{Kind, ProfileError, duplicate};

mod keys;
mod pattern;

pub use keys::{Keys, KeysError};
pub use pattern::{Matcher, Pattern, PatternError};

/// The profiles that are part of the program, by name. One is read when a guest needs it.
const BUILT_IN: [(&str, &str); 7] = [
    ("freertos", include_str!("../../os/freertos.yaml")),
    ("micrun-test", include_str!("../../os/micrun-test.yaml")),
    ("nuttx", include_str!("../../os/nuttx.yaml")),
    ("rt-thread", include_str!("../../os/rt-thread.yaml")),
    ("u-boot", include_str!("../../os/u-boot.yaml")),
    ("uniproton", include_str!("../../os/uniproton.yaml")),
    ("zephyr", include_str!("../../os/zephyr.yaml")),
];

/// One operating system, as somebody at its console knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct OsProfile {
    /// What images and annotations call it.
    pub name: Rtos,
    /// Other names for the same system.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<Rtos>,
    /// One line for people.
    pub description: String,
    /// Its shell; None where it has none on the console.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<Shell>,
    /// How fast it can be typed at; None for as fast as it takes bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Pacing>,
}

/// A shell on a console.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Shell {
    /// What stands on the line when it waits for a command, without colours, to the last blank.
    pub prompts: Vec<Pattern>,
    /// Lines by which it says that a command failed, whole and without colours.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Pattern>,
    /// Lines that it writes with its prompt, which are no command's output.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decoration: Vec<Pattern>,
    /// Whether it puts an empty line before its prompt.
    #[serde(default)]
    pub blank_before_prompt: bool,
    /// What ends a line that is typed.
    pub line_end: LineEnd,
    /// What to type to get a new prompt, whatever stands on the line. None where there is no harmless way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fresh_prompt: Option<Keys>,
    /// How blanks become part of a word.
    #[serde(default)]
    pub quoting: Quoting,
    /// Whether Ctrl-C ends a command that runs.
    #[serde(default)]
    pub ctrl_c: bool,
}

/// What ends a line of input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LineEnd {
    /// Carriage return, as the Enter key sends.
    Cr,
    /// Line feed.
    Lf,
}

impl LineEnd {
    /// The byte.
    pub const fn byte(self) -> u8 {
        match self {
            LineEnd::Cr => b'\r',
            LineEnd::Lf => b'\n',
        }
    }
}

/// How a shell takes a word with blanks in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quoting {
    /// It cannot: a blank ends a word.
    #[default]
    None,
    /// In double quotes.
    Double,
}

/// How fast a guest can be typed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Pacing {
    /// So many bytes at once, 1 to 4096,
    pub bytes: u16,
    /// and then nothing for so many milliseconds, 1 to 1000.
    pub interval_ms: u16,
}

impl OsProfile {
    /// The profile of an operating system: a file of this directory, else the built-in one. Of several files that
    /// answer to the name the last one holds, in the order of the files' names.
    ///
    /// # Errors
    /// If any file of the directory cannot be used, so that a mistake shows before it is needed.
    pub fn find(dir: &Path, os: &Rtos) -> Result<Option<Self>, ProfileError> {
        let mut found = None;
        for path in Kind::Os.files(dir)? {
            let profile = OsProfile::parse(&path.display().to_string(), &Kind::Os.read(&path)?)?;
            if profile.answers_to(os) {
                found = Some(profile);
            }
        }
        Ok(found.or_else(|| OsProfile::built_in(os)))
    }

    /// The built-in profile of this name.
    // The texts are constants of this crate; the test `every_built_in_profile_is_good` reads them all.
    #[expect(clippy::expect_used, reason = "a test reads the same constants")]
    pub fn built_in(os: &Rtos) -> Option<Self> {
        let (name, text) = BUILT_IN.iter().find(|(name, _)| *name == os.as_str())?;
        Some(OsProfile::parse(name, text).expect("a built-in profile is a good one"))
    }

    /// The names of the built-in profiles.
    pub fn built_in_names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name)
    }

    /// Reads one profile. `origin` is named in errors: a path, or `built in`.
    ///
    /// # Errors
    /// If the text is too long, no YAML, no profile, or contradicts itself; with the line where there is one.
    pub fn parse(origin: &str, text: &str) -> Result<Self, ProfileError> {
        let profile: OsProfile = Kind::Os.parse(origin, text)?;
        profile.check_whole().map_err(|reason| Kind::Os.contradiction(origin, reason))?;
        Ok(profile)
    }

    /// The profile as a file.
    pub fn to_yaml(&self) -> String {
        // Serializing strings, numbers and enums into a string has no way to fail.
        serde_yaml::to_string(self).unwrap_or_default()
    }

    /// True if images may call the system by this name.
    pub fn answers_to(&self, os: &Rtos) -> bool {
        self.name == *os || self.aliases.contains(os)
    }

    /// What no single field shows.
    fn check_whole(&self) -> Result<(), String> {
        let names: Vec<_> = std::iter::once(&self.name).chain(&self.aliases).collect();
        if let Some(twice) = duplicate(&names) {
            return Err(format!("the name {twice} is listed twice"));
        }
        self.shell.as_ref().map_or(Ok(()), Shell::check_whole)?;
        self.input.map_or(Ok(()), Pacing::check_whole)
    }
}

impl Shell {
    /// Most patterns of one kind; each costs time for every byte of output.
    const MAX_PATTERNS: usize = 16;

    fn check_whole(&self) -> Result<(), String> {
        if self.prompts.is_empty() {
            return Err("prompts is empty: name at least one, or leave the section `shell` out".to_owned());
        }
        if let Some(open) = self.prompts.iter().find(|prompt| prompt.ends_openly()) {
            return Err(format!("the prompt `{open}` ends with `*`: so would every line"));
        }
        let lists = [("prompts", &self.prompts), ("errors", &self.errors), ("decoration", &self.decoration)];
        match lists.iter().find(|(_, list)| list.len() > Shell::MAX_PATTERNS) {
            Some((name, list)) => {
                Err(format!("{name} has {} patterns, at most {} are taken", list.len(), Shell::MAX_PATTERNS))
            }
            None => Ok(()),
        }
    }
}

impl Pacing {
    fn check_whole(self) -> Result<(), String> {
        if !(1..=4096).contains(&self.bytes) {
            return Err(format!("input: bytes is {}, write 1 to 4096", self.bytes));
        }
        if !(1..=1000).contains(&self.interval_ms) {
            return Err(format!("input: interval_ms is {}, write 1 to 1000", self.interval_ms));
        }
        Ok(())
    }
}
