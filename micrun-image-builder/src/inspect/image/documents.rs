//! Index, manifest and configuration, as they stand in the image.

use std::collections::{BTreeMap, HashMap};

use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest, MediaType};
use serde::Serialize;

use crate::audit::documents::{self, Image, parse, read};
use crate::check::Report;
use crate::contents::platform;
use crate::image::Platform;
use crate::inspect::Known;
use crate::store::{Source, is_index, read_document};

const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// Bytes that a place stores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Blob {
    /// What they are.
    pub media_type: String,
    /// Their digest.
    pub digest: String,
    /// How many there are.
    pub size: u64,
}

impl Blob {
    pub(super) fn of(descriptor: &Descriptor) -> Self {
        Blob {
            media_type: descriptor.media_type().to_string(),
            digest: descriptor.digest().to_string(),
            size: descriptor.size(),
        }
    }
}

/// An index.
#[derive(Debug, Clone, Serialize)]
pub struct Index {
    /// What it lists.
    pub entries: Vec<IndexEntry>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// An entry of an index.
#[derive(Debug, Clone, Serialize)]
pub struct IndexEntry {
    /// The platform; None where the index names none.
    pub platform: Option<String>,
    /// The manifest or index.
    #[serde(flatten)]
    pub blob: Blob,
    /// The entry's annotations.
    pub annotations: BTreeMap<String, String>,
}

/// The index, if the root is one that can be read. What is wrong with it is said where an image is chosen.
pub(super) fn index(source: &dyn Source, root: &Descriptor) -> Option<Index> {
    if !is_index(root.media_type()) {
        return None;
    }
    let document = read_document(source, root).ok()?;
    let index = ImageIndex::from_reader(&document[..]).ok()?;
    let entries = index.manifests().iter().map(|entry| IndexEntry {
        platform: platform(entry),
        blob: Blob::of(entry),
        annotations: sorted(entry.annotations()),
    });
    Some(Index { entries: entries.collect(), annotations: sorted(index.annotations()) })
}

/// The image that is looked at.
pub(super) struct Chosen {
    pub(super) descriptor: Descriptor,
    /// Its platform, and why this one; None where no index says it.
    pub(super) platform: Option<Known<String>>,
}

/// The image for a platform; else this machine's, else the first.
pub(super) fn choose(
    source: &dyn Source,
    root: &Descriptor,
    wanted: Option<&Platform>,
    report: &mut Report,
) -> Option<Chosen> {
    let images = documents::images(source, root, wanted, report);
    let own = Platform::of_this_machine().to_string();
    let has_own = |image: &&Image| platform(&image.descriptor).as_ref() == Some(&own);
    let (image, because) = match (wanted, images.iter().find(has_own), images.as_slice()) {
        (Some(_), _, [first, ..]) => (first, "given with --platform".to_owned()),
        (None, _, [only]) => (only, "the only one".to_owned()),
        (None, Some(image), _) => (image, "this machine's; --platform chooses another".to_owned()),
        (None, None, [first, ..]) => {
            (first, format!("the first, for lack of one for {own}; --platform chooses another"))
        }
        (_, _, []) => return None,
    };
    let platform = platform(&image.descriptor).map(|value| Known { value, because });
    Some(Chosen { descriptor: image.descriptor.clone(), platform })
}

/// A manifest.
#[derive(Debug, Clone, Serialize)]
pub struct Manifest {
    /// Its bytes.
    #[serde(flatten)]
    pub blob: Blob,
    /// What it is, where it is no image.
    pub artifact_type: Option<String>,
    /// The digest of what it refers to, where it is no image.
    pub subject: Option<String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    pub(super) fn of(descriptor: &Descriptor, manifest: &ImageManifest) -> Self {
        Manifest {
            blob: Blob::of(descriptor),
            artifact_type: kind(manifest),
            subject: manifest.subject().as_ref().map(|subject| subject.digest().to_string()),
            annotations: sorted(manifest.annotations()),
        }
    }
}

/// None for an image, the type of anything else (image-spec, "Guidelines for Artifact Usage").
fn kind(manifest: &ImageManifest) -> Option<String> {
    let config = manifest.config().media_type();
    match manifest.artifact_type() {
        Some(kind) => Some(kind.to_string()),
        None if *config == MediaType::ImageConfig || config.to_string() == DOCKER_CONFIG => None,
        None => Some(config.to_string()),
    }
}

/// False for what has layers, but no files.
pub(super) fn is_image(manifest: &ImageManifest) -> bool {
    kind(manifest).is_none()
}

pub(super) fn manifest(
    source: &dyn Source,
    descriptor: &Descriptor,
    report: &mut Report,
) -> Option<ImageManifest> {
    let bytes = read(source, descriptor, "manifest", report)?;
    parse(ImageManifest::from_reader(&bytes[..]), "manifest", report)
}

pub(super) fn config(
    source: &dyn Source,
    descriptor: &Descriptor,
    report: &mut Report,
) -> Option<ImageConfiguration> {
    let bytes = read(source, descriptor, "config", report)?;
    parse(ImageConfiguration::from_reader(&bytes[..]), "config", report)
}

/// A configuration.
#[derive(Debug, Clone, Serialize)]
pub struct Config {
    /// Its bytes.
    #[serde(flatten)]
    pub blob: Blob,
    /// The node's platform.
    pub platform: String,
    /// When it was made, if it says so.
    pub created: Option<String>,
    /// Who made it, if it says so.
    pub author: Option<String>,
    /// What is run.
    pub entrypoint: Vec<String>,
    /// Its arguments, or what is run where there is no entrypoint.
    pub cmd: Vec<String>,
    /// The environment.
    pub env: Vec<String>,
    /// The directory in which it is run.
    pub working_dir: Option<String>,
    /// The user as whom it is run.
    pub user: Option<String>,
    /// The signal that stops it.
    pub stop_signal: Option<String>,
    /// All labels.
    pub labels: BTreeMap<String, String>,
    /// Where labels and annotations differ.
    pub label_differences: Vec<Difference>,
    /// How it was made, step by step.
    pub history: Vec<HistoryStep>,
}

/// A key that is not the same as label and as annotation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The key.
    pub key: String,
    /// The label.
    pub label: Option<String>,
    /// The annotation.
    pub annotation: Option<String>,
}

