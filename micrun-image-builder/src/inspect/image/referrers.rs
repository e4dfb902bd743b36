//! What stands beside an image and refers to it.

use std::collections::BTreeMap;

use oci_spec::image::{Descriptor, ImageManifest};
use serde::Serialize;

use super::Blob;
use super::documents::sorted;
use crate::audit::report_store_error;
use crate::check::Report;
use crate::sign::legacy;
use crate::store::{Source, StoreError, digest_of, read_document};
use crate::strip::debug;

/// Referrers that are looked at.
const MAX_REFERRERS: usize = 256;
/// The file name under which tools offer to save a layer of an artifact.
const TITLE: &str = "org.opencontainers.image.title";

/// A manifest that refers to the image.
#[derive(Debug, Clone, Serialize)]
pub struct Referrer {
    /// For people: `signature`, `bill of materials`, `debug information`, or `artifact`.
    pub what: &'static str,
    /// The type that its manifest states.
    pub artifact_type: String,
    /// Its manifest.
    #[serde(flatten)]
    pub blob: Blob,
    /// The digest of what it refers to: the image, or its index.
    pub subject: String,
    /// The tag under which it stands, for signatures in the older format.
    pub tag: Option<String>,
    /// Its files.
    pub files: Vec<AttachedFile>,
    /// Its manifest's annotations.
    pub annotations: BTreeMap<String, String>,
}

/// A file of a referrer.
#[derive(Debug, Clone, Serialize)]
pub struct AttachedFile {
    /// The name under which it is saved, if it has one.
    pub title: Option<String>,
    /// Its bytes.
    #[serde(flatten)]
    pub blob: Blob,
}

/// Collects what refers to an image and to its index. What cannot be read is reported, and the rest is there.
pub(super) fn collect<'d>(
    source: &dyn Source,
    subjects: impl Iterator<Item = &'d Descriptor>,
    report: &mut Report,
) -> Vec<Referrer> {
    let mut found: Vec<Referrer> = Vec::new();
    let mut seen: Vec<String> = Vec::new();
    for subject in subjects {
        let name = subject.digest().to_string();
        if seen.contains(&name) {
            continue;
        }
        match of_one(source, subject) {
            Ok(referrers) => {
                let room = MAX_REFERRERS - found.len().min(MAX_REFERRERS);
                for (descriptor, tag) in referrers.into_iter().take(room) {
                    match read(source, &descriptor, tag, &name) {
                        Ok(referrer) => found.push(referrer),
                        Err(error) => {
                            report_store_error(&format!("referrer {}", descriptor.digest()), &error, report);
                        }
                    }
                }
            }
            Err(error) => report_store_error("referrers", &error, report),
        }
        seen.push(name);
    }
    found
}

/// The manifests that refer to one digest, and the older signatures under their tag.
fn of_one(
    source: &dyn Source,
    subject: &Descriptor,
) -> Result<Vec<(Descriptor, Option<String>)>, StoreError> {
    let digest = digest_of(subject)?;
    let mut found: Vec<_> = source.referrers(digest)?.into_iter().map(|referrer| (referrer, None)).collect();
    let tag = legacy::tag_of(digest);
    if let Some(signatures) = source.tag(&tag)? {
        found.push((signatures, Some(tag)));
    }
    Ok(found)
}

fn read(
    source: &dyn Source,
    descriptor: &Descriptor,
    tag: Option<String>,
    subject: &str,
) -> Result<Referrer, StoreError> {
    let document = read_document(source, descriptor)?;
    let manifest = ImageManifest::from_reader(&document[..]).map_err(|error| StoreError::Malformed {
        what: descriptor.digest().to_string(),
        problem: error.to_string(),
    })?;
    let files: Vec<AttachedFile> = manifest.layers().iter().map(attached).collect();
    let stated = manifest.artifact_type().as_ref().unwrap_or(manifest.config().media_type());
    let artifact_type = stated.to_string();
    let types = files.iter().map(|file| file.blob.media_type.as_str()).chain([artifact_type.as_str()]);
    let what = types.map(name_of).find(|&name| name != ARTIFACT).unwrap_or(ARTIFACT);
    Ok(Referrer {
        what,
        artifact_type,
        blob: Blob::of(descriptor),
        subject: subject.to_owned(),
        tag,
        files,
        annotations: sorted(manifest.annotations()),
    })
}

fn attached(layer: &Descriptor) -> AttachedFile {
    let title = layer.annotations().as_ref().and_then(|annotations| annotations.get(TITLE)).cloned();
    AttachedFile { title, blob: Blob::of(layer) }
}

const ARTIFACT: &str = "artifact";

/// What a media type stands for, in words.
fn name_of(media_type: &str) -> &'static str {
    let begins = |starts: &[&str]| starts.iter().any(|start| media_type.starts_with(start));
    if begins(&["application/vnd.dev.sigstore.bundle", "application/vnd.dev.cosign."]) {
        "signature"
    } else if begins(&["application/spdx", "text/spdx", "application/vnd.cyclonedx"]) {
        "bill of materials"
    } else if media_type == debug::MEDIA_TYPE {
        "debug information"
    } else {
        ARTIFACT
    }
}
