//! `build_info.yml` (Zephyr, scripts/schemas/build-schema.yml): what CMake knew when it configured the build.

use serde::Deserialize;

use super::version::plausible;
use super::{BadBoardTarget, BoardTarget};
use crate::yaml::{self, Text, YamlError};

/// What is wanted of the file. Every part of it is optional there, too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildInfo {
    /// The board.
    pub board: Option<BoardTarget>,
    /// The name of the application's folder.
    pub application: Option<String>,
    /// Zephyr's version.
    pub zephyr_version: Option<String>,
}

type Name = Text<256>;
type LongPath = Text<4096>;

#[derive(Deserialize, Default)]
#[serde(default)]
struct File {
    cmake: Option<Cmake>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Cmake {
    application: Option<Application>,
    board: Option<Board>,
    zephyr: Option<Zephyr>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "kebab-case")]
struct Application {
    source_dir: Option<LongPath>,
}

#[derive(Deserialize)]
struct Board {
    name: Name,
    #[serde(default)]
    qualifiers: Option<Name>,
    #[serde(default)]
    revision: Option<Name>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Zephyr {
    version: Option<Name>,
}

impl BuildInfo {
    /// Reads the file's text.
    ///
    /// # Errors
    /// If it is no YAML, or what it says has another form than Zephyr gives it.
    pub fn parse(text: &str) -> Result<Self, YamlError> {
        let file: File = yaml::parse(text)?;
        let cmake = file.cmake.unwrap_or_default();
        let board = cmake.board.map(Board::target).transpose();
        Ok(BuildInfo {
            board: board.map_err(|problem| YamlError { line: None, reason: problem.to_string() })?,
            application: cmake.application.and_then(|a| folder_name(&a.source_dir?.0)),
            zephyr_version: cmake.zephyr.and_then(|zephyr| plausible(&zephyr.version?.0)),
        })
    }
}

impl Board {
    fn target(self) -> Result<BoardTarget, BadBoardTarget> {
        let text = |part: Option<Name>| part.map(|Text(text)| text).unwrap_or_default();
        BoardTarget::new(&self.name.0, &text(self.revision), &text(self.qualifiers))
    }
}

/// The last part of a path. CMake writes slashes on Windows too.
fn folder_name(path: &str) -> Option<String> {
    let name = path.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next()?;
    (!name.is_empty() && !name.contains(':')).then(|| name.to_owned())
}
