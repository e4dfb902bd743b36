//! What is found beside an image, and whether it counts.

use std::fmt;

use micrun_image_spec::digest::Sha256Digest;
use micrun_image_spec::text::excerpt;

use crate::store::StoreError;

/// Where a signature was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a manifest that refers to the image.
    Referrer(Sha256Digest),
    /// In the manifest under the image's `.sig` tag.
    Tag(String),
    /// One of the signatures in that manifest, counted from 1.
    Signature {
        /// The tag.
        tag: String,
        /// Which of its signatures.
        number: usize,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Referrer(manifest) => write!(f, "the referrer {manifest}"),
            Place::Tag(tag) => write!(f, "the tag {tag}"),
            Place::Signature { tag, number } => write!(f, "signature {number} of the tag {tag}"),
        }
    }
}

/// A signature that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Where it was found.
    pub place: Place,
    /// The repository that its signer named, if the format has that. It says where the image was when it was signed;
    /// images may move, so nothing is compared with it.
    pub repository: Option<String>,
}

/// Something that does not count, and why.
#[derive(Debug)]
pub struct Rejected {
    /// Where it was found.
    pub place: Place,
    /// Why it does not count.
    pub reason: Rejection,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.reason)
    }
}

/// Why something that was found beside an image is no signature of the key over this image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// Another key, or bytes that were changed after signing.
    #[error("another key made it, or it was changed since{}", .hint.as_ref().map(|hint| format!(" (it names the key {hint})")).unwrap_or_default())]
    WrongKey {
        /// The digest of the key that it claims to be made with.
        hint: Option<String>,
    },
    /// A valid signature over another image.
    #[error("the key signed another image, {0}")]
    OtherImage(String),
    /// A signature with a certificate instead of a key.
    #[error(
        "it was made with a certificate (keyless), which proves an identity and no key: `cosign verify` can judge it"
    )]
    Certificate,
    /// Signed by the key, but as a statement about something else than the image's being signed.
    #[error("the key signed a statement of the type {0}, which is no signature of an image")]
    NoSignature(String),
    /// One too many.
    #[error("it and what comes behind it were not looked at: no image has more than {0} signatures")]
    TooMany(usize),
    /// It cannot be understood.
    #[error("{0}")]
    Malformed(String),
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] StoreError),
}

impl Rejection {
    /// The digest in full, or the start of whatever stands in its place.
    pub(super) fn other_image(named: &str) -> Self {
        let digest = named.parse::<Sha256Digest>().map(|digest| digest.to_string());
        Rejection::OtherImage(digest.unwrap_or_else(|_| excerpt(named)))
    }
}
