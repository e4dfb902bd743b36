//! Why a directory is not packed.

use std::path::{Path, PathBuf};

use micrun_image_spec::text::excerpt;

use crate::small_file::SmallFileError;
use crate::yaml::YamlError;

/// Why a directory is not packed.
#[derive(Debug, thiserror::Error)]
pub enum ZephyrError {
    /// Nothing that Zephyr's build leaves is there.
    #[error(
        "{} is no regular file, and no Zephyr build directory: one has zephyr/.config and zephyr/zephyr.elf, or domains.yaml",
        .0.display()
    )]
    NotABuild(PathBuf),
    /// Configured, but without the firmware.
    #[error("{} is configured but not built: there is no {}", dir.display(), elf.display())]
    NotBuilt {
        /// The build directory.
        dir: PathBuf,
        /// The file that should be there.
        elf: PathBuf,
    },
    /// A domain was asked for, and the build has none.
    #[error("{} has no domains.yaml, so it has no domain `{}`", path.display(), excerpt(name))]
    NoDomains {
        /// The build directory.
        path: PathBuf,
        /// The domain.
        name: String,
    },
    /// The build has other domains.
    #[error("{} has no domain `{}`, but {}", path.display(), excerpt(name), list(known))]
    UnknownDomain {
        /// The build directory.
        path: PathBuf,
        /// The domain.
        name: String,
        /// Those that it has.
        known: Vec<String>,
    },
    /// One of its files cannot be read.
    #[error("{0}")]
    File(#[from] SmallFileError),
    /// One of its files is not what Zephyr writes.
    #[error("{}{problem}", path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// Where, and what is wrong.
        problem: YamlError,
    },
}

impl ZephyrError {
    /// What the user can do.
    pub fn remedy(&self) -> &'static str {
        match self {
            ZephyrError::NotABuild(_) => "give the ELF file itself, or the directory that west build made",
            ZephyrError::NotBuilt { .. } => "build it: west build -d DIRECTORY",
            ZephyrError::NoDomains { .. } => "leave the domain out, or build with west build --sysbuild",
            ZephyrError::UnknownDomain { .. } => "name one of its domains",
            ZephyrError::File(_) | ZephyrError::Yaml { .. } => {
                "build again, or give the ELF file itself and name its board with --board"
            }
        }
    }

    /// For `map_err`: what is wrong in that file.
    pub(super) fn yaml(path: &Path) -> impl FnOnce(YamlError) -> ZephyrError {
        let path = path.to_owned();
        move |problem| ZephyrError::Yaml { path, problem }
    }
}

fn list(names: &[String]) -> String {
    names.iter().map(|name| excerpt(name)).collect::<Vec<_>>().join(", ")
}
