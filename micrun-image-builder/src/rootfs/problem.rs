//! What can be wrong with a layer.

use std::io;
use std::path::PathBuf;

use micrun_image_spec::digest::Sha256Digest;

use crate::store::StoreError;

/// What is wrong with which layer.
#[derive(Debug, thiserror::Error)]
#[error("layer {layer} ({digest}): {problem}")]
pub struct LayerProblem {
    /// The layer's place in the manifest.
    pub layer: usize,
    /// Its digest, as the manifest has it.
    pub digest: String,
    /// What is wrong.
    pub problem: Problem,
}

/// Something wrong with a layer.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The place does not give it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its media type is none that can be read.
    #[error("the media type {0} is no layer that can be read: tar, with gzip, zstd or nothing")]
    MediaType(String),
    /// Its bytes are not those that the manifest names.
    #[error("the bytes that are there have the digest {actual} and the size {size}")]
    Digest {
        /// What they are.
        actual: Sha256Digest,
        /// How many there are, at most one more than the manifest says.
        size: u64,
    },
    /// The tar in it is not the one that the configuration names.
    #[error("unpacked, it has the digest {actual}, and the configuration says {expected}")]
    DiffId {
        /// The configuration's.
        expected: Sha256Digest,
        /// What it is.
        actual: Sha256Digest,
    },
    /// It cannot be unpacked.
    #[error("it cannot be unpacked: {0}")]
    Unpack(String),
    /// A file of it does not fit into its temporary file.
    #[error("a file of it cannot be kept in {} (TMPDIR names another directory): {source}", dir.display())]
    Spool {
        /// Where temporary files are.
        dir: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is larger than anything that is read here.
    #[error("it is larger than anything that is read here: {0}")]
    TooMuch(String),
    /// A path that leads out of the image.
    #[error("`{0}` leads out of the image")]
    Outside(String),
    /// A hard link to nothing.
    #[error("`{path}` is a hard link to `{target}`, which is not there")]
    DanglingLink {
        /// The link.
        path: String,
        /// What it should lead to.
        target: String,
    },
    /// It was there a moment ago.
    #[error("the file is not where it was a moment ago")]
    Vanished,
}
