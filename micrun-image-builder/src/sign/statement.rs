//! What a bundle signs: an in-toto statement that names the image, in the envelope's encoding (DSSE).

use micrun_image_spec::digest::Sha256Digest;
use micrun_image_spec::text::excerpt;
use serde::Deserialize;
use serde_json::json;

use super::verdict::Rejection;

/// The media type of a statement.
pub(super) const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// What the statement says of its subject: somebody signed it.
pub(super) const PREDICATE_TYPE: &str = "https://sigstore.dev/cosign/sign/v1";
const STATEMENT_TYPES: [&str; 2] = ["https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    statement_type: String,
    subject: Vec<Subject>,
    predicate_type: String,
}

#[derive(Deserialize)]
struct Subject {
    digest: Algorithms,
}

#[derive(Deserialize)]
struct Algorithms {
    sha256: Option<String>,
}

/// A statement that the image is signed, the same bytes every time.
pub(super) fn of(image: Sha256Digest) -> Vec<u8> {
    let statement = json!({
        "_type": STATEMENT_TYPES[0],
        "subject": [{"digest": {"sha256": image.hex()}, "annotations": {}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {},
    });
    statement.to_string().into_bytes()
}

/// Compares a statement with the image that it was found beside.
///
/// # Errors
/// If it is no statement, says something else than that its subject is signed, or has another subject.
pub fn check(statement: &[u8], image: Sha256Digest) -> Result<(), Rejection> {
    let statement: Statement = serde_json::from_slice(statement)
        .map_err(|error| Rejection::Malformed(format!("its statement cannot be read: {error}")))?;
    if !STATEMENT_TYPES.contains(&statement.statement_type.as_str()) {
        return Err(Rejection::NoSignature(excerpt(&statement.statement_type)));
    }
    if statement.predicate_type != PREDICATE_TYPE {
        return Err(Rejection::NoSignature(excerpt(&statement.predicate_type)));
    }
    let mut digests = statement.subject.iter().filter_map(|subject| subject.digest.sha256.as_deref());
    let wanted = image.hex();
    match digests.clone().find(|digest| *digest == wanted).or(digests.next()) {
        Some(digest) if digest == wanted => Ok(()),
        Some(other) => Err(Rejection::other_image(other)),
        None => Err(Rejection::Malformed("its statement names no sha256 digest".to_owned())),
    }
}

/// The bytes that the envelope's signature is about (DSSE, "Pre-Authentication Encoding").
pub(super) fn signed_bytes(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_as_the_protocol_says() {
        // The example of the protocol's specification.
        let encoded = signed_bytes("http://example.com/HelloWorld", b"hello world");
        assert_eq!(encoded, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    }

    #[test]
    fn accepts_its_own_and_nothing_else() {
        let (image, other) = (Sha256Digest::of(b"image"), Sha256Digest::of(b"other"));
        let ours = String::from_utf8(of(image)).unwrap();
        assert!(check(ours.as_bytes(), image).is_ok());
        assert!(matches!(check(ours.as_bytes(), other), Err(Rejection::OtherImage(_))));
        let slsa = ours.replace(PREDICATE_TYPE, "https://slsa.dev/provenance/v1");
        assert!(matches!(check(slsa.as_bytes(), image), Err(Rejection::NoSignature(_))));
        let strange = ours.replace(STATEMENT_TYPES[0], "https://example.com/Statement");
        assert!(matches!(check(strange.as_bytes(), image), Err(Rejection::NoSignature(_))));
        let sha512 = ours.replace("sha256", "sha512");
        assert!(matches!(check(sha512.as_bytes(), image), Err(Rejection::Malformed(_))));
        assert!(matches!(check(b"{}", image), Err(Rejection::Malformed(_))));
    }
}
