//! What `check`, `extract` and `diff` look at: a firmware, or an image wherever it is.

use std::ffi::OsString;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use clap::builder::{OsStringValueParser, TypedValueParser, ValueParserFactory};

use super::CliError;
use super::places::{PlaceParser, Places, check_input};
use crate::source::{self, RegularFile};
use crate::store::{Location, Source};

/// Where a tar header says that it is one (POSIX, "ustar Interchange Format").
const USTAR_AT: u64 = 257;
const USTAR: &[u8] = b"ustar";

/// As the user names it.
#[derive(Debug, Clone)]
pub(super) struct Subject(Location);

/// What it turned out to be.
pub(super) enum Opened {
    /// A file that is no image, or a build directory.
    Firmware(PathBuf),
    Image(Box<dyn Source>),
}

/// As [`Location`] is read.
impl ValueParserFactory for Subject {
    type Parser = PlaceParser<Subject>;

    fn value_parser() -> Self::Parser {
        let parse: fn(OsString) -> _ = |text| Location::from_os(text).map(Subject);
        OsStringValueParser::new().try_map(parse)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Subject {
    /// As a URI: of what lies below the working directory, a relative one, which is the same on other machines.
    pub(super) fn uri(&self) -> String {
        match &self.0 {
            // `docker://` begins it, which is a scheme like any other.
            Location::Registry(name) => name.to_string(),
            location => location.path().map_or("-".to_owned(), path_uri),
        }
    }

    /// Looks at what is there: a plain path may be anything.
    pub(super) fn open(&self, places: &Places) -> Result<Opened, CliError> {
        check_input(&self.0)?;
        match &self.0 {
            Location::Path(path) if !is_image(path) => Ok(Opened::Firmware(path.clone())),
            location => places.source(location).map(Opened::Image),
        }
    }

    /// The same, where nothing but an image will do.
    pub(super) fn open_image(&self, places: &Places) -> Result<Box<dyn Source>, CliError> {
        places.source(&self.0)
    }
}

/// A directory with an index, or a tar. What cannot be read is no image: as a firmware it is reported best.
fn is_image(path: &Path) -> bool {
    if path.is_dir() {
        return path.join("index.json").is_file() || path.join("oci-layout").is_file();
    }
    let magic = RegularFile::open(path).and_then(|file| source::bytes(&file, USTAR_AT, USTAR.len() as u64));
    magic.is_ok_and(|magic| magic == USTAR)
}

fn path_uri(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let relative = here.and_then(|here| path.strip_prefix(here).ok());
    let path = relative.unwrap_or(path);
    let names = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(escape(&name.to_string_lossy())),
        Component::ParentDir => Some("..".to_owned()),
        Component::Prefix(drive) => Some(drive.as_os_str().to_string_lossy().into_owned()),
        Component::RootDir | Component::CurDir => None,
    });
    let joined = names.collect::<Vec<_>>().join("/");
    if path.is_absolute() { format!("file:///{joined}") } else { joined }
}

/// With everything but a URI's plain characters as %XX (RFC 3986, 2.1).
fn escape(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_are_relative_where_they_can_be() {
        let here = std::env::current_dir().unwrap();
        let uri = |text: &str| Subject(text.parse().unwrap()).uri();
        assert_eq!(uri("build/my app.elf"), "build/my%20app.elf");
        assert_eq!(uri("./a.elf"), "a.elf");
        assert_eq!(uri("oci:dir:v1"), "dir");
        assert_eq!(uri(&here.join("x/a.elf").display().to_string()), "x/a.elf");
        if cfg!(unix) {
            assert_eq!(uri("/nowhere/a%.elf"), "file:///nowhere/a%25.elf");
        }
    }
}
