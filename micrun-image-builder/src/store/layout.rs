//! What an OCI layout and an OCI archive have in common: `index.json`, and the names in it (image-spec, "Image Layout").

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::OnceLock;

use micrun_image_spec::digest::Sha256Digest;
use oci_spec::image::Descriptor;
use serde_json::{Value, json};

use super::{Source, StoreError, digest_of, is_document, is_index, read_document};

/// The content of `oci-layout`.
pub(super) const OCI_LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
pub(super) const OCI_LAYOUT_FILE: &str = "oci-layout";
pub(super) const INDEX_FILE: &str = "index.json";
pub(super) const BLOBS: &str = "blobs/sha256";

/// The key under which containerd looks for an image's full name.
pub const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// The key under which skopeo and umoci look for an image's tag (image-spec, "Annotations").
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The key of `index.json` itself under which our manifests that refer to an image are listed: their descriptors, as JSON.
/// As entries beside the image they would keep skopeo and podman from reading an archive or layout without a tag, which
/// they do where there is one entry only.
pub const REFERRERS: &str = "org.openeuler.micrun.referrers";

/// What an image is called in a layout or archive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageName {
    /// The full name, for containerd: `docker.io/library/zephyr:latest`.
    pub full: Option<String>,
    /// The tag, for skopeo and umoci: `latest`.
    pub tag: Option<String>,
}

impl ImageName {
    /// The names under which an image was found in another layout.
    pub fn of(descriptor: &Descriptor) -> Self {
        ImageName { full: annotation(descriptor, CONTAINERD_NAME), tag: annotation(descriptor, REF_NAME) }
    }
}

fn annotation(descriptor: &Descriptor, key: &str) -> Option<String> {
    descriptor.annotations().as_ref()?.get(key).cloned()
}

/// What refers to what.
pub(super) type BySubject = BTreeMap<Sha256Digest, Vec<Descriptor>>;

/// `index.json`. Kept as it was read, since others may have put there what is not known here.
pub(super) struct LayoutIndex {
    document: Value,
    /// What stands under [`REFERRERS`].
    referrers: Vec<Value>,
}

