//! Joins images for several platforms under one index.

use std::collections::HashMap;

use micrun_image_spec::digest::Sha256Digest;
use oci_spec::image::{
    Descriptor, DescriptorBuilder, ImageConfiguration, ImageIndex, ImageIndexBuilder, MediaType, Platform,
    PlatformBuilder,
};
use serde_json::Value;

use super::copy::{Copied, copy_below};
use super::graph::Graph;
use super::progress::Progress;
use super::{MAX_DOCUMENT, Sink, Source, StoreError, digest_of, is_index, is_manifest, read_document};
use crate::contents::{is_attestation, platform};

/// The images of one place that join.
pub struct Part<'a> {
    /// What the user called it.
    pub name: String,
    /// Where it lies.
    pub source: Box<dyn Source + 'a>,
}

/// An index that is ready to be written.
pub struct Joined<'a> {
    parts: Vec<(Part<'a>, Vec<Descriptor>)>,
    root: Descriptor,
    document: Vec<u8>,
}

/// Makes the index over all images of the parts; where a part is an index, over its images.
///
/// # Errors
/// If a part cannot be read, or two images are for the same platform: containerd picks an image by its platform alone, so
/// the second would never run.
pub fn join(parts: Vec<Part<'_>>) -> Result<Joined<'_>, StoreError> {
    let mut images: Vec<(String, Descriptor)> = Vec::new();
    let mut joined = Vec::new();
    for part in parts {
        let manifests = manifests(part.source.as_ref())?;
        images.extend(manifests.iter().map(|manifest| (part.name.clone(), manifest.clone())));
        joined.push((part, manifests));
    }
    refuse_same_platform(&images)?;
    let manifests: Vec<Descriptor> = images.into_iter().map(|(_, manifest)| manifest).collect();
    let index = ImageIndexBuilder::default()
        .schema_version(2u32)
        .media_type(MediaType::ImageIndex)
        .manifests(manifests)
        .build();
    let document = index.map_err(|error| StoreError::Unsupported(error.to_string()))?;
    let mut document: Value = serde_json::to_value(document)
        .map_err(|error| StoreError::Unsupported(format!("an index that is no JSON: {error}")))?;
    document.sort_all_objects();
    let document = document.to_string().into_bytes();
    let root = describe(MediaType::ImageIndex, &document)?;
    Ok(Joined { parts: joined, root, document })
}

impl Joined<'_> {
    /// The index's descriptor.
    pub fn descriptor(&self) -> &Descriptor {
        &self.root
    }

    /// The platforms, in the order of the parts.
    pub fn platforms(&self) -> impl Iterator<Item = String> {
        let all = self.parts.iter().flat_map(|(_, manifests)| manifests);
        all.filter(|manifest| !is_attestation(manifest)).map(platform_text)
    }

    /// Copies all images and puts the index over them. What refers to the images comes along.
    ///
    /// # Errors
    /// If a place fails.
    pub fn write(&self, mut sink: Box<dyn Sink + '_>, progress: &dyn Progress) -> Result<Copied, StoreError> {
        let mut copied = Copied::default();
        for (part, manifests) in &self.parts {
            for manifest in manifests {
                let source = part.source.as_ref();
                let image: Graph = copy_below(source, sink.as_mut(), manifest, true, progress, &mut copied)?;
                sink.put_document(manifest, image.root_document())?;
            }
        }
        sink.finish(&self.root, &self.document)?;
        Ok(copied)
    }
}

/// The images of a place, each with its platform and without its name.
fn manifests(source: &dyn Source) -> Result<Vec<Descriptor>, StoreError> {
    let root = source.resolve()?;
    let document = read_document(source, &root)?;
    let malformed = |error: serde_json::Error| StoreError::Malformed {
        what: root.digest().to_string(),
        problem: error.to_string(),
    };
    let mut manifests = if is_index(root.media_type()) {
        let index: ImageIndex = serde_json::from_slice(&document).map_err(malformed)?;
        index.manifests().iter().filter(|entry| is_manifest(entry.media_type())).cloned().collect()
    } else {
        vec![root.clone()]
    };
    // Attestations keep their annotations, which say of which image they are.
    for manifest in manifests.iter_mut().filter(|manifest| !is_attestation(manifest)) {
        if manifest.platform().is_none() {
            manifest.set_platform(Some(platform_of(source, manifest)?));
        }
        manifest.set_annotations(None::<HashMap<String, String>>);
    }
    Ok(manifests)
}

/// The platform that an image's configuration states.
fn platform_of(source: &dyn Source, manifest: &Descriptor) -> Result<Platform, StoreError> {
    let what = digest_of(manifest)?.to_string();
    let malformed = |problem: String| StoreError::Malformed { what: what.clone(), problem };
    let document: Value = serde_json::from_slice(&read_document(source, manifest)?)
        .map_err(|error| malformed(error.to_string()))?;
    let config: Descriptor = serde_json::from_value(document["config"].clone())
        .map_err(|error| malformed(format!("its configuration: {error}")))?;
    if config.size() > MAX_DOCUMENT {
        return Err(StoreError::TooLarge { what, size: config.size(), max: MAX_DOCUMENT });
    }
    let config: ImageConfiguration = serde_json::from_slice(&read_document(source, &config)?)
        .map_err(|error| malformed(format!("its configuration: {error}")))?;
    let mut platform = PlatformBuilder::default()
        .os(config.os().clone())
        .architecture(config.architecture().clone())
        .build()
        .map_err(|error| malformed(error.to_string()))?;
    platform.set_variant(config.variant().clone());
    Ok(platform)
}

fn refuse_same_platform(images: &[(String, Descriptor)]) -> Result<(), StoreError> {
    let mut seen: HashMap<String, &str> = HashMap::new();
    for (name, manifest) in images.iter().filter(|(_, manifest)| !is_attestation(manifest)) {
        let platform = platform_text(manifest);
        if let Some(earlier) = seen.insert(platform.clone(), name) {
            return Err(StoreError::Unsupported(format!(
                "two images for {platform} in one index ({earlier} and {name}): containerd picks by platform alone; give \
                 each board a tag of its own"
            )));
        }
    }
    Ok(())
}

fn platform_text(manifest: &Descriptor) -> String {
    platform(manifest).unwrap_or_else(|| "an unknown platform".to_owned())
}

fn describe(media_type: MediaType, document: &[u8]) -> Result<Descriptor, StoreError> {
    let unsupported = |problem: String| StoreError::Unsupported(problem);
    let digest = Sha256Digest::of(document).to_string();
    let digest = digest.parse().map_err(|error| unsupported(format!("the digest {digest}: {error}")))?;
    let size = document.len() as u64;
    let descriptor =
        DescriptorBuilder::default().media_type(media_type).digest::<oci_spec::image::Digest>(digest);
    descriptor.size(size).build().map_err(|error| unsupported(error.to_string()))
}