/// One step of an image's history.
#[derive(Debug, Clone, Serialize)]
pub struct HistoryStep {
    /// When.
    pub created: Option<String>,
    /// The command.
    pub created_by: Option<String>,
    /// Who.
    pub author: Option<String>,
    /// What was said about it.
    pub comment: Option<String>,
    /// True if it made no layer.
    pub empty_layer: bool,
}

impl Config {
    pub(super) fn of<'k>(
        descriptor: &Descriptor,
        config: &ImageConfiguration,
        annotations: impl Iterator<Item = (&'k String, &'k String)>,
    ) -> Self {
        let process = config.config().clone().unwrap_or_default();
        let labels = sorted(process.labels());
        let annotations: BTreeMap<&String, &String> = annotations.collect();
        let history = config.history().iter().flatten().map(|step| HistoryStep {
            created: step.created().clone(),
            created_by: step.created_by().clone(),
            author: step.author().clone(),
            comment: step.comment().clone(),
            empty_layer: step.empty_layer().unwrap_or_default(),
        });
        Config {
            blob: Blob::of(descriptor),
            platform: platform_name(config),
            created: config.created().clone(),
            author: config.author().clone(),
            entrypoint: process.entrypoint().clone().unwrap_or_default(),
            cmd: process.cmd().clone().unwrap_or_default(),
            env: process.env().clone().unwrap_or_default(),
            working_dir: process.working_dir().clone(),
            user: process.user().clone(),
            stop_signal: process.stop_signal().clone(),
            label_differences: differences(&labels, &annotations),
            labels,
            history: history.collect(),
        }
    }
}

/// Images of others have no annotations: then the labels alone are no differences.
fn differences(
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<&String, &String>,
) -> Vec<Difference> {
    let missing = |key: &String| labels.get(key).is_none();
    let of_labels = labels.iter().filter(|(key, label)| annotations.get(key) != Some(label));
    let of_labels = of_labels.map(|(key, label)| Difference {
        key: key.clone(),
        label: Some(label.clone()),
        annotation: annotations.get(key).map(|&annotation| annotation.clone()),
    });
    let of_annotations = annotations.iter().filter(|(key, _)| !labels.is_empty() && missing(key));
    of_labels
        .chain(of_annotations.map(|(&key, &annotation)| Difference {
            key: key.clone(),
            label: None,
            annotation: Some(annotation.clone()),
        }))
        .collect()
}

/// The platform of an image that no index names.
pub(super) fn platform_of(config: &ImageConfiguration) -> Known<String> {
    Known { value: platform_name(config), because: "the configuration says so".to_owned() }
}

fn platform_name(config: &ImageConfiguration) -> String {
    let variant = config.variant().as_ref().map(|variant| format!("/{variant}")).unwrap_or_default();
    format!("{}/{}{variant}", config.os(), config.architecture())
}

pub(super) fn sorted(annotations: &Option<HashMap<String, String>>) -> BTreeMap<String, String> {
    annotations.iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect()
}
