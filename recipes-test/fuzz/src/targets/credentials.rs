//! The files in which docker, podman and skopeo keep credentials.

use micrun_image_builder::registry::login::AuthFile;

/// Looks for the credentials of a repository.
pub fn run(bytes: &[u8]) {
    if let Ok(file) = AuthFile::parse(bytes) {
        let _ = file.credential("registry.example:5000", "plant/gateway");
    }
}
