//! The older way to store signatures: one manifest under a tag made from the image's digest, whose layers are the signed
//! payloads, each with its signature as an annotation.

use std::collections::HashMap;

use micrun_image_spec::digest::Sha256Digest;
use oci_spec::image::{Descriptor, MediaType};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::base64;

/// The media type of a signed payload.
pub(super) const PAYLOAD_MEDIA_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";

/// The tag: `sha256-` and the digits, and `.sig`.
pub fn tag_of(image: Sha256Digest) -> String {
    format!("sha256-{}.sig", image.hex())
}

/// What one layer says of a signature.
#[derive(Debug)]
pub(super) struct Annotated {
    /// None if there is none, or it is no base64.
    pub(super) signature: Option<Vec<u8>>,
    /// True if a certificate belongs to it.
    pub(super) has_certificate: bool,
}

impl Annotated {
    pub(super) fn of(layer: &Descriptor) -> Self {
        let none = HashMap::new();
        let annotations = layer.annotations().as_ref().unwrap_or(&none);
        Annotated {
            signature: annotations.get(SIGNATURE).and_then(|text| base64::decode(text)),
            has_certificate: annotations.get(CERTIFICATE).is_some_and(|text| !text.is_empty()),
        }
    }
}

#[derive(Deserialize)]
struct Layers {
    layers: Vec<Descriptor>,
}

/// The layers of a manifest with signatures, of either format.
///
/// # Errors
/// If it is no manifest; the sentence says what is wrong.
pub fn layers(manifest: &[u8]) -> Result<Vec<Descriptor>, String> {
    match serde_json::from_slice::<Layers>(manifest) {
        Ok(manifest) => Ok(manifest.layers),
        Err(error) => Err(format!("its manifest cannot be read: {error}")),
    }
}

/// A manifest with signatures, as far as it is changed here. The rest stays as it is.
#[derive(Default, Deserialize, Serialize)]
struct Manifest {
    #[serde(default)]
    layers: Vec<Value>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// The manifest and the configuration after one more signature.
pub(super) struct Appended {
    pub(super) manifest: Vec<u8>,
    pub(super) config: Vec<u8>,
}

/// Adds a signature to those that are under the tag already. Gives None if it is there.
///
/// # Errors
/// If what is there is no manifest with signatures: then it is not ours to replace. The sentence says what is wrong.
pub(super) fn append(
    existing: Option<&[u8]>,
    payload: &[u8],
    signature: &[u8],
) -> Result<Option<Appended>, String> {
    let mut manifest = match existing {
        None => Manifest::default(),
        Some(document) => {
            serde_json::from_slice(document).map_err(|error| format!("it is no manifest ({error})"))?
        }
    };
    if let Some(other) = manifest.layers.iter().find(|layer| layer["mediaType"] != PAYLOAD_MEDIA_TYPE) {
        return Err(format!("its manifest has a layer that is no signature: {}", other["mediaType"]));
    }
    let layer = json!({
        "mediaType": PAYLOAD_MEDIA_TYPE,
        "digest": Sha256Digest::of(payload),
        "size": payload.len(),
        "annotations": {SIGNATURE: base64::encode(signature)},
    });
    let is_same = |there: &Value| {
        there["digest"] == layer["digest"]
            && there["annotations"][SIGNATURE] == layer["annotations"][SIGNATURE]
    };
    if manifest.layers.iter().any(is_same) {
        return Ok(None);
    }
    manifest.layers.push(layer);
    let config = config(&manifest.layers);
    manifest.others.insert("schemaVersion".to_owned(), json!(2));
    manifest.others.insert("mediaType".to_owned(), json!(MediaType::ImageManifest.to_string()));
    let descriptor = json!({
        "mediaType": MediaType::ImageConfig.to_string(),
        "digest": Sha256Digest::of(&config),
        "size": config.len(),
    });
    manifest.others.insert("config".to_owned(), descriptor);
    let manifest = serde_json::to_vec(&manifest).map_err(|error| error.to_string())?;
    Ok(Some(Appended { manifest, config }))
}

/// A configuration of an image whose layers these are, since it is one to registries.
fn config(layers: &[Value]) -> Vec<u8> {
    const NO_TIME: &str = "0001-01-01T00:00:00Z";
    let diff_ids: Vec<_> = layers.iter().map(|layer| &layer["digest"]).collect();
    let history: Vec<_> = layers.iter().map(|_| json!({"created": NO_TIME})).collect();
    let config = json!({
        "architecture": "",
        "os": "",
        "created": NO_TIME,
        "config": {},
        "history": history,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    config.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_signatures_of_others() {
        let first = append(None, b"payload", b"one").unwrap().unwrap();
        let second = append(Some(&first.manifest), b"payload", b"two").unwrap().unwrap();
        let all = layers(&second.manifest).unwrap();
        let signatures: Vec<_> = all.iter().map(|layer| Annotated::of(layer).signature.unwrap()).collect();
        assert_eq!(signatures, [b"one", b"two"]);
        assert!(append(Some(&second.manifest), b"payload", b"one").unwrap().is_none(), "it is there");
    }

    #[test]
    fn keeps_what_it_does_not_know() {
        let theirs = json!({"layers": [{"mediaType": PAYLOAD_MEDIA_TYPE, "digest": "sha256:00", "size": 1,
            "annotations": {SIGNATURE: "AAAA", CERTIFICATE: "pem", "x": "y"}}], "annotations": {"a": "b"}});
        let ours = append(Some(theirs.to_string().as_bytes()), b"payload", b"one").unwrap().unwrap();
        let ours: Value = serde_json::from_slice(&ours.manifest).unwrap();
        assert_eq!(ours["layers"][0], theirs["layers"][0]);
        assert_eq!(ours["annotations"], theirs["annotations"]);
    }

    #[test]
    fn replaces_nothing_else() {
        let image = json!({"layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar"}]}).to_string();
        for document in [image.as_str(), "[]", "", r#"{"layers":1}"#] {
            assert!(append(Some(document.as_bytes()), b"payload", b"one").is_err(), "{document}");
        }
    }
}