impl LayoutIndex {
    pub(super) fn new() -> Self {
        let document = json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [] });
        LayoutIndex { document, referrers: Vec::new() }
    }

    pub(super) fn parse(bytes: &[u8], what: &str) -> Result<Self, StoreError> {
        let malformed = |problem: String| StoreError::Malformed { what: what.to_owned(), problem };
        let document: Value =
            serde_json::from_slice(bytes).map_err(|error| malformed(format!("{INDEX_FILE}: {error}")))?;
        if document["manifests"].as_array().is_none() {
            return Err(malformed(format!("{INDEX_FILE} has no list of manifests")));
        }
        let listed = document["annotations"][REFERRERS].as_str();
        let referrers = listed.and_then(|list| serde_json::from_str(list).ok()).unwrap_or_default();
        Ok(LayoutIndex { document, referrers })
    }

    /// The entries that are descriptors, wherever they are listed.
    pub(super) fn entries(&self) -> Vec<Descriptor> {
        let entries = self.document["manifests"].as_array().into_iter().flatten().chain(&self.referrers);
        entries.filter_map(|entry| serde_json::from_value(entry.clone()).ok()).collect()
    }

    /// True if there is no entry but descriptors.
    pub(super) fn is_understood(&self) -> bool {
        let listed = self.document["manifests"].as_array().map_or(0, Vec::len) + self.referrers.len();
        listed == self.entries().len()
    }

    /// The image of a tag or full name, or the only image.
    pub(super) fn choose(&self, name: Option<&str>, what: &str) -> Result<Descriptor, StoreError> {
        let entries = self.entries();
        let images: Vec<&Descriptor> = match name {
            Some(name) => entries.iter().filter(|entry| answers_to(entry, name)).collect(),
            None => entries.iter().filter(|entry| is_image(entry)).collect(),
        };
        match (images.as_slice(), name) {
            (&[image], _) => Ok(image.clone()),
            ([], Some(name)) => {
                Err(StoreError::NotFound(format!("{what} has no image `{name}`; it has {}", list(&entries))))
            }
            ([], None) => Err(StoreError::NotFound(format!("{what} holds no image"))),
            // Two entries of one name: the last one was put there last.
            ([.., last], Some(_)) => Ok((*last).clone()),
            (_, None) => Err(StoreError::NotFound(format!(
                "{what} holds several images: put one of their tags behind it, as in oci:DIR:TAG; it has {}",
                list(&entries)
            ))),
        }
    }

    /// Adds an image under its name, in the place of the one that had the name; gives that one back. Without a name it
    /// takes the place of the only image that has none.
    ///
    /// # Errors
    /// If several have none: only one of them could be meant.
    pub(super) fn put(
        &mut self,
        root: &Descriptor,
        name: &ImageName,
        what: &str,
    ) -> Result<Vec<Descriptor>, StoreError> {
        let mut root = root.clone();
        let names = [(CONTAINERD_NAME, &name.full), (REF_NAME, &name.tag)];
        let named = names.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?)));
        let mut annotations: HashMap<String, String> = root.annotations().clone().unwrap_or_default();
        annotations.retain(|key, _| key != CONTAINERD_NAME && key != REF_NAME);
        annotations.extend(named);
        root.set_annotations(Some(annotations).filter(|annotations| !annotations.is_empty()));
        let is_same = |entry: &Descriptor| unnamed(entry) && entry.digest() == root.digest();
        let nameless = self.entries().iter().filter(|entry| is_image(entry) && unnamed(entry)).count();
        let is_there = self.entries().iter().any(|entry| is_image(entry) && is_same(entry));
        if *name == ImageName::default() && nameless > 1 && !is_there {
            return Err(StoreError::InTheWay(format!(
                "{what} holds {nameless} images without a tag: give this one a tag, as in oci:DIR:TAG"
            )));
        }
        let had_the_name = |entry: &Descriptor| match (name, ImageName::of(entry)) {
            (ImageName { tag: Some(tag), .. }, other) => other.tag.as_ref() == Some(tag),
            (_, other) => other == *name && (name.full.is_some() || !is_there),
        };
        self.replace(|entry| is_image(entry) && (had_the_name(entry) || is_same(entry)), &root)
    }

    /// Adds a manifest that refers to an image.
    pub(super) fn put_referrer(&mut self, referrer: &Descriptor) -> Result<(), StoreError> {
        self.remove(|entry| entry.digest() == referrer.digest() && unnamed(entry));
        self.referrers.push(to_json(referrer)?);
        Ok(())
    }

    /// Takes out what is listed as referring to an image, and is not there: other tools collect what they do not know.
    pub(super) fn forget_missing(&mut self, is_there: impl Fn(Sha256Digest) -> bool) {
        let digest = |entry: &Value| entry["digest"].as_str().and_then(|digest| digest.parse().ok());
        self.referrers.retain(|entry| digest(entry).is_none_or(&is_there));
    }

    /// Takes out the entries that `gone` names.
    pub(super) fn remove(&mut self, gone: impl Fn(&Descriptor) -> bool) {
        let stays = |entry: &Value| !serde_json::from_value(entry.clone()).is_ok_and(|entry| gone(&entry));
        if let Some(entries) = self.document["manifests"].as_array_mut() {
            entries.retain(stays);
        }
        self.referrers.retain(stays);
    }

    fn replace(
        &mut self,
        gone: impl Fn(&Descriptor) -> bool,
        new: &Descriptor,
    ) -> Result<Vec<Descriptor>, StoreError> {
        let removed = self.entries().into_iter().filter(&gone).collect();
        self.remove(gone);
        let new = to_json(new)?;
        if let Some(entries) = self.document["manifests"].as_array_mut() {
            entries.push(new);
        }
        Ok(removed)
    }

    /// JSON without blanks and with sorted keys.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut document = self.document.clone();
        if !self.referrers.is_empty() {
            let mut list = Value::Array(self.referrers.clone());
            list.sort_all_objects();
            // What is no object there is nothing that anybody could read.
            if !document["annotations"].is_object() {
                document["annotations"] = json!({});
            }
            document["annotations"][REFERRERS] = Value::String(list.to_string());
        } else if let Some(annotations) = document["annotations"].as_object_mut() {
            annotations.remove(REFERRERS);
        }
        document.sort_all_objects();
        document.to_string().into_bytes()
    }

    /// The entries by what they refer to: by their subject, or because they stand in an index that stands in for a
    /// registry's list (distribution-spec, "Referrers Tag Schema"). `read` gives a document, None for one that is not
    /// there: another tool may have collected it. What is wrong with images is for those to find out who want them.
    pub(super) fn by_subject(
        &self,
        read: impl Fn(&Descriptor) -> Result<Option<Vec<u8>>, StoreError>,
    ) -> Result<BySubject, StoreError> {
        let mut found = BySubject::new();
        let mut seen = BTreeSet::new();
        let mut entries = self.entries();
        entries.retain(|entry| is_document(entry.media_type()) && seen.insert(entry.digest().to_string()));
        for entry in entries {
            let document = match read(&entry) {
                Ok(Some(document)) => document,
                Ok(None) => continue,
                Err(_) if is_image(&entry) => continue,
                Err(error) => return Err(error),
            };
            if let Some((subject, name)) = listed_for(&entry) {
                found.entry(subject).or_default().extend(LayoutIndex::parse(&document, &name)?.entries());
            } else if let Some(subject) = subject_of(&document) {
                found.entry(subject).or_default().push(with_type(entry, &document));
            }
        }
        for referrers in found.values_mut() {
            referrers.sort_by_key(|descriptor| descriptor.digest().to_string());
            referrers.dedup_by_key(|descriptor| descriptor.digest().to_string());
        }
        Ok(found)
    }
}

