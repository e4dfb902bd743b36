//! Zephyr's names for boards, and the profile that such a name leads to.
//!
//! Since Zephyr 3.7 a target is `name@revision/soc/cpucluster/variant`, of which only the name is always there. Before,
//! it was one word, `name_soc_cpucluster_variant@revision`.

use std::fmt;
use std::str::FromStr;

use micrun_image_spec::board::{BoardProfile, Boards};
use micrun_image_spec::text::excerpt;

use super::Kconfig;

/// A board as Zephyr names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoardTarget {
    name: String,
    revision: Option<String>,
    qualifiers: Vec<String>,
}

/// A text that names no board.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no board: Zephyr's boards are called NAME@REVISION/SOC/CLUSTER/VARIANT, all but the name optional"
)]
pub struct BadBoardTarget(String);

/// The profile that was found for a target.
#[derive(Debug, Clone)]
pub struct BoardMatch<'b> {
    /// The profile.
    pub board: &'b BoardProfile,
    /// False if something of the target, its revision or a qualifier, had to be left out.
    pub exact: bool,
}

impl BoardTarget {
    /// Longest name, revision or list of qualifiers, bytes.
    const MAX_PART: usize = 128;

    /// Puts a target together; an empty text is a part that is not there.
    ///
    /// # Errors
    /// If one of them has characters that Zephyr's names do not have.
    pub fn new(name: &str, revision: &str, qualifiers: &str) -> Result<Self, BadBoardTarget> {
        let parts = || qualifiers.split('/').filter(|_| !qualifiers.is_empty());
        let long = [name, revision, qualifiers].iter().any(|part| part.len() > Self::MAX_PART);
        if long || !is_word(name) || !(revision.is_empty() || is_word(revision)) || !parts().all(is_word) {
            let at = if revision.is_empty() { "" } else { "@" };
            let slash = if qualifiers.is_empty() { "" } else { "/" };
            return Err(BadBoardTarget(excerpt(&format!("{name}{at}{revision}{slash}{qualifiers}"))));
        }
        Ok(BoardTarget {
            name: name.to_owned(),
            revision: (!revision.is_empty()).then(|| revision.to_owned()),
            qualifiers: parts().map(str::to_owned).collect(),
        })
    }

    /// What `.config` says. Builds of different ages say it in different options.
    pub fn from_kconfig(kconfig: &Kconfig) -> Option<Self> {
        let text = |name| kconfig.string(name).unwrap_or_default();
        let revision = text("BOARD_REVISION");
        if let Some(Ok(target)) = kconfig.string("BOARD_TARGET").map(BoardTarget::from_str) {
            let revision = target.revision.or_else(|| is_word(revision).then(|| revision.to_owned()));
            return Some(BoardTarget { revision, ..target });
        }
        BoardTarget::new(kconfig.string("BOARD")?, revision, text("BOARD_QUALIFIERS")).ok()
    }

    /// The names under which a profile is looked for, the most specific first: qualifiers fall away from the end,
    /// and of two with the same qualifiers the one with the revision comes first.
    pub fn candidates(&self) -> Vec<String> {
        let mut names = Vec::new();
        for count in (0..=self.qualifiers.len()).rev() {
            let qualifiers: String = self.qualifiers[..count].iter().map(|q| format!("/{q}")).collect();
            names
                .extend(self.revision.iter().map(|revision| format!("{}@{revision}{qualifiers}", self.name)));
            names.push(format!("{}{qualifiers}", self.name));
        }
        names
    }

    /// The first board that answers to one of the candidates, in the new spelling or the old one.
    pub fn find<'b>(&self, boards: &'b Boards) -> Option<BoardMatch<'b>> {
        self.candidates().iter().enumerate().find_map(|(place, name)| {
            let board = boards.get(name).or_else(|| with_old_spelling(boards, name))?;
            Some(BoardMatch { board, exact: place == 0 })
        })
    }
}

/// The board one of whose names is this one but for slashes: `nrf5340dk_nrf5340_cpuapp`, `nrf5340dk/nrf5340/cpuapp`.
fn with_old_spelling<'b>(boards: &'b Boards, name: &str) -> Option<&'b BoardProfile> {
    let old = |name: &str| name.replace('/', "_");
    let wanted = old(name);
    let answers = |board: &BoardProfile| {
        std::iter::once(&board.name).chain(&board.aliases).any(|known| old(known.as_str()) == wanted)
    };
    boards.iter().map(|(board, _)| board).find(|board| answers(board))
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

impl FromStr for BoardTarget {
    type Err = BadBoardTarget;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (board, qualifiers) = text.split_once('/').unwrap_or((text, ""));
        let (name, revision) = board.split_once('@').unwrap_or((board, ""));
        let missing =
            (board.contains('@') && revision.is_empty()) || (text.contains('/') && qualifiers.is_empty());
        if missing {
            return Err(BadBoardTarget(excerpt(text)));
        }
        BoardTarget::new(name, revision, qualifiers)
    }
}

impl fmt::Display for BoardTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.revision.iter().try_for_each(|revision| write!(f, "@{revision}"))?;
        self.qualifiers.iter().try_for_each(|qualifier| write!(f, "/{qualifier}"))
    }
}
