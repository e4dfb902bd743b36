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
        "{} is no Zephyr build directory: one has zephyr/.config and zephyr/zephyr.elf, or domains.yaml; \
         give what `west build` made, or the ELF file itself",
        .0.display()
    )]
    NotABuild(PathBuf),
    /// Configured, but without the firmware.
    #[error(
        "{} is configured but not built: there is no {}; run west build -d {}",
        dir.display(), elf.display(), dir.display()
    )]
    NotBuilt {
        /// The build directory.
        dir: PathBuf,
        /// The file that should be there.
        elf: PathBuf,
    },
    /// A domain was asked for, and the build has none.
    #[error(
        "{} has no domains.yaml, so there is no domain `{}`: leave the domain out, or build with west build --sysbuild",
        path.display(), excerpt(name)
    )]
    NoDomains {
        /// The build directory.
        path: PathBuf,
        /// The domain.
        name: String,
    },
    /// The build has other domains.
    #[error("{} has no domain `{}`; it has {}", path.display(), excerpt(name), list(known))]
    UnknownDomain {
        /// The build directory.
        path: PathBuf,
        /// The domain.
        name: String,
        /// Those that it has.
        known: Vec<String>,
    },
    /// One of its files cannot be read.
    #[error("cannot read the Zephyr build: {0}")]
    File(#[from] SmallFileError),
    /// One of its files is not what Zephyr writes.
    #[error("{}{problem}; build again, or give the ELF file and --board", path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// Where, and what is wrong.
        problem: YamlError,
    },
}

impl ZephyrError {
    /// For `map_err`: what is wrong in that file.
    pub(super) fn yaml(path: &Path) -> impl FnOnce(YamlError) -> ZephyrError {
        let path = path.to_owned();
        move |problem| ZephyrError::Yaml { path, problem }
    }
}

fn list(names: &[String]) -> String {
    names.iter().map(|name| excerpt(name)).collect::<Vec<_>>().join(", ")
}
