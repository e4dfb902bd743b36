//! The Sigstore bundle, as cosign 3 writes it: one JSON document with the signed statement in an envelope, and a hint
//! at the key.

use micrun_image_spec::digest::Sha256Digest;
use micrun_image_spec::text::excerpt;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

use super::key::{PrivateKey, PublicKey};
use super::verdict::Rejection;
use super::{base64, statement};

/// The media type of bundles that are written here, and their type as artifacts.
pub const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// What the media types of all versions begin with.
pub(super) const MEDIA_TYPE_START: &str = "application/vnd.dev.sigstore.bundle";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    #[serde(alias = "media_type")]
    media_type: String,
    #[serde(alias = "verification_material")]
    verification_material: Material,
    #[serde(alias = "dsse_envelope")]
    dsse_envelope: Option<Envelope>,
}

/// Entries of a transparency log may stand here too; they are not looked at.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    #[serde(alias = "public_key")]
    public_key: Option<KeyHint>,
    certificate: Option<IgnoredAny>,
    #[serde(alias = "x509_certificate_chain")]
    x509_certificate_chain: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct KeyHint {
    hint: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    #[serde(deserialize_with = "base64::deserialize")]
    payload: Vec<u8>,
    #[serde(alias = "payload_type")]
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    #[serde(deserialize_with = "base64::deserialize")]
    sig: Vec<u8>,
}

/// Signs an image: the bundle, the same bytes every time.
pub fn create(image: Sha256Digest, key: &PrivateKey) -> Vec<u8> {
    let statement = statement::of(image);
    let signature = key.sign(&statement::signed_bytes(statement::PAYLOAD_TYPE, &statement));
    let bundle = json!({
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": key.public().hint()}},
        "dsseEnvelope": {
            "payload": base64::encode(&statement),
            "payloadType": statement::PAYLOAD_TYPE,
            "signatures": [{"sig": base64::encode(&signature)}],
        },
    });
    bundle.to_string().into_bytes()
}

/// Judges a bundle that was found beside an image.
///
/// # Errors
/// If it is no signature of this key over this image; the error says why.
pub fn check(bundle: &[u8], image: Sha256Digest, key: &PublicKey) -> Result<(), Rejection> {
    let bundle: Bundle = serde_json::from_slice(bundle)
        .map_err(|error| Rejection::Malformed(format!("its bundle cannot be read: {error}")))?;
    if !bundle.media_type.starts_with(MEDIA_TYPE_START) {
        return Err(Rejection::Malformed(format!("{} is no bundle", excerpt(&bundle.media_type))));
    }
    let material = bundle.verification_material;
    if material.certificate.is_some() || material.x509_certificate_chain.is_some() {
        return Err(Rejection::Certificate);
    }
    let Some(envelope) = bundle.dsse_envelope else {
        return Err(Rejection::NoSignature("message signature".to_owned()));
    };
    // Bundles have exactly one (Sigstore bundle format); with more it would be unclear who said what.
    let [signature] = &envelope.signatures[..] else {
        let problem = format!("its envelope has {} signatures instead of one", envelope.signatures.len());
        return Err(Rejection::Malformed(problem));
    };
    let signed = statement::signed_bytes(&envelope.payload_type, &envelope.payload);
    if !key.verify(&signed, &signature.sig) {
        let hint = material.public_key.and_then(|key| key.hint).map(|hint| excerpt(&hint));
        return Err(Rejection::WrongKey { hint });
    }
    if envelope.payload_type != statement::PAYLOAD_TYPE {
        return Err(Rejection::NoSignature(excerpt(&envelope.payload_type)));
    }
    statement::check(&envelope.payload, image)
}
