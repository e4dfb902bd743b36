//! Why an image could not be read or written.

use std::io;

use micrun_image_spec::digest::Sha256Digest;

use crate::registry::RegistryError;

/// Why an image could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Reading failed.
    #[error("cannot read {what}: {source}")]
    Read {
        /// What was being read: a path, or a digest.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// Writing failed.
    #[error("cannot write {what}: {source}")]
    Write {
        /// What was being written.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// The place is there, the image is not.
    #[error("{0}")]
    NotFound(String),
    /// What is there is no image, or not a whole one.
    #[error("{what} is no OCI image: {problem}")]
    Malformed {
        /// What was being read.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The bytes are not those that were asked for.
    #[error("{expected} is damaged: what is stored under this name has {size} bytes and the digest {actual}")]
    Corrupt {
        /// What was asked for.
        expected: Sha256Digest,
        /// The digest of what came.
        actual: Sha256Digest,
        /// Bytes that came.
        size: u64,
    },
    /// A document that is too large to be one.
    #[error("{what} has {size} bytes, and no manifest or index has more than {max}")]
    TooLarge {
        /// What was to be read.
        what: String,
        /// Its size by its descriptor's account, bytes.
        size: u64,
        /// The limit, bytes.
        max: u64,
    },
    /// Something that OCI allows and this program does not know.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// The place holds something else, which is not to be overwritten.
    #[error("{0}")]
    InTheWay(String),
    /// A registry did not do its part.
    #[error(transparent)]
    Registry(Box<RegistryError>),
    /// containerd did not do its part.
    #[cfg(unix)]
    #[error(transparent)]
    Containerd(Box<crate::containerd::ContainerdError>),
}

impl StoreError {
    /// For `map_err`: an I/O error with what was being read.
    pub fn read(what: impl Into<String>) -> impl FnOnce(io::Error) -> StoreError {
        let what = what.into();
        move |source| StoreError::Read { what, source }
    }

    /// For `map_err`: an I/O error with what was being written.
    pub fn write(what: impl Into<String>) -> impl FnOnce(io::Error) -> StoreError {
        let what = what.into();
        move |source| StoreError::Write { what, source }
    }
}
