//! Where a value of a container comes from.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::node::Place;

/// A source, from the weakest to the strongest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "source", rename_all = "snake_case")]
pub enum Origin {
    /// Built in.
    Default,
    /// `micrun.conf` or one of its drop-ins.
    Node {
        /// The file.
        file: PathBuf,
        /// The line, from 1 on.
        line: usize,
    },
    /// client.conf in the image.
    Image {
        /// The key there.
        key: String,
    },
    /// What the engine asks for in `config.json`.
    Spec {
        /// The field there.
        field: String,
    },
    /// An annotation of the container.
    Annotation {
        /// Its full key.
        key: String,
    },
    /// It follows from other values.
    Follows {
        /// Which.
        from: String,
    },
}

impl Origin {
    /// A key of client.conf.
    pub fn image(key: impl ToString) -> Origin {
        Origin::Image { key: key.to_string() }
    }
}

impl From<&Place> for Origin {
    fn from(place: &Place) -> Origin {
        Origin::Node { file: place.file.clone(), line: place.line }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::Node { file, line } => write!(f, "{}:{line}", file.display()),
            Origin::Image { key } => write!(f, "{key} in the image's client.conf"),
            Origin::Spec { field } => write!(f, "{field} in config.json"),
            Origin::Annotation { key } => write!(f, "annotation {key}"),
            Origin::Follows { from } => write!(f, "follows from {from}"),
        }
    }
}
