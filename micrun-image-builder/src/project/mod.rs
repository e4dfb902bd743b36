//! The project file of `pack -f`: which firmwares become which images, written once for everybody who builds them.
//!
//! | module | what lives there |
//! | --- | --- |
//! | `schema` | the keys of the file; unknown ones are errors |
//! | `fields` | values that are checked where they stand, so that an error has their line |
//! | `job` | one image to make, as the file or the command line says |
//! | `expand` | from the file to its jobs: defaults, names, places |
//!
//! docs/project-file.md describes the file.

use std::path::{Path, PathBuf};

mod expand;
mod fields;
mod job;
mod schema;

pub use job::Job;

use crate::small_file::{self, SmallFileError};
use crate::yaml::{self, YamlError};

/// Largest project file that is read, bytes.
pub const MAX_BYTES: usize = 64 << 10;

/// A project file.
#[derive(Debug, Clone)]
pub struct Project {
    path: PathBuf,
    file: schema::File,
}

/// A project file that cannot be used. Every message names the file.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// It cannot be read.
    #[error("cannot read the project file: {0}")]
    File(#[from] SmallFileError),
    /// It is no YAML, or has keys or values that no project file has.
    #[error("project file {}{problem}", path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// Where, and what is wrong.
        problem: YamlError,
    },
    /// What it says, or what it says together with the command line, makes no images.
    #[error("project file {}: {reason}", path.display())]
    Contradiction {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to write instead.
        reason: String,
    },
}

impl Project {
    /// Reads a project file. Paths in it are relative to its directory.
    ///
    /// # Errors
    /// If it cannot be read, or is no project file.
    pub fn read(path: &Path) -> Result<Project, ProjectError> {
        let text = small_file::read_text(path, MAX_BYTES as u64)?;
        Project::parse(path, &text)
    }

    /// Takes the text of a project file. `path` is named in errors, and paths in the text are relative to its
    /// directory.
    ///
    /// # Errors
    /// If it is no project file, with the line.
    pub fn parse(path: &Path, text: &str) -> Result<Project, ProjectError> {
        let failed = |problem| ProjectError::Yaml { path: path.to_owned(), problem };
        if text.len() > MAX_BYTES {
            let reason = format!("{} bytes, at most {MAX_BYTES} are read", text.len());
            return Err(failed(YamlError { line: None, reason }));
        }
        let file = yaml::parse(text).map_err(failed)?;
        Ok(Project { path: path.to_owned(), file })
    }

    /// The images to make, in the order of the file.
    ///
    /// # Errors
    /// As [`Project::requests_with`].
    pub fn requests(&self) -> Result<Vec<Job>, ProjectError> {
        self.requests_with(&Job::default())
    }

    /// The same, where something else, the command line, has been said that outweighs the file: for every image, but
    /// for `tag` and `output`, which stand in for the name and the output that the file gives to all of them.
    ///
    /// # Errors
    /// If there are no images, or two of the same name, or several and only one place for them.
    pub fn requests_with(&self, over: &Job) -> Result<Vec<Job>, ProjectError> {
        let dir = self.path.parent().unwrap_or(Path::new(""));
        expand::expand(&self.file, dir, over)
            .map_err(|reason| ProjectError::Contradiction { path: self.path.clone(), reason })
    }
}
