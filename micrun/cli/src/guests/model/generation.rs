//! One version of a guest.

use std::collections::BTreeMap;

use micrun_image_spec::digest::Sha256Digest;
use serde::{Deserialize, Serialize};

/// Everything that a guest is made of. Where any of it changes, the guest is made anew; and whoever wants this version back
/// needs nothing else but the image, which is kept as long as the version is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// The image as it was declared, for people.
    pub image: String,
    /// The digest of its manifest or index.
    pub digest: Sha256Digest,
    /// Where its output goes; empty for nowhere.
    pub log: String,
    /// What it may use.
    #[serde(default)]
    pub resources: Resources,
    /// Annotations of the container.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What a guest may use; `None` for what its image or the node says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u32>,
    /// Percent of one core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u32>,
    /// CPU shares, as engines count: 1024 is usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<u32>,
    /// Cores, such as `1-2,4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cores: Option<String>,
}

impl Generation {
    /// What tells it from others: 16 hex digits. How the image was named does not matter, what it is does.
    pub fn id(&self) -> String {
        let essence = serde_json::json!([self.digest, self.log, self.resources, self.annotations]);
        Sha256Digest::of(essence.to_string().as_bytes()).hex()[..16].to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guest_is_made_of_decides() {
        let one = Generation {
            image: "/a.tar".to_owned(),
            digest: Sha256Digest::of(b"a"),
            log: String::new(),
            resources: Resources::default(),
            annotations: BTreeMap::new(),
        };
        let renamed = Generation { image: "/b.tar".to_owned(), ..one.clone() };
        assert_eq!(one.id(), renamed.id());
        let larger = Resources { memory_mib: Some(64), ..Resources::default() };
        for other in [
            Generation { digest: Sha256Digest::of(b"b"), ..one.clone() },
            Generation { log: "file:///x".to_owned(), ..one.clone() },
            Generation { resources: larger, ..one.clone() },
            Generation { annotations: BTreeMap::from([("a".to_owned(), "b".to_owned())]), ..one.clone() },
        ] {
            assert_ne!(one.id(), other.id());
        }
    }
}
