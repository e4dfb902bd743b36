//! The places where images live, each behind the same two traits: something to read from and something to write to.
//!
//! | module | what it knows |
//! | --- | --- |
//! | [`location`] | how users name a place |
//! | [`archive`] | an OCI archive, one tar file |
//! | [`directory`] | an OCI layout, a directory |
//! | [`layout`] | `index.json`, which both have |
//! | [`garbage`] | what a layout needs no more |
//! | [`graph`] | an image as a whole |
//! | [`mod@copy`] | from one place to another |
//! | [`memory`] | images in memory |
//! | [`mod@join`] | images for several platforms under one index |
//! | [`progress`] | who wants to know how far a transfer is |
//!
//! An image is a tree of JSON documents (indexes and manifests) and the blobs that they name (configuration and
//! layers). A document is small and held in memory; a blob may be larger than the memory and is always streamed.

use std::io::Read;

use micrun_image_spec::digest::Sha256Digest;
use oci_spec::image::{Descriptor, MediaType};

pub mod archive;
pub mod copy;
pub mod directory;
mod error;
mod garbage;
pub mod graph;
pub mod join;
pub mod layout;
pub mod location;
pub mod memory;
pub(crate) mod place;
pub mod progress;

pub use error::StoreError;
pub use location::Location;
pub use memory::MemoryStore;

use copy::copy_verified;

/// Largest index or manifest that is read, bytes. Registries take 4 MiB (distribution-spec, "Pushing Manifests").
pub const MAX_DOCUMENT: u64 = 4 << 20;

/// Reads images out of one place: one archive, one layout, one repository of a registry.
pub trait Source: Sync {
    /// The descriptor of the image that the user named, an index or a manifest.
    ///
    /// # Errors
    /// If there is none, or several of which none was named.
    fn resolve(&self) -> Result<Descriptor, StoreError>;

    /// The bytes of a document or blob from an offset on. They are not verified here: whoever reads them to the end
    /// compares their digest ([`read_document`] does).
    ///
    /// # Errors
    /// If the place does not have it, or cannot be read.
    fn open(&self, descriptor: &Descriptor, offset: u64) -> Result<Box<dyn Read + Send + '_>, StoreError>;

    /// The manifests whose subject is this one: signatures, bills of materials, debug information.
    ///
    /// # Errors
    /// If the place cannot be read. None at all is no error.
    fn referrers(&self, subject: Sha256Digest) -> Result<Vec<Descriptor>, StoreError>;

    /// The document under another tag of the same repository. A place that keeps no tags beside its image has none.
    ///
    /// # Errors
    /// If the place cannot be read. A tag that is not there is no error.
    fn tag(&self, _tag: &str) -> Result<Option<Descriptor>, StoreError> {
        Ok(None)
    }
}

/// Takes images into one place. Nothing is visible there under the image's name before [`Sink::finish`], and a sink
/// that is dropped instead leaves nothing that anybody would take for an image.
pub trait Sink {
    /// True if the place has this blob already, so that it need not be put.
    ///
    /// # Errors
    /// If the place does not answer.
    fn has_blob(&mut self, blob: &Descriptor) -> Result<bool, StoreError>;

    /// Puts a configuration or layer. A sink may ask for the bytes more than once, from different offsets, to go on
    /// after an interruption.
    ///
    /// # Errors
    /// If the place refuses it, or `data` cannot be read, or is not what the descriptor says.
    fn put_blob(&mut self, blob: &Descriptor, data: &dyn Data) -> Result<(), StoreError>;

    /// Puts a manifest or index that the image's root, or another referrer, leads to. What it names was put before.
    ///
    /// # Errors
    /// If the place refuses it.
    fn put_document(&mut self, descriptor: &Descriptor, document: &[u8]) -> Result<(), StoreError>;

