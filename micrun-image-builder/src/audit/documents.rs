//! Index, manifests and configurations.

use std::collections::BTreeSet;

use micrun_image_spec::digest::Sha256Digest;
use oci_spec::image::{Arch, Descriptor, ImageConfiguration, ImageIndex, ImageManifest, MediaType, Os};

use super::{add, report_store_error, short};
use crate::check::{Code, Place, Report};
use crate::contents::{is_attestation, is_for, platform};
use crate::image::Platform;
use crate::store::{Source, is_index, is_manifest, read_document};

/// Indexes within indexes.
const MAX_DEPTH: usize = 4;
/// Manifests that are looked at, and indexes.
const MAX_IMAGES: usize = 64;
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// One image of an index, or the only one.
pub(crate) struct Image {
    pub(crate) descriptor: Descriptor,
    /// The platform, where there are several images.
    label: Option<String>,
}

impl Image {
    /// How a part of this image is called.
    pub(super) fn part(&self, name: &str) -> String {
        match &self.label {
            Some(label) => format!("{label}:{name}"),
            None => name.to_owned(),
        }
    }
}

/// The images below a root, all of them or those for one platform.
pub(crate) fn images(
    source: &dyn Source,
    root: &Descriptor,
    wanted: Option<&Platform>,
    report: &mut Report,
) -> Vec<Image> {
    let mut found = Vec::new();
    collect(source, root, 0, &mut found, &mut BTreeSet::new(), report);
    if let Some(wanted) = wanted {
        let had_any = !found.is_empty();
        found.retain(|image| image.descriptor.platform().is_none() || is_for(&image.descriptor, wanted));
        if found.is_empty() && had_any {
            let message = format!("the image has nothing for the platform {wanted}");
            add(report, "index", Code::ImageUnreadable, None, message, "name another --platform, or none");
        }
    }
    found
}

fn collect(
    source: &dyn Source,
    descriptor: &Descriptor,
    depth: usize,
    found: &mut Vec<Image>,
    seen: &mut BTreeSet<String>,
    report: &mut Report,
) {
    if is_manifest(descriptor.media_type()) {
        if found.len() < MAX_IMAGES {
            let label = (depth > 0).then(|| platform(descriptor).unwrap_or_else(|| short(descriptor)));
            found.push(Image { descriptor: descriptor.clone(), label });
        }
        return;
    }
    if !is_index(descriptor.media_type()) || depth > MAX_DEPTH {
        let message = format!("{} is neither an index nor a manifest", descriptor.media_type());
        return add(
            report,
            "image",
            Code::UnknownMediaType,
            None,
            message,
            "give an image, not one of its parts",
        );
    }
    // Indexes that name each other several times would be read more often than anybody can wait for.
    if !seen.insert(descriptor.digest().to_string()) || seen.len() > MAX_IMAGES {
        return;
    }
    let document = match read_document(source, descriptor) {
        Ok(document) => document,
        Err(error) => return report_store_error("index", &error, report),
    };
    match ImageIndex::from_reader(&document[..]) {
        Ok(index) => {
            check_platforms(index.manifests(), report);
            let images = index.manifests().iter().filter(|entry| !is_attestation(entry));
            images.for_each(|entry| collect(source, entry, depth + 1, found, seen, report));
        }
        Err(error) => {
            let message = format!("the index cannot be read: {error}");
            add(report, "index", Code::ImageUnreadable, None, message, "make the image again");
        }
    }
}

/// Engines choose by the platform alone, so a second entry for it is never run.
fn check_platforms(entries: &[Descriptor], report: &mut Report) {
    let mut platforms: Vec<_> =
        entries.iter().filter(|entry| !is_attestation(entry)).filter_map(platform).collect();
    platforms.sort();
    let mut twice: Vec<_> =
        platforms.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| &pair[0]).collect();
    twice.dedup();
    for platform in twice {
        let message =
            format!("the index has several images for {platform}, and engines choose by that alone");
        let remedy = "give each board a tag of its own, or put several firmwares into one image";
        add(report, "index", Code::SamePlatformTwice, None, message, remedy);
    }
}

