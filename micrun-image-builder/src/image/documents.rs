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
use super::{Contents, Document, ImageError};

/// The key under which containerd looks for an image's full name.
pub const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// The key under which skopeo and umoci look for an image's tag (image-spec, "Annotations").
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

pub(super) fn config(contents: &Contents<'_>, layer: &Layer) -> Result<Vec<u8>, ImageError> {
    let process = ConfigBuilder::default()
        .entrypoint(vec![FIRMWARE_PATH.to_owned()])
        .stop_signal("SIGTERM")
        .labels(annotations(contents))
        .build()?;
    let rootfs = RootFsBuilder::default().typ("layers").diff_ids(vec![layer.diff_id.to_string()]).build()?;
    let mut config = ImageConfigurationBuilder::default()
        .os(Os::Linux)
        .architecture(Arch::from(contents.platform.architecture()))
        .config(process)
        .rootfs(rootfs)
        .build()?;
    config.set_variant(contents.platform.variant().map(str::to_owned));
    config.set_created(contents.epoch.map(|epoch| epoch.to_string()));
    canonical_json(&config)
}

pub(super) fn manifest(
    contents: &Contents<'_>,
    config: &Document,
    layer: &Layer,
) -> Result<Vec<u8>, ImageError> {
    let config = descriptor(MediaType::ImageConfig, config.digest, config.bytes.len() as u64)?;
    let layer = descriptor(layer.media_type.clone(), layer.digest, layer.size)?;
    let manifest = ImageManifestBuilder::default()
        .schema_version(2u32)
        .media_type(MediaType::ImageManifest)
        .config(config)
        .layers(vec![layer])
        .annotations(annotations(contents))
        .build()?;
    canonical_json(&manifest)
}

/// The index names one image, since skopeo and umoci take an archive without a name only if there is one.
pub(super) fn index(contents: &Contents<'_>, manifest: &Document) -> Result<Vec<u8>, ImageError> {
    let mut platform = PlatformBuilder::default()
        .os(Os::Linux)
        .architecture(Arch::from(contents.platform.architecture()))
        .build()?;
    platform.set_variant(contents.platform.variant().map(str::to_owned));
    let mut image = descriptor(MediaType::ImageManifest, manifest.digest, manifest.bytes.len() as u64)?;
    image.set_platform(Some(platform));
    image.set_annotations(Some(HashMap::from([
        (CONTAINERD_NAME.to_owned(), contents.reference.to_string()),
        (REF_NAME.to_owned(), contents.reference.tag().to_owned()),
    ])));
    let index = ImageIndexBuilder::default()
        .schema_version(2u32)
        .media_type(MediaType::ImageIndex)
        .manifests(vec![image])
        .build()?;
    canonical_json(&index)
}

fn annotations(contents: &Contents<'_>) -> HashMap<String, String> {
    contents.annotations.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

pub(super) fn descriptor(
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