    /// Puts a manifest that has `subject` as its subject. The place has to list it among the subject's referrers. It may
    /// come before or after the subject itself.
    ///
    /// # Errors
    /// If the place refuses it.
    fn put_referrer(
        &mut self,
        subject: Sha256Digest,
        descriptor: &Descriptor,
        document: &[u8],
    ) -> Result<(), StoreError>;

    /// Puts a manifest under another tag of the same repository, in place of what that tag stood for. What it names was
    /// put before.
    ///
    /// # Errors
    /// If the place refuses it, or keeps no tags beside its image.
    fn put_tag(&mut self, tag: &str, _descriptor: &Descriptor, _document: &[u8]) -> Result<(), StoreError> {
        Err(StoreError::Unsupported(format!(
            "the tag {tag} beside the image: only a registry keeps such tags"
        )))
    }

    /// Puts the image's root, a manifest or index, under the name that the sink was made for, and makes everything
    /// durable.
    ///
    /// # Errors
    /// If the place refuses it; then the name still stands for what it stood for before.
    fn finish(self: Box<Self>, root: &Descriptor, document: &[u8]) -> Result<(), StoreError>;
}

/// Bytes that can be read more than once.
pub trait Data: Sync {
    /// The bytes from an offset on.
    ///
    /// # Errors
    /// If they cannot be read.
    fn open(&self, offset: u64) -> Result<Box<dyn Read + Send + '_>, StoreError>;

    /// True where their descriptor was made from these very bytes, which have stayed in this process since: hashing them
    /// again would tell nothing.
    fn is_proven(&self) -> bool {
        false
    }
}

/// Bytes in memory.
impl Data for [u8] {
    fn open(&self, offset: u64) -> Result<Box<dyn Read + Send + '_>, StoreError> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.len());
        Ok(Box::new(&self[start..]))
    }
}

impl Data for Vec<u8> {
    fn open(&self, offset: u64) -> Result<Box<dyn Read + Send + '_>, StoreError> {
        self.as_slice().open(offset)
    }
}

/// True for what a registry keeps as a manifest: indexes and manifests, Docker's included.
pub fn is_document(media_type: &MediaType) -> bool {
    is_index(media_type) || is_manifest(media_type)
}

/// True for an index, Docker's manifest list included.
pub fn is_index(media_type: &MediaType) -> bool {
    match media_type {
        MediaType::ImageIndex => true,
        other => other.to_string() == "application/vnd.docker.distribution.manifest.list.v2+json",
    }
}

/// True for a manifest, Docker's included.
pub fn is_manifest(media_type: &MediaType) -> bool {
    match media_type {
        MediaType::ImageManifest => true,
        other => other.to_string() == "application/vnd.docker.distribution.manifest.v2+json",
    }
}

/// The digest that a descriptor names.
///
/// # Errors
/// If it is no sha256.
pub fn digest_of(descriptor: &Descriptor) -> Result<Sha256Digest, StoreError> {
    let text = descriptor.digest().to_string();
    text.parse().map_err(|_| StoreError::Unsupported(format!("the digest {text}: only sha256 is")))
}

/// Reads an index or manifest and compares its size and digest.
///
/// # Errors
/// If it cannot be read, is larger than [`MAX_DOCUMENT`], or is not what the descriptor says.
pub fn read_document(source: &dyn Source, descriptor: &Descriptor) -> Result<Vec<u8>, StoreError> {
    let digest = digest_of(descriptor)?;
    if descriptor.size() > MAX_DOCUMENT {
        return Err(StoreError::TooLarge {
            what: digest.to_string(),
            size: descriptor.size(),
            max: MAX_DOCUMENT,
        });
    }
    let mut document = Vec::new();
    source
        .open(descriptor, 0)?
        .take(MAX_DOCUMENT + 1)
        .read_to_end(&mut document)
        .map_err(StoreError::read(digest.to_string()))?;
    let actual = Sha256Digest::of(&document);
    if actual != digest || document.len() as u64 != descriptor.size() {
        return Err(StoreError::Corrupt { expected: digest, actual, size: document.len() as u64 });
    }
    Ok(document)
}
