//! The JSON documents of an image.

use std::collections::HashMap;

use micrun_image_spec::FIRMWARE_PATH;
use micrun_image_spec::digest::Sha256Digest;
use oci_spec::image::{
    Arch, ConfigBuilder, Descriptor, DescriptorBuilder, Digest, ImageConfigurationBuilder, ImageIndexBuilder,
    ImageManifestBuilder, MediaType, Os, PlatformBuilder, RootFsBuilder,
};
use serde::Serialize;

use super::layer::Layer;
use super::{Contents, Document, ImageError, Platform};

pub(super) fn config(
    contents: &Contents<'_>,
    platform: &Platform,
    layer: &Layer,
) -> Result<Document, ImageError> {
    let process = ConfigBuilder::default()
        .entrypoint(vec![FIRMWARE_PATH.to_owned()])
        .stop_signal("SIGTERM")
        .labels(annotations(contents))
        .build()?;
    let rootfs = RootFsBuilder::default().typ("layers").diff_ids(vec![layer.diff_id.to_string()]).build()?;
    let mut config = ImageConfigurationBuilder::default()
        .os(Os::Linux)
        .architecture(Arch::from(platform.architecture()))
        .config(process)
        .rootfs(rootfs)
        .build()?;
    config.set_variant(platform.variant().map(str::to_owned));
    config.set_created(contents.epoch.map(|epoch| epoch.to_string()));
    Document::new(MediaType::ImageConfig, &config)
}

/// The manifest for one platform, which its descriptor names.
pub(super) fn manifest(
    contents: &Contents<'_>,
    platform: &Platform,
    config: &Document,
    layer: &Descriptor,
) -> Result<Document, ImageError> {
    let manifest = ImageManifestBuilder::default()
        .schema_version(2u32)
        .media_type(MediaType::ImageManifest)
        .config(config.descriptor.clone())
        .layers(vec![layer.clone()])
        .annotations(annotations(contents))
        .build()?;
    let mut node =
        PlatformBuilder::default().os(Os::Linux).architecture(Arch::from(platform.architecture())).build()?;
    node.set_variant(platform.variant().map(str::to_owned));
    let mut manifest = Document::new(MediaType::ImageManifest, &manifest)?;
    manifest.descriptor.set_platform(Some(node));
    Ok(manifest)
}

/// The index over several platforms.
pub(super) fn index(contents: &Contents<'_>, manifests: &[Document]) -> Result<Document, ImageError> {
    let manifests: Vec<_> = manifests.iter().map(|manifest| manifest.descriptor.clone()).collect();
    let index = ImageIndexBuilder::default()
        .schema_version(2u32)
        .media_type(MediaType::ImageIndex)
        .manifests(manifests)
        .annotations(annotations(contents))
        .build()?;
    Document::new(MediaType::ImageIndex, &index)
}

fn annotations(contents: &Contents<'_>) -> HashMap<String, String> {
    contents.annotations.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

pub(crate) fn descriptor(
    media_type: MediaType,
    digest: Sha256Digest,
    size: u64,
) -> Result<Descriptor, ImageError> {
    let digest: Digest = digest.to_string().parse()?;
    Ok(DescriptorBuilder::default().media_type(media_type).digest(digest).size(size).build()?)
}

/// JSON without blanks and with sorted keys. oci-spec keeps annotations in hash maps, whose order differs from run
/// to run, and a digest needs the same bytes every time.
pub(super) fn canonical_json(document: &impl Serialize) -> Result<Vec<u8>, ImageError> {
    let mut value = serde_json::to_value(document)?;
    // Sorted anyway, unless another crate of the build turns on serde_json's `preserve_order`.
    value.sort_all_objects();
    Ok(serde_json::to_vec(&value)?)
}
