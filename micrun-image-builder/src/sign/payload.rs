//! The older format's signed payload ("simple signing"): a JSON document that names the image.

use micrun_image_spec::digest::Sha256Digest;
use micrun_image_spec::text::excerpt;
use serde::Deserialize;
use serde_json::json;

use super::verdict::Rejection;

const TYPE: &str = "cosign container image signature";

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    identity: Identity,
    image: Image,
    #[serde(rename = "type")]
    payload_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Identity {
    docker_reference: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Image {
    docker_manifest_digest: String,
}

/// The payload for an image, the same bytes every time. `repository` is its name without a tag, such as
/// `registry.example/demo/zephyr`.
pub(super) fn of(image: Sha256Digest, repository: &str) -> Vec<u8> {
    let payload = json!({
        "critical": {
            "identity": {"docker-reference": repository},
            "image": {"docker-manifest-digest": image.to_string()},
            "type": TYPE,
        },
        "optional": null,
    });
    payload.to_string().into_bytes()
}

/// Compares a payload with the image that it was found beside; gives the repository that it names.
///
/// # Errors
/// If it is no payload, of another type, or names another image.
pub fn check(payload: &[u8], image: Sha256Digest) -> Result<String, Rejection> {
    let Payload { critical } = serde_json::from_slice(payload)
        .map_err(|error| Rejection::Malformed(format!("its payload cannot be read: {error}")))?;
    if critical.payload_type != TYPE {
        return Err(Rejection::NoSignature(excerpt(&critical.payload_type)));
    }
    if critical.image.docker_manifest_digest != image.to_string() {
        return Err(Rejection::other_image(&critical.image.docker_manifest_digest));
    }
    Ok(excerpt(&critical.identity.docker_reference))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_its_own_and_nothing_else() {
        let (image, other) = (Sha256Digest::of(b"image"), Sha256Digest::of(b"other"));
        let ours = String::from_utf8(of(image, "registry.example/demo")).unwrap();
        assert_eq!(check(ours.as_bytes(), image).unwrap(), "registry.example/demo");
        assert!(matches!(check(ours.as_bytes(), other), Err(Rejection::OtherImage(_))));
        let podman = ours.replace(TYPE, "atomic container signature");
        assert!(matches!(check(podman.as_bytes(), image), Err(Rejection::NoSignature(_))));
        assert!(matches!(check(b"{}", image), Err(Rejection::Malformed(_))));
    }
}