/// The documents of one image.
pub(super) struct Documents {
    pub(super) manifest: ImageManifest,
    pub(super) config: ImageConfiguration,
    /// The digests of the layers' tars, as far as the configuration has any.
    pub(super) diff_ids: Vec<Option<Sha256Digest>>,
}

impl Documents {
    /// None where one of them cannot be read; then the report says why.
    pub(super) fn read(source: &dyn Source, image: &Image, report: &mut Report) -> Option<Self> {
        let part = image.part("manifest");
        let manifest = read(source, &image.descriptor, &part, report)?;
        let manifest = parse(ImageManifest::from_reader(&manifest[..]), &part, report)?;
        let is_config = matches!(manifest.config().media_type(), MediaType::ImageConfig)
            || manifest.config().media_type().to_string() == DOCKER_CONFIG;
        if manifest.artifact_type().is_some() || !is_config {
            let kind = manifest.artifact_type().as_ref().unwrap_or(manifest.config().media_type());
            let message = format!("this is no image that can be run, but something of the type {kind}");
            add(report, &part, Code::UnknownMediaType, None, message, "name the image itself");
            return None;
        }
        let part = image.part("config");
        let config = read(source, manifest.config(), &part, report)?;
        let config: ImageConfiguration = parse(ImageConfiguration::from_reader(&config[..]), &part, report)?;
        check_config(image, &manifest, &config, report);
        let diff_ids = config.rootfs().diff_ids().iter().map(|digest| digest.parse().ok()).collect();
        Some(Documents { manifest, config, diff_ids })
    }
}

/// A document's bytes; None where the report says why not.
pub(crate) fn read(
    source: &dyn Source,
    descriptor: &Descriptor,
    part: &str,
    report: &mut Report,
) -> Option<Vec<u8>> {
    read_document(source, descriptor).map_err(|error| report_store_error(part, &error, report)).ok()
}

/// A document's contents; None where the report says why not.
pub(crate) fn parse<T>(parsed: oci_spec::Result<T>, part: &str, report: &mut Report) -> Option<T> {
    let remedy = "make the image again with a tool that writes OCI images";
    parsed
        .map_err(|error| {
            add(report, part, Code::BadImageConfig, None, format!("it cannot be read: {error}"), remedy)
        })
        .ok()
}

fn check_config(image: &Image, manifest: &ImageManifest, config: &ImageConfiguration, report: &mut Report) {
    let part = image.part("config");
    let mut wrong = |key: &str, message: String, remedy: &str| {
        add(report, &part, Code::BadImageConfig, Some(Place::Key(key.to_owned())), message, remedy);
    };
    if *config.os() != Os::Linux {
        let message = format!("the image is for {}, and nodes run Linux", config.os());
        wrong("os", message, "make it for linux and the node's architecture, whatever the guest is");
    }
    if matches!(config.architecture(), Arch::Other(name) if name.is_empty()) {
        wrong(
            "architecture",
            "no architecture of a node is named".to_owned(),
            "name the node's, such as arm64",
        );
    }
    let (layers, diff_ids) = (manifest.layers().len(), config.rootfs().diff_ids().len());
    if layers != diff_ids {
        let message = format!("the manifest has {layers} layers, and the configuration names {diff_ids}");
        wrong("rootfs.diff_ids", message, "make the image again");
    }
    if layers == 0 {
        wrong("rootfs.diff_ids", "the image has no layer".to_owned(), "put the firmware into it");
    }
    let stated = image.descriptor.platform().as_ref().map(|platform| platform.architecture());
    if let Some(stated) = stated.filter(|&stated| stated != config.architecture()) {
        let message = format!("the index says {stated}, and the configuration {}", config.architecture());
        let place = Some(Place::Key("architecture".to_owned()));
        add(
            report,
            &part,
            Code::PlatformContradiction,
            place,
            message,
            "make the index again from its images",
        );
    }
}
