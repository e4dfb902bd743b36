//! What `check`, `extract` and `diff` look at: a firmware, or an image wherever it is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::{CliError, places};
use crate::registry::{Registry, RegistryName};
use crate::source::{self, RegularFile};
use crate::store::{Location, Source};

/// Where a tar header says that it is one (POSIX, "ustar Interchange Format").
const USTAR_AT: u64 = 257;
const USTAR: &[u8] = b"ustar";

/// As the user names it.
#[derive(Debug, Clone)]
pub(super) enum Subject {
    Registry(RegistryName),
    Local(Location),
}

/// What it turned out to be.
pub(super) enum Opened {
    /// A file that is no image, or a build directory.
    Firmware(PathBuf),
    Image(Box<dyn Source>),
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with("docker://") {
            return text.parse().map(Subject::Registry).map_err(|error| format!("{error}"));
        }
        text.parse().map(Subject::Local).map_err(|error| format!("{error}"))
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Registry(name) => write!(f, "{name}"),
            Subject::Local(location) => write!(f, "{location}"),
        }
    }
}

impl Subject {
    /// Looks at what is there: a plain path may be anything.
    pub(super) fn open(&self, registry: &Registry) -> Result<Opened, CliError> {
        match self {
            Subject::Registry(name) => Ok(Opened::Image(Box::new(registry.source(name)))),
            Subject::Local(Location::Path(path)) if !is_image(path) => Ok(Opened::Firmware(path.clone())),
            Subject::Local(location) => places::source(location).map(Opened::Image),
        }
    }

    /// The same, where nothing but an image will do.
    pub(super) fn open_image(&self, registry: &Registry) -> Result<Box<dyn Source>, CliError> {
        match (self.open(registry)?, self) {
            (Opened::Image(source), _) => Ok(source),
            (Opened::Firmware(_), Subject::Local(location)) => places::source(location),
            (Opened::Firmware(path), _) => Err(CliError::Usage(format!("{} is no image", path.display()))),
        }
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
