//! What Zephyr's build leaves as YAML: `build_info.yml` and `domains.yaml`.

use micrun_image_builder::zephyr::{BuildInfo, Domains};

use super::check_error;

/// Reads the text as both.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(error) = BuildInfo::parse(text) {
        check_error(&error);
    }
    match Domains::parse(text) {
        Ok(domains) => assert!(domains.names().all(|name| !name.is_empty())),
        Err(error) => check_error(&error),
    }
}
