//! What the tests of signatures share: keys, and an image to sign.

use base64ct::{Base64, Encoding as _};
use micrun_image_builder::sign::{KeyFile, PrivateKey};
use micrun_image_builder::store::{Sink, StoreError};
use micrun_image_spec::digest::Sha256Digest;
use oci_spec::image::{Descriptor, Digest, MediaType};
use p256::SecretKey;
use p256::pkcs8::EncodePrivateKey as _;

/// Bytes in base64.
pub fn base64(bytes: &[u8]) -> String {
    Base64::encode_string(bytes)
}

/// A PEM block.
pub fn pem(label: &str, der: &[u8]) -> String {
    let text = base64(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// A private key in PKCS#8, another one for each seed. No secret of anybody.
pub fn key_pem(seed: u8) -> String {
    let secret = SecretKey::from_slice(&[seed; 32]).unwrap();
    pem("PRIVATE KEY", secret.to_pkcs8_der().unwrap().as_bytes())
}

/// The same key, read.
pub fn key(seed: u8) -> PrivateKey {
    match KeyFile::parse(key_pem(seed).as_bytes()).unwrap() {
        KeyFile::Plain(key) => key,
        KeyFile::Encrypted(_) => panic!("the key is encrypted"),
    }
}

/// The descriptor of some bytes.
pub fn describe(media_type: MediaType, bytes: &[u8]) -> Descriptor {
    let digest: Digest = Sha256Digest::of(bytes).to_string().parse().unwrap();
    Descriptor::new(media_type, bytes.len() as u64, digest)
}

/// Puts an image without layers into a place; gives its digest. Each text makes another image.
pub fn put_image(mut sink: Box<dyn Sink>, text: &str) -> Result<Sha256Digest, StoreError> {
    let config =
        format!(r#"{{"architecture":"{text}","os":"linux","rootfs":{{"type":"layers","diff_ids":[]}}}}"#)
            .into_bytes();
    let config_descriptor = describe(MediaType::ImageConfig, &config);
    sink.put_blob(&config_descriptor, &config)?;
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MediaType::ImageManifest.to_string(),
        "config": config_descriptor,
        "layers": [],
    });
    let manifest = manifest.to_string();
    sink.finish(&describe(MediaType::ImageManifest, manifest.as_bytes()), manifest.as_bytes())?;
    Ok(Sha256Digest::of(manifest.as_bytes()))
}