/// The image whose referrers an index lists, and the index's name.
fn listed_for(entry: &Descriptor) -> Option<(Sha256Digest, String)> {
    let name = ImageName::of(entry).tag.filter(|_| is_index(entry.media_type()))?;
    let subject = format!("sha256:{}", name.strip_prefix("sha256-")?).parse().ok()?;
    Some((subject, name))
}

/// What refers to a subject in a place that has an `index.json`. The index and what it lists are read once.
pub(super) fn referrers_of(
    source: &dyn Source,
    subject: Sha256Digest,
    known: &OnceLock<BySubject>,
    index: impl Fn() -> Result<LayoutIndex, StoreError>,
    is_there: impl Fn(Sha256Digest) -> bool,
) -> Result<Vec<Descriptor>, StoreError> {
    let by_subject = match known.get() {
        Some(by_subject) => by_subject,
        None => {
            let read = |entry: &Descriptor| match digest_of(entry)? {
                digest if is_there(digest) => read_document(source, entry).map(Some),
                _ => Ok(None),
            };
            let found = index()?.by_subject(read)?;
            known.get_or_init(|| found)
        }
    };
    Ok(by_subject.get(&subject).cloned().unwrap_or_default())
}

fn to_json(descriptor: &Descriptor) -> Result<Value, StoreError> {
    serde_json::to_value(descriptor).map_err(|error| StoreError::write(INDEX_FILE)(error.into()))
}

/// The digest of the manifest that this one refers to.
pub(super) fn subject_of(document: &[u8]) -> Option<Sha256Digest> {
    let document: Value = serde_json::from_slice(document).ok()?;
    document["subject"]["digest"].as_str()?.parse().ok()
}

/// Lists of referrers say of which type each is; entries that other tools wrote may not.
fn with_type(mut entry: Descriptor, document: &[u8]) -> Descriptor {
    if entry.artifact_type().is_none() {
        let document: Value = serde_json::from_slice(document).unwrap_or_default();
        let named = document["artifactType"].as_str().or(document["config"]["mediaType"].as_str());
        entry.set_artifact_type(named.map(Into::into));
    }
    entry
}

pub(super) fn unnamed(entry: &Descriptor) -> bool {
    ImageName::of(entry) == ImageName::default()
}

/// An entry that is no referrer: those have a type and no name.
fn is_image(entry: &Descriptor) -> bool {
    is_document(entry.media_type()) && !(entry.artifact_type().is_some() && unnamed(entry))
}

fn answers_to(entry: &Descriptor, name: &str) -> bool {
    let ImageName { full, tag } = ImageName::of(entry);
    let digest = digest_of(entry).is_ok_and(|digest| digest.to_string() == name);
    full.as_deref() == Some(name) || tag.as_deref() == Some(name) || digest
}

fn list(entries: &[Descriptor]) -> String {
    let name = |entry: &Descriptor| {
        let ImageName { full, tag } = ImageName::of(entry);
        tag.or(full).unwrap_or_else(|| entry.digest().to_string())
    };
    let names: Vec<String> = entries.iter().filter(|entry| is_image(entry)).map(name).take(20).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(contents: &[u8]) -> Descriptor {
        let digest = Sha256Digest::of(contents).to_string();
        serde_json::from_value(json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 2,
        }))
        .unwrap()
    }

    #[test]
    fn referrers_are_listed_beside_the_one_entry() {
        for annotations in [json!(null), json!(5), json!({"a": "b"}), json!({REFERRERS: "no list"})] {
            let document = json!({"manifests": [], "annotations": annotations}).to_string();
            let mut index = LayoutIndex::parse(document.as_bytes(), "a test").unwrap();
            let mut referrer = descriptor(b"referrer");
            referrer.set_artifact_type(Some("a/b".into()));
            index.put(&descriptor(b"image"), &ImageName::default(), "a test").unwrap();
            index.put_referrer(&referrer).unwrap();
            index.put_referrer(&referrer).unwrap();

            let read = LayoutIndex::parse(&index.to_bytes(), "a test").unwrap();
            assert_eq!(read.document["manifests"].as_array().map(Vec::len), Some(1));
            assert_eq!(read.entries().len(), 2);
            assert_eq!(read.choose(None, "a test").unwrap().digest(), descriptor(b"image").digest());

            index.remove(|entry| entry.digest() == referrer.digest());
            let read = LayoutIndex::parse(&index.to_bytes(), "a test").unwrap();
            assert_eq!(read.entries().len(), 1, "none is left of {annotations}");
        }
    }
}
