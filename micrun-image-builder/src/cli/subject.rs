//! What `check`, `extract` and `diff` look at: a firmware, or an image wherever it is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::CliError;
use super::places::Places;
use crate::source::{self, RegularFile};
use crate::store::location::BadLocation;
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

impl FromStr for Subject {
    type Err = BadLocation;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Subject)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Subject {
    /// Looks at what is there: a plain path may be anything.
    pub(super) fn open(&self, places: &Places) -> Result<Opened, CliError> {
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
fn is_image(path: &std::path::Path) -> bool {
    if path.is_dir() {
        return path.join("index.json").is_file() || path.join("oci-layout").is_file();
    }
    let magic = RegularFile::open(path).and_then(|file| source::bytes(&file, USTAR_AT, USTAR.len() as u64));
    magic.is_ok_and(|magic| magic == USTAR)
}
