//! Makes the OCI image: one layer, its configuration, manifest and index. The same inputs give the same bytes, on
//! any machine, in any directory, under any umask.

use std::collections::BTreeMap;
use std::io;

use micrun_image_spec::digest::Sha256Digest;
use oci_spec::OciSpecError;

mod archive;
mod artifact;
mod compression;
mod directory;
mod documents;
mod epoch;
mod layer;
mod platform;
mod reference;

pub use archive::write_archive;
pub use artifact::{Artifact, ArtifactError, Attachment};
pub use compression::{Compression, UnknownCompression};
pub use directory::write_directory;
pub use documents::{CONTAINERD_NAME, REF_NAME};
pub use epoch::{BadEpoch, Epoch};
pub use platform::{BadPlatform, Platform};
pub use reference::{BadReference, Reference};

use crate::source::ReadAt;
use layer::Layer;

/// Why an image could not be made or written.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Writing failed; the sentence says what was being written.
    #[error("cannot write {what}: {source}")]
    Write {
        /// What was being written.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// What is at the place already could not be read.
    #[error("cannot read {what}, which is to be replaced: {source}")]
    Read {
        /// What was being read.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// A document could not be put together.
    #[error("cannot write the image's JSON documents: {0}")]
    Document(#[from] OciSpecError),
    /// A document could not be put into JSON.
    #[error("cannot write the image's JSON documents: {0}")]
    Json(#[from] serde_json::Error),
    /// The output directory holds something else than an OCI layout of ours to replace.
    #[error("{0} is not empty and not an OCI image layout: give another directory, or empty this one")]
    NotALayout(String),
    /// The output directory is an OCI layout with several images, which would be lost.
    #[error(
        "{0} holds other images, which would be lost: give another directory; skopeo copy puts an image beside others"
    )]
    OtherImages(String),
}

impl ImageError {
    /// For `map_err`: an I/O error with what was being written.
    pub(crate) fn write(what: impl Into<String>) -> impl FnOnce(io::Error) -> ImageError {
        let what = what.into();
        move |source| ImageError::Write { what, source }
    }

    fn read(what: String) -> impl FnOnce(io::Error) -> ImageError {
        move |source| ImageError::Read { what, source }
    }
}

/// A file in an image.
#[derive(Clone, Copy)]
pub struct LayerFile<'a> {
    /// Its absolute path in the image's root.
    pub path: &'a str,
    /// True for what is run, false for what is read.
    pub executable: bool,
    /// Its bytes.
    pub data: &'a dyn ReadAt,
}

/// What goes into an image.
pub struct Contents<'a> {
    /// The files, sorted by path.
    pub files: &'a [LayerFile<'a>],
    /// For the manifest, and as labels for the configuration.
    pub annotations: &'a BTreeMap<String, String>,
    /// The node's platform.
    pub platform: &'a Platform,
    /// How the layer is compressed.
    pub compression: Compression,
    /// The time stamp of everything in the image; None for 1970 and no statement.
    pub epoch: Option<Epoch>,
    /// The image's name.
    pub reference: &'a Reference,
}

/// An image, ready to be written.
pub struct Image {
    layer: Layer,
    config: Document,
    manifest: Document,
    index: Vec<u8>,
    epoch: Epoch,
}

/// A JSON document with its digest.
struct Document {
    bytes: Vec<u8>,
    digest: Sha256Digest,
}

impl Document {
    fn new(bytes: Vec<u8>) -> Self {
        let digest = Sha256Digest::of(&bytes);
        Document { bytes, digest }
    }
}

impl Image {
    /// Packs the layer and describes it.
    ///
    /// # Errors
    /// If the layer does not fit the memory or the temporary directory.
    pub fn build(contents: &Contents<'_>) -> Result<Image, ImageError> {
        let layer = Layer::pack(contents)?;
        let config = Document::new(documents::config(contents, &layer)?);
        let manifest = Document::new(documents::manifest(contents, &config, &layer)?);
        let index = documents::index(contents, &manifest)?;
        Ok(Image { layer, config, manifest, index, epoch: contents.epoch.unwrap_or_default() })
    }

    /// The manifest's digest: the digest of the image.
    pub fn digest(&self) -> Sha256Digest {
        self.manifest.digest
    }

    /// The digest of the layer before compression.
    pub fn diff_id(&self) -> Sha256Digest {
        self.layer.diff_id
    }

    /// Bytes that a registry stores for this image.
    pub fn size(&self) -> u64 {
        self.layer.size + (self.config.bytes.len() + self.manifest.bytes.len()) as u64
    }
}

/// The content of `oci-layout` (image-spec, "Image Layout").
const OCI_LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
