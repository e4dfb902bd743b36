//! What refers to an image: asked from the registry where it knows (distribution-spec, "Listing Referrers"), else kept
//! in an index under a tag that is made of the digest ("Referrers Tag Schema").

use micrun_image_spec::digest::Sha256Digest;
use oci_spec::image::{Descriptor, MediaType};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use ureq::http::{Method, header};

use super::call::{Call, Whole, text_of};
use super::client::Client;
use super::pull::{self, Manifest};
use super::push::put_manifest;
use super::{At, RegistryError, wire};
use crate::store::{MAX_DOCUMENT, digest_of};

/// Most pages of a list that are read.
const MAX_PAGES: usize = 64;
/// Most referrers that an image may have here.
const MAX_REFERRERS: usize = 10_000;
/// How often a tag is changed anew that somebody else has changed meanwhile.
const MAX_CHANGES: usize = 5;
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The parts of an index that count here.
#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

/// What a manifest says about itself and its subject.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Referrer {
    #[serde(default)]
    subject: Option<Subject>,
    #[serde(default)]
    artifact_type: Option<String>,
    #[serde(default)]
    config: Option<Config>,
    #[serde(default)]
    annotations: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
struct Subject {
    digest: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    media_type: String,
}

/// The digest of the subject that a manifest names.
pub(super) fn subject(document: &[u8]) -> Option<Sha256Digest> {
    let referrer: Referrer = serde_json::from_slice(document).ok()?;
    referrer.subject?.digest.parse().ok()
}

/// The manifests that have this subject, of one kind or of all.
pub(super) fn list(
    client: &Client,
    subject: Sha256Digest,
    kind: Option<&str>,
) -> Result<Vec<Descriptor>, RegistryError> {
    let mut list = match from_api(client, subject, kind)? {
        Some(list) => list,
        None => from_tag(client, subject)?.map_or(Ok(Vec::new()), |tag| {
            manifests(&tag.bytes).map_err(|problem| nonsense(client, subject, problem))
        })?,
    };
    // Registries need not filter, even if they are asked to.
    list.retain(|one| {
        kind.is_none_or(|kind| one.artifact_type().as_ref().is_some_and(|own| own.to_string() == kind))
    });
    Ok(list)
}

/// None if the registry does not know how to list them.
fn from_api(
    client: &Client,
    subject: Sha256Digest,
    kind: Option<&str>,
) -> Result<Option<Vec<Descriptor>>, RegistryError> {
    let mut url = client.url(&format!("referrers/{subject}"))?;
    if let Some(kind) = kind {
        url = wire::with_query(&url, "artifactType", kind)
            .map_err(|bad| nonsense(client, subject, bad.to_string()))?;
    }
    let mut all = Vec::new();
    for _ in 0..MAX_PAGES {
        let call = Call::new(doing(subject), Method::GET, url.clone()).header(header::ACCEPT, INDEX);
        let Whole { headers, url: base, bytes } = match client.fetch(&call, MAX_DOCUMENT) {
            Ok(answer) => answer,
            Err(error) if matches!(error.status(), Some(404 | 405 | 501)) => return Ok(None),
            Err(error) => return Err(error),
        };
        all.extend(manifests(&bytes).map_err(|problem| nonsense(client, subject, problem))?);
        if all.len() > MAX_REFERRERS {
            return Err(nonsense(client, subject, format!("it lists more than {MAX_REFERRERS} referrers")));
        }
        let link = headers.get(header::LINK).and_then(text_of);
        let Some(next) = link.as_deref().and_then(wire::next_page) else { return Ok(Some(all)) };
        url = wire::resolve(&base, next).map_err(|bad| nonsense(client, subject, bad.to_string()))?;
        client.refuse_downgrade(&call, &url)?;
        if !wire::is_same_origin(&url, &base) {
            return Err(nonsense(client, subject, "its list goes on at another server".to_owned()));
        }
    }
    Err(nonsense(client, subject, format!("its list has more than {MAX_PAGES} pages")))
}

