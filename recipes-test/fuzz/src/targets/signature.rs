//! Signatures that lie beside an image. Nobody has a right to be believed before his signature was verified.

use std::sync::OnceLock;

use micrun_image_builder::sign::{PublicKey, bundle, legacy, payload, statement};
use micrun_image_spec::digest::Sha256Digest;

/// Nobody has the private half any more.
const KEY: &[u8] = include_bytes!("../../corpus/key/public.pem");

/// Reads the input as everything that is signed or holds a signature. The corpus was not signed with the key, and no
/// fuzzer can forge it.
pub fn run(bytes: &[u8]) {
    static PARSED: OnceLock<Option<PublicKey>> = OnceLock::new();
    let key = PARSED.get_or_init(|| PublicKey::parse(KEY).ok());
    let image = Sha256Digest::of(b"image");
    if let Some(key) = key {
        assert!(bundle::check(bytes, image, key).is_err());
    }
    let _ = statement::check(bytes, image);
    let _ = payload::check(bytes, image);
    let _ = legacy::layers(bytes);
}
