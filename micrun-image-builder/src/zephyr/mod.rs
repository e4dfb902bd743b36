//! Reads a Zephyr build directory, so that `pack build/` needs no further options: which ELF was built, for which
//! board, with which Zephyr.
//!
//! ```text
//! build/                    what `west build` makes
//!   build_info.yml          board, application, Zephyr's version; since Zephyr 3.7
//!   zephyr/.config          the same board and the ELF's name; in every build
//!   zephyr/zephyr.elf
//!   zephyr/include/generated/zephyr/version.h
//!   spdx/                   if `west spdx` ran
//! build/                    what `west build --sysbuild` makes
//!   domains.yaml            the builds below, one of them the default
//!   APPLICATION/            each laid out as above
//! ```

use std::fs;
use std::path::{Path, PathBuf};

mod board;
mod build_info;
mod domains;
mod error;
mod kconfig;
mod version;

pub use board::{BadBoardTarget, BoardMatch, BoardTarget};
pub use build_info::BuildInfo;
pub use domains::Domains;
pub use error::ZephyrError;
pub use kconfig::Kconfig;
pub use version::kernel_version;

use crate::small_file;

/// Largest file that is read, bytes, but for `.config`. Real ones have some ten thousand.
const MAX_FILE: u64 = 256 << 10;
/// Largest `.config` that is read, bytes.
const MAX_CONFIG: u64 = 4 << 20;

const DOMAINS: &str = "domains.yaml";
const BUILD_INFO: &str = "build_info.yml";
const CONFIG: &str = "zephyr/.config";
/// The newer place comes first.
const VERSION_HEADERS: [&str; 2] =
    ["zephyr/include/generated/zephyr/version.h", "zephyr/include/generated/version.h"];

/// A fact and the file that says so, for people to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said<T> {
    /// The fact.
    pub value: T,
    /// The file, relative to the build directory.
    pub by: &'static str,
}

/// What one build directory says.
#[derive(Debug, Clone)]
pub struct Build {
    /// The firmware.
    pub elf: PathBuf,
    /// The board that it was built for.
    pub board: Option<Said<BoardTarget>>,
    /// Zephyr's version.
    pub version: Option<Said<String>>,
    /// The application: the name of its folder.
    pub application: Option<Said<String>>,
    /// Everything that was configured.
    pub kconfig: Kconfig,
    /// The build's domains if there are several; this is the default one, or the one that was asked for.
    pub domains: Option<Domains>,
    /// Documents that `west spdx` left.
    pub spdx: Vec<PathBuf>,
}

impl Build {
    /// Reads `build` or `build/zephyr`. Of a build with several domains, `domain` names one; None takes the default.
    ///
    /// # Errors
    /// If it is no build directory, has not been built, or says something that cannot be understood.
    pub fn open(path: &Path, domain: Option<&str>) -> Result<Build, ZephyrError> {
        match small_file::read_text_if_there(&path.join(DOMAINS), MAX_FILE)? {
            Some(text) => {
                let domains = Domains::parse(&text).map_err(ZephyrError::yaml(&path.join(DOMAINS)))?;
                let dir = domains.dir(path, domain)?;
                let build = Build::read(&dir, find_spdx(path))?;
                Ok(Build { domains: Some(domains), ..build })
            }
            None => match domain {
                Some(name) => Err(ZephyrError::NoDomains { path: path.to_owned(), name: name.to_owned() }),
                None => {
                    let dir = top(path).ok_or_else(|| ZephyrError::NotABuild(path.to_owned()))?;
                    Build::read(&dir, Vec::new())
                }
            },
        }
    }

    /// Reads the directory of a single build.
    fn read(dir: &Path, spdx: Vec<PathBuf>) -> Result<Build, ZephyrError> {
        let config = small_file::read_text_if_there(&dir.join(CONFIG), MAX_CONFIG)?;
        let kconfig = Kconfig::parse(&config.ok_or_else(|| ZephyrError::NotABuild(dir.to_owned()))?);
        let info = match small_file::read_text_if_there(&dir.join(BUILD_INFO), MAX_FILE)? {
            Some(text) => BuildInfo::parse(&text).map_err(ZephyrError::yaml(&dir.join(BUILD_INFO)))?,
            None => BuildInfo::default(),
        };
        let name = kconfig.string("KERNEL_BIN_NAME").unwrap_or("zephyr");
        let elf = dir.join("zephyr").join(format!("{name}.elf"));
        // A name is one name: what is configured does not lead out of the directory.
        if name.contains(['/', '\\']) || !elf.is_file() {
            return Err(ZephyrError::NotBuilt { dir: dir.to_owned(), elf });
        }
        let version = match info.zephyr_version {
            Some(value) => Some(Said { value, by: BUILD_INFO }),
            None => version_header(dir)?,
        };
        Ok(Build {
            elf,
            board: board(info.board, &kconfig),
            version,
            application: info.application.map(|value| Said { value, by: BUILD_INFO }),
            kconfig,
            domains: None,
            spdx: [spdx, find_spdx(dir)].concat(),
        })
    }
}

/// The build directory for `build` or for `build/zephyr`.
fn top(path: &Path) -> Option<PathBuf> {
    let is_build = |dir: &Path| dir.join(CONFIG).is_file();
    let above = path.join("..");
    if is_build(path) {
        Some(path.to_owned())
    } else if path.join(".config").is_file() && is_build(&above) {
        // `build`, not `build/zephyr/..`, where that is the same.
        let named = path.file_name().and_then(|_| path.parent()).filter(|parent| is_build(parent));
        Some(named.map_or(above, Path::to_owned))
    } else {
        None
    }
}

fn board(said: Option<BoardTarget>, kconfig: &Kconfig) -> Option<Said<BoardTarget>> {
    match said {
        Some(value) => Some(Said { value, by: BUILD_INFO }),
        None => BoardTarget::from_kconfig(kconfig).map(|value| Said { value, by: CONFIG }),
    }
}

fn version_header(dir: &Path) -> Result<Option<Said<String>>, ZephyrError> {
    for by in VERSION_HEADERS {
        if let Some(text) = small_file::read_text_if_there(&dir.join(by), MAX_FILE)? {
            return Ok(kernel_version(&text).map(|value| Said { value, by }));
        }
    }
    Ok(None)
}

/// The `*.spdx` files of a build, by name. Whether they can be read is for whoever attaches them to find.
fn find_spdx(dir: &Path) -> Vec<PathBuf> {
    const MAX: usize = 64;
    let entries = fs::read_dir(dir.join("spdx")).into_iter().flatten().flatten();
    let is_spdx = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "spdx");
    let mut files: Vec<_> = entries.map(|entry| entry.path()).filter(is_spdx).take(MAX).collect();
    files.sort();
    files
}
