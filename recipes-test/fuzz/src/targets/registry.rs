//! What registries answer: headers and messages.

use http::Uri;
use micrun_image_builder::registry::wire::{
    Said, challenges, content_range, next_page, resolve, uploaded_bytes,
};

/// Reads the input as a message, and each line of it as every header that is looked at.
pub fn run(bytes: &[u8]) {
    Said::parse(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let base = Uri::from_static("https://registry.example/v2/name/blobs/uploads/");
    for line in text.lines() {
        for challenge in challenges(line) {
            challenge.parameter("realm");
        }
        uploaded_bytes(line);
        if let Some((first, last, _)) = content_range(line) {
            assert!(first <= last, "{line:?}");
        }
        for location in [Some(line), next_page(line)].into_iter().flatten() {
            if let Ok(url) = resolve(&base, location) {
                assert!(matches!(url.scheme_str(), Some("http" | "https")), "{url}");
            }
        }
    }
}
