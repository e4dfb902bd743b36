//! What is stored beside an image and refers to it: a bill of materials, debug information, a signature. Each is a
//! manifest of its own, whose subject is the image's (image-spec, "Guidelines for Artifact Usage").

use std::collections::{BTreeMap, HashMap};

use micrun_image_spec::digest::Sha256Digest;
use oci_spec::image::{Descriptor, ImageManifestBuilder, MediaType};

use super::{Epoch, ImageError, documents};
use crate::store::{Data, Sink, StoreError, digest_of};

/// The configuration of an artifact that has none (image-spec, "Guidance for an Empty Descriptor").
const EMPTY: &[u8] = b"{}";
const CREATED: &str = "org.opencontainers.image.created";
/// The file name under which tools offer to save a layer of an artifact.
const TITLE: &str = "org.opencontainers.image.title";

/// One file of an artifact: what it is, and its bytes.
pub struct Attachment<'a> {
    descriptor: Descriptor,
    data: Box<dyn Data + 'a>,
}

impl<'a> Attachment<'a> {
    /// A file in memory, to be saved under the name `title`.
    ///
    /// # Errors
    /// None that a media type and a title could cause.
    pub fn in_memory(media_type: &str, title: &str, bytes: Vec<u8>) -> Result<Self, ImageError> {
        let mut descriptor =
            documents::descriptor(MediaType::from(media_type), Sha256Digest::of(&bytes), bytes.len() as u64)?;
        descriptor.set_annotations(Some(HashMap::from([(TITLE.to_owned(), title.to_owned())])));
        Ok(Attachment { descriptor, data: Box::new(bytes) })
    }

    /// Bytes of any size that somebody else has described: media type, size, digest, annotations.
    pub fn described(descriptor: Descriptor, data: Box<dyn Data + 'a>) -> Self {
        Attachment { descriptor, data }
    }
}

/// A manifest that refers to an image, with its files. The same parts give the same bytes.
pub struct Artifact<'a> {
    subject: Sha256Digest,
    config: Attachment<'a>,
    descriptor: Descriptor,
    manifest: Vec<u8>,
    attachments: Vec<Attachment<'a>>,
}

impl<'a> Artifact<'a> {
    /// Describes the files as one artifact of the image `subject`. With an epoch, its time stamp joins the annotations,
    /// unless they have one.
    ///
    /// # Errors
    /// If the subject's digest is no sha256.
    pub fn new(
        subject: &Descriptor,
        artifact_type: &str,
        attachments: Vec<Attachment<'a>>,
        mut annotations: BTreeMap<String, String>,
        epoch: Option<Epoch>,
    ) -> Result<Self, ArtifactError> {
        let subject_digest = digest_of(subject)?;
        if let Some(epoch) = epoch {
            annotations.entry(CREATED.to_owned()).or_insert_with(|| epoch.to_string());
        }
        let annotations: Option<HashMap<_, _>> =
            (!annotations.is_empty()).then(|| annotations.into_iter().collect());
        let artifact_type = MediaType::from(artifact_type);
        let config = empty()?;
        // Where the subject was found, its platform and its name there, is nothing that its referrers are about.
        let subject = documents::descriptor(subject.media_type().clone(), subject_digest, subject.size())?;
        let mut document = ImageManifestBuilder::default()
            .schema_version(2u32)
            .media_type(MediaType::ImageManifest)
            .artifact_type(artifact_type.clone())
            .config(config.descriptor.clone())
            .layers(attachments.iter().map(|file| file.descriptor.clone()).collect::<Vec<_>>())
            .subject(subject)
            .build()
            .map_err(ImageError::from)?;
        document.set_annotations(annotations.clone());
        let manifest = documents::canonical_json(&document)?;
        let mut descriptor = documents::descriptor(
            MediaType::ImageManifest,
            Sha256Digest::of(&manifest),
            manifest.len() as u64,
        )?;
        descriptor.set_artifact_type(Some(artifact_type));
        descriptor.set_annotations(annotations);
        Ok(Artifact { subject: subject_digest, config, descriptor, manifest, attachments })
    }

    /// The manifest's descriptor as a list of referrers holds it: with the artifact's type and its annotations
    /// (distribution-spec, "Listing Referrers").
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// The manifest.
    pub fn manifest(&self) -> &[u8] {
        &self.manifest
    }

    /// Puts the files, then the manifest that names them, beside the image. The image itself may come later.
    ///
    /// # Errors
    /// If the place refuses them.
    pub fn put(&self, sink: &mut dyn Sink) -> Result<(), StoreError> {
        for Attachment { descriptor, data } in std::iter::once(&self.config).chain(&self.attachments) {
            if !sink.has_blob(descriptor)? {
                sink.put_blob(descriptor, data.as_ref())?;
            }
        }
        sink.put_referrer(self.subject, &self.descriptor, &self.manifest)
    }
}

/// Why an artifact cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The image is named in a way that is not known here.
    #[error("cannot refer to the image: {0}")]
    Subject(#[from] StoreError),
    /// The manifest could not be put together.
    #[error(transparent)]
    Document(#[from] ImageError),
}

fn empty() -> Result<Attachment<'static>, ImageError> {
    let descriptor =
        documents::descriptor(MediaType::EmptyJSON, Sha256Digest::of(EMPTY), EMPTY.len() as u64)?;
    Ok(Attachment::described(descriptor, Box::new(EMPTY.to_vec())))
}