/// The index under the tag, if there is one.
fn from_tag(client: &Client, subject: Sha256Digest) -> Result<Option<Manifest>, RegistryError> {
    match pull::manifest(client, &tag(subject)) {
        Ok(manifest) if *manifest.descriptor.media_type() == MediaType::ImageIndex => Ok(Some(manifest)),
        Ok(_) => {
            let problem =
                format!("under the tag {} is no index: somebody uses it for something else", tag(subject));
            Err(nonsense(client, subject, problem))
        }
        Err(error) if error.status() == Some(404) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Adds a manifest to the index under the tag of its subject, and begins again if somebody else was faster.
pub(super) fn add_to_tag(
    client: &Client,
    subject: Sha256Digest,
    descriptor: &Descriptor,
    document: &[u8],
) -> Result<(), RegistryError> {
    let entry = entry(descriptor, document).map_err(|problem| nonsense(client, subject, problem))?;
    let mut changes = 0;
    loop {
        let old = from_tag(client, subject)?;
        let bytes = old.as_ref().map(|old| old.bytes.as_slice());
        let new = with_entry(bytes, &entry).map_err(|problem| nonsense(client, subject, problem))?;
        let Some(new) = new else { return Ok(()) };
        let index = pull::descriptor(MediaType::ImageIndex, new.len() as u64, Sha256Digest::of(&new))?;
        // A weak one is of no use for this (RFC 9110, section 13.1.1).
        let etag = old.and_then(|old| old.etag).filter(|etag| etag.starts_with('"'));
        changes += 1;
        match put_manifest(client, &tag(subject), &index, &new, etag.as_deref()) {
            Ok(_) => return Ok(()),
            Err(error) if error.status() == Some(412) && changes < MAX_CHANGES => {}
            Err(error) => return Err(error),
        }
    }
}

/// The index with one more entry; None if it has it already. What else is in it stays as it is.
fn with_entry(index: Option<&[u8]>, entry: &Value) -> Result<Option<Vec<u8>>, String> {
    let mut index: Value = match index {
        Some(bytes) => serde_json::from_slice(bytes)
            .map_err(|error| format!("its list of referrers is no JSON: {error}"))?,
        None => json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}),
    };
    let list = index.get_mut("manifests").and_then(Value::as_array_mut);
    let list = list.ok_or("its list of referrers is no index")?;
    if list.iter().any(|one| one.get("digest") == entry.get("digest")) {
        return Ok(None);
    }
    list.push(entry.clone());
    serde_json::to_vec(&index).map(Some).map_err(|error| error.to_string())
}

/// What the list says about a manifest: its kind and its annotations are copied there.
fn entry(descriptor: &Descriptor, document: &[u8]) -> Result<Value, String> {
    let referrer: Referrer = serde_json::from_slice(document).map_err(|error| error.to_string())?;
    let digest = digest_of(descriptor).map_err(|error| error.to_string())?;
    let mut entry = json!({
        "mediaType": descriptor.media_type().to_string(),
        "digest": digest.to_string(),
        "size": descriptor.size(),
    });
    let kind = referrer.artifact_type.filter(|kind| !kind.is_empty());
    if let Some(kind) = kind.or(referrer.config.map(|config| config.media_type)) {
        entry["artifactType"] = kind.into();
    }
    if let Some(annotations) = referrer.annotations.filter(|annotations| !annotations.is_empty()) {
        entry["annotations"] = annotations.into();
    }
    Ok(entry)
}

fn manifests(index: &[u8]) -> Result<Vec<Descriptor>, String> {
    let index: Index = serde_json::from_slice(index)
        .map_err(|error| format!("its list of referrers is no index: {error}"))?;
    Ok(index.manifests)
}

/// `sha256-` and the hex digits.
fn tag(subject: Sha256Digest) -> String {
    format!("sha256-{}", subject.hex())
}

fn doing(subject: Sha256Digest) -> String {
    format!("list what refers to {subject}")
}

fn nonsense(client: &Client, subject: Sha256Digest, problem: String) -> RegistryError {
    let url =
        client.url(&format!("referrers/{subject}")).map_or_else(|_| String::new(), |url| wire::shown(&url));
    RegistryError::Nonsense { at: At::new(&doing(subject), url), problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARTIFACT: &[u8] =
        br#"{"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"a/b",
        "config":{"mediaType":"c/d"},"subject":{"digest":
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},"annotations":{"k":"v"}}"#;

    fn descriptor() -> Descriptor {
        pull::descriptor(MediaType::ImageManifest, ARTIFACT.len() as u64, Sha256Digest::of(ARTIFACT)).unwrap()
    }

    #[test]
    fn an_entry_repeats_kind_and_annotations() {
        assert_eq!(subject(ARTIFACT), Some(Sha256Digest::of(b"")));
        let own = entry(&descriptor(), ARTIFACT).unwrap();
        assert_eq!((&own["artifactType"], &own["annotations"]["k"]), (&json!("a/b"), &json!("v")));
        let config = entry(&descriptor(), br#"{"artifactType":"","config":{"mediaType":"c/d"}}"#).unwrap();
        assert_eq!((&config["artifactType"], config.get("annotations")), (&json!("c/d"), None));
    }

    #[test]
    fn an_entry_is_added_once_and_the_rest_stays() {
        let own = entry(&descriptor(), ARTIFACT).unwrap();
        let old =
            br#"{"schemaVersion":2,"manifests":[{"digest":"sha256:00","x":1}],"annotations":{"mine":"1"}}"#;
        let new = with_entry(Some(old), &own).unwrap().unwrap();
        let value: Value = serde_json::from_slice(&new).unwrap();
        assert_eq!((&value["manifests"][0]["x"], &value["annotations"]["mine"]), (&json!(1), &json!("1")));
        assert_eq!(value["manifests"][1], own);
        assert_eq!(with_entry(Some(&new), &own), Ok(None));
        assert!(with_entry(None, &own).unwrap().is_some());
        for broken in [&b"{}"[..], b"[]", b"<", br#"{"manifests":{}}"#] {
            assert!(with_entry(Some(broken), &own).is_err());
        }
    }
}
