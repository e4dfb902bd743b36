//! Makes the OCI image: one layer, its configuration, manifest and index. The same inputs give the same bytes, on
//! any machine, in any directory, under any umask.

use std::collections::BTreeMap;
use std::io;

use micrun_image_spec::digest::Sha256Digest;
use oci_spec::OciSpecError;
use oci_spec::image::{Descriptor, MediaType};
use serde::Serialize;

mod artifact;
mod background;
mod compression;
mod documents;
mod epoch;
mod layer;
mod platform;
mod reference;
mod spool;

pub use artifact::{Artifact, ArtifactError, Attachment};
pub(crate) use background::WORTH_A_THREAD;
pub use compression::{Compression, UnknownCompression};
pub(crate) use documents::descriptor;
pub use epoch::{BadEpoch, Epoch};
pub use platform::{BadPlatform, Platform};
pub use reference::{BadReference, Reference};
pub use spool::Spool;

use crate::source::ReadAt;
use crate::store::{Data, Sink, StoreError};
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
    /// A document could not be put together.
    #[error("cannot write the image's JSON documents: {0}")]
    Document(#[from] OciSpecError),
    /// A document could not be put into JSON.
    #[error("cannot write the image's JSON documents: {0}")]
    Json(#[from] serde_json::Error),
    /// The place did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ImageError {
    /// For `map_err`: an I/O error with what was being written.
    pub(crate) fn write(what: impl Into<String>) -> impl FnOnce(io::Error) -> ImageError {
        let what = what.into();
        move |source| ImageError::Write { what, source }
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
    /// The platforms of the nodes that can run it; at least one, each once. They share the layer.
    pub platforms: &'a [Platform],
    /// How the layer is compressed.
    pub compression: Compression,
    /// The time stamp of everything in the image; None for 1970 and no statement.
    pub epoch: Option<Epoch>,
}

/// An image, ready to be written.
pub struct Image {
    layer: Layer,
    layer_descriptor: Descriptor,
    configs: Vec<Document>,
    /// One for each platform; the last one is the root where there is no index.
    manifests: Vec<Document>,
    index: Option<Document>,
}

/// A JSON document with its descriptor.
struct Document {
    bytes: Vec<u8>,
    descriptor: Descriptor,
}

impl Document {
    fn new(media_type: MediaType, document: &impl Serialize) -> Result<Self, ImageError> {
        let bytes = documents::canonical_json(document)?;
        let descriptor = documents::descriptor(media_type, Sha256Digest::of(&bytes), bytes.len() as u64)?;
        Ok(Document { bytes, descriptor })
    }
}

impl Image {
    /// Packs the layer and describes it.
    ///
    /// # Errors
    /// If the layer does not fit the memory or the temporary directory.
    pub fn build(contents: &Contents<'_>) -> Result<Image, ImageError> {
        let layer = Layer::pack(contents)?;
        let layer_descriptor = documents::descriptor(layer.media_type.clone(), layer.digest, layer.size)?;
        let (mut configs, mut manifests) = (Vec::new(), Vec::new());
        for platform in contents.platforms {
            let config = documents::config(contents, platform, &layer)?;
            manifests.push(documents::manifest(contents, platform, &config, &layer_descriptor)?);
            configs.push(config);
        }
        let index = (manifests.len() > 1).then(|| documents::index(contents, &manifests)).transpose()?;
        Ok(Image { layer, layer_descriptor, configs, manifests, index })
    }

    /// The image's root: its index, or its only manifest.
    pub fn descriptor(&self) -> &Descriptor {
        &self.root().descriptor
    }

    fn root(&self) -> &Document {
        // An image has a platform, so it has a manifest.
        self.index.as_ref().unwrap_or_else(|| &self.manifests[self.manifests.len() - 1])
    }

    /// The digest of the layer before compression.
    pub fn diff_id(&self) -> Sha256Digest {
        self.layer.diff_id
    }

    /// Bytes that a registry stores for this image.
    pub fn size(&self) -> u64 {
        let documents = self.configs.iter().chain(&self.manifests).chain(&self.index);
        self.layer.size + documents.map(|document| document.bytes.len() as u64).sum::<u64>()
    }

    /// Puts the image, and what refers to it, into a place. On an error nothing is left there.
    ///
    /// # Errors
    /// If the place refuses it.
    pub fn write(&self, mut sink: Box<dyn Sink + '_>, artifacts: &[Artifact<'_>]) -> Result<(), StoreError> {
        let mut blobs: Vec<(&Descriptor, &dyn Data)> = vec![(&self.layer_descriptor, &self.layer)];
        blobs.extend(self.configs.iter().map(|config| (&config.descriptor, &config.bytes as &dyn Data)));
        blobs.sort_by_key(|(descriptor, _)| descriptor.digest().to_string());
        for (descriptor, data) in blobs {
            if !sink.has_blob(descriptor)? {
                sink.put_blob(descriptor, data)?;
            }
        }
        let root = self.root();
        for manifest in self.manifests.iter().filter(|manifest| manifest.descriptor != root.descriptor) {
            sink.put_document(&manifest.descriptor, &manifest.bytes)?;
        }
        for artifact in artifacts {
            artifact.put(sink.as_mut())?;
        }
        sink.finish(&root.descriptor, &root.bytes)
    }
}
