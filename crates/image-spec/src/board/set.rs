//! The boards that this machine knows: the built-in ones and those of its board directories.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use super::{BoardError, BoardProfile};
use crate::profile::Kind;

/// The profiles of these names, each from its file. One is read when somebody asks for it: most runs need a single one.
macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        [$(($name, LazyLock::new(|| constant($name, include_str!(concat!("../../boards/", $name, ".yaml")))))),*]
    };
}

/// The profiles that are part of the program, by name.
static BUILT_IN: [(&str, LazyLock<BoardProfile>); 10] = built_in![
    "qemu-riscv64",
    "qemu_arm",
    "qemu_arm64",
    "qemu_cortex_a53",
    "qemu_cortex_m3",
    "qemu_riscv32",
    "qemu_riscv64",
    "qemu_x86",
    "xen_arm64",
    "xen_arm64_vuart",
];

// The texts are constants of this crate; the test `every_builtin_board_is_there` reads them all.
#[expect(clippy::expect_used, reason = "a test reads the same constants")]
fn constant(name: &str, text: &str) -> BoardProfile {
    BoardProfile::parse(name, text).expect("a built-in board is a good one")
}

/// Where a profile comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Part of the program.
    BuiltIn,
    /// A file of this machine.
    File(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::BuiltIn => f.write_str("built in"),
            Origin::File(path) => path.display().fmt(f),
        }
    }
}

/// A board of a set.
#[derive(Debug, Clone)]
enum Entry {
    BuiltIn(&'static LazyLock<BoardProfile>),
    Added(Box<BoardProfile>),
}

impl Entry {
    fn profile(&self) -> &BoardProfile {
        match self {
            Entry::BuiltIn(profile) => profile,
            Entry::Added(profile) => profile,
        }
    }
}

/// A set of boards in which every name and alias belongs to one board.
#[derive(Debug, Clone)]
pub struct Boards(BTreeMap<String, (Entry, Origin)>);

impl Boards {
    /// The built-in boards alone.
    pub fn builtin() -> Self {
        let entry = |(name, profile): &'static (&str, LazyLock<BoardProfile>)| {
            ((*name).to_owned(), (Entry::BuiltIn(profile), Origin::BuiltIn))
        };
        Boards(BUILT_IN.iter().map(entry).collect())
    }

    /// The built-in boards and those of `*.yaml` in the given directories. A later board replaces an earlier one
    /// of the same name; within a directory, files are read in the order of their names. A directory that does
    /// not exist holds no boards.
    ///
    /// # Errors
    /// The first file that cannot be read or used, or whose names belong to another board.
    pub fn load(dirs: &[PathBuf]) -> Result<Self, BoardError> {
        let mut boards = Boards::builtin();
        for dir in dirs {
            for path in Kind::Board.files(dir)? {
                let board = BoardProfile::read(&path)?;
                boards.add(board, Origin::File(path))?;
            }
        }
        Ok(boards)
    }

    /// The board that answers to a name or alias.
    pub fn get(&self, name: &str) -> Option<&BoardProfile> {
        self.find(name).map(|(entry, _)| entry.profile())
    }

    /// Where that board comes from.
    pub fn origin(&self, name: &str) -> Option<&Origin> {
        self.find(name).map(|(_, origin)| origin)
    }

    /// All boards, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&BoardProfile, &Origin)> {
        self.0.values().map(|(entry, origin)| (entry.profile(), origin))
    }

    fn find(&self, name: &str) -> Option<&(Entry, Origin)> {
        self.0.get(name).or_else(|| self.0.values().find(|(entry, _)| entry.profile().answers_to(name)))
    }

    /// Adds a board, or replaces the one of the same name.
    ///
    /// # Errors
    /// If its name or an alias belongs to another board.
    pub fn add(&mut self, board: BoardProfile, origin: Origin) -> Result<(), BoardError> {
        for name in std::iter::once(&board.name).chain(&board.aliases) {
            if let Some(other) = self.get(name.as_str())
                && other.name != board.name
            {
                let (name, other) = (name.to_string(), other.name.to_string());
                let (kind, origin) = (Kind::Board, origin.to_string());
                return Err(BoardError::NameTaken { kind, origin, name, other });
            }
        }
        self.0.insert(board.name.to_string(), (Entry::Added(Box::new(board)), origin));
        Ok(())
    }
}

impl BoardProfile {
    /// Reads one board file, which must be a regular file of bounded size.
    ///
    /// # Errors
    /// If it cannot be read, or is no profile.
    pub fn read(path: &Path) -> Result<Self, BoardError> {
        BoardProfile::parse(&path.display().to_string(), &Kind::Board.read(path)?)
    }
}
