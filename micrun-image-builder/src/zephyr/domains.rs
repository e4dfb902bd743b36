//! `domains.yaml`: the builds that sysbuild made together, such as a boot loader and an application.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{CONFIG, ZephyrError};
use crate::yaml::{self, List, Text, YamlError};

/// The domains of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domains {
    /// The one that is meant where none is named: the application.
    pub default: String,
    domains: Vec<(String, PathBuf)>,
}

#[derive(Deserialize)]
struct File {
    default: Text<256>,
    domains: List<Domain, 64>,
}

#[derive(Deserialize)]
struct Domain {
    name: Text<256>,
    build_dir: Text<4096>,
}

impl Domains {
    /// Reads the file's text.
    ///
    /// # Errors
    /// If it is no YAML, or has another form than Zephyr gives it.
    pub fn parse(text: &str) -> Result<Self, YamlError> {
        let file: File = yaml::parse(text)?;
        let domain = |Domain { name, build_dir }| (name.0, build_dir.0.into());
        Ok(Domains { default: file.default.0, domains: file.domains.0.into_iter().map(domain).collect() })
    }

    /// All names, in the order of the file.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.domains.iter().map(|(name, _)| name.as_str())
    }

    /// The directory of a domain, or of the default one. The file has absolute paths; a build that was moved, or
    /// unpacked elsewhere, has its domains below it under their names.
    pub(super) fn dir(&self, top: &Path, name: Option<&str>) -> Result<PathBuf, ZephyrError> {
        let name = name.unwrap_or(&self.default);
        let Some((_, dir)) = self.domains.iter().find(|(known, _)| known == name) else {
            let known = self.names().map(str::to_owned).collect();
            return Err(ZephyrError::UnknownDomain { path: top.to_owned(), name: name.to_owned(), known });
        };
        let moved = dir.file_name().map(|folder| top.join(folder));
        let here = moved.filter(|moved| moved.join(CONFIG).is_file());
        Ok(here.unwrap_or_else(|| top.join(dir)))
    }
}
