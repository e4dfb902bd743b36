//! Signing an image where it is.

use std::collections::BTreeMap;

use micrun_image_spec::digest::Sha256Digest;
use oci_spec::image::{Descriptor, MediaType};

use super::key::PrivateKey;
use super::verdict::Place;
use super::{bundle, legacy, payload, statement};
use crate::image::{self, Artifact, ArtifactError, Attachment};
use crate::store::copy::copy;
use crate::store::progress::Progress;
use crate::store::{Sink, Source, StoreError, digest_of, read_document};

/// How a signature is made and stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Format {
    /// A Sigstore bundle in a manifest that refers to the image: what cosign 3 writes.
    #[default]
    Bundle,
    /// A payload under the image's `.sig` tag, which cosign 2 writes. Needs a registry.
    Legacy {
        /// The image's name without a tag, which the payload repeats: `registry.example/demo/zephyr`.
        repository: String,
    },
}

/// What has been signed, and where the signature is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The image.
    pub image: Sha256Digest,
    /// The signature.
    pub place: Place,
}

/// Why an image could not be signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The image cannot be read, or the signature not written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The signature's manifest cannot be made.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// Something else is under the tag.
    #[error(
        "the tag {tag} is not changed, since {problem}: see what it is, and remove it if nobody needs it"
    )]
    Tag {
        /// The tag of the image's signatures.
        tag: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// Signs the image that `source` resolves to, an index as a whole, and puts the signature into `sink`, the same place.
/// The image itself has to be there or be put there by the caller, who also finishes the sink, or drops it if the place
/// needs no finishing (a registry does not). Signing again with the same key changes nothing.
///
/// # Errors
/// If the place cannot be read or refuses the signature.
pub fn sign_image(
    source: &dyn Source,
    sink: &mut dyn Sink,
    key: &PrivateKey,
    format: &Format,
) -> Result<Signed, SignError> {
    let root = source.resolve()?;
    let image = digest_of(&root)?;
    let place = match format {
        Format::Bundle => put_bundle(&root, image, sink, key)?,
        Format::Legacy { repository } => put_payload(source, sink, image, key, repository)?,
    };
    Ok(Signed { image, place })
}

/// Copies the image that `source` resolves to, with everything that refers to it and a signature beside it, and finishes
/// the sink. This signs an image in an archive or a layout, where nothing is added without writing the whole anew.
///
/// # Errors
/// If either place fails; the name at the new place then stands for what it stood for before.
pub fn sign_copy(
    source: &dyn Source,
    mut sink: Box<dyn Sink + '_>,
    key: &PrivateKey,
    progress: &dyn Progress,
) -> Result<Signed, SignError> {
    let signed = sign_image(source, sink.as_mut(), key, &Format::Bundle)?;
    copy(source, sink, &source.resolve()?, true, progress)?;
    Ok(signed)
}

fn put_bundle(
    root: &Descriptor,
    image: Sha256Digest,
    sink: &mut dyn Sink,
    key: &PrivateKey,
) -> Result<Place, SignError> {
    let bundle = bundle::create(image, key);
    let descriptor = describe(MediaType::from(bundle::MEDIA_TYPE), &bundle)?;
    // What cosign writes, apart from the time: a clock would make each signature another one.
    let annotations = BTreeMap::from([
        ("dev.sigstore.bundle.content".to_owned(), "dsse-envelope".to_owned()),
        ("dev.sigstore.bundle.predicateType".to_owned(), statement::PREDICATE_TYPE.to_owned()),
    ]);
    let attachments = vec![Attachment::described(descriptor, Box::new(bundle))];
    let artifact = Artifact::new(root, bundle::MEDIA_TYPE, attachments, annotations, None)?;
    artifact.put(sink)?;
    Ok(Place::Referrer(digest_of(artifact.descriptor())?))
}

/// Registries cannot compare and swap: of two who sign at the same moment, one may be lost.
fn put_payload(
    source: &dyn Source,
    sink: &mut dyn Sink,
    image: Sha256Digest,
    key: &PrivateKey,
    repository: &str,
) -> Result<Place, SignError> {
    let tag = legacy::tag_of(image);
    let payload = payload::of(image, repository);
    let existing = match source.tag(&tag)? {
        Some(manifest) => Some(read_document(source, &manifest)?),
        None => None,
    };
    let appended = legacy::append(existing.as_deref(), &payload, &key.sign(&payload));
    let appended = appended.map_err(|problem| SignError::Tag { tag: tag.clone(), problem })?;
    if let Some(legacy::Appended { manifest, config }) = appended {
        put_blob(sink, MediaType::from(legacy::PAYLOAD_MEDIA_TYPE), &payload)?;
        put_blob(sink, MediaType::ImageConfig, &config)?;
        sink.put_tag(&tag, &describe(MediaType::ImageManifest, &manifest)?, &manifest)?;
    }
    Ok(Place::Tag(tag))
}

fn put_blob(sink: &mut dyn Sink, media_type: MediaType, bytes: &[u8]) -> Result<(), SignError> {
    let descriptor = describe(media_type, bytes)?;
    if !sink.has_blob(&descriptor)? {
        sink.put_blob(&descriptor, &bytes.to_vec())?;
    }
    Ok(())
}

fn describe(media_type: MediaType, bytes: &[u8]) -> Result<Descriptor, ArtifactError> {
    Ok(image::descriptor(media_type, Sha256Digest::of(bytes), bytes.len() as u64)?)
}
