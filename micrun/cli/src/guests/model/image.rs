//! The three ways to name an image.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use micrun_image_spec::digest::Sha256Digest;

/// Where a guest's image comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Image {
    /// An OCI archive on this node. A link is followed.
    Archive(PathBuf),
    /// Exactly this one, from a registry where the node does not have it.
    Exact {
        /// The name without the digest.
        name: String,
        /// The digest of the manifest or index.
        digest: Sha256Digest,
    },
    /// Whatever the node's containerd has under this name; from a registry where it has none.
    Named(String),
}

/// A text that names no image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoImage;

/// What to write instead.
pub const WANTED: &str = "an image in full, such as \"registry.example/plant/motor:1.2\", the same with @sha256:DIGEST, or the \
                          absolute path of an OCI archive";

impl FromStr for Image {
    type Err = NoImage;

    fn from_str(text: &str) -> Result<Image, NoImage> {
        if text.len() > 4096 || text.chars().any(char::is_control) {
            return Err(NoImage);
        }
        if text.starts_with('/') {
            return Ok(Image::Archive(PathBuf::from(text)));
        }
        match text.split_once('@') {
            Some((name, digest)) if is_full_name(name) => {
                let digest = digest.parse().map_err(|_| NoImage)?;
                Ok(Image::Exact { name: name.to_owned(), digest })
            }
            None if is_full_name(text) && has_tag(text) => Ok(Image::Named(text.to_owned())),
            _ => Err(NoImage),
        }
    }
}

/// `HOST/PATH...`, as containerd names images: nothing is added to short names.
fn is_full_name(text: &str) -> bool {
    let known = |b: u8| b.is_ascii_alphanumeric() || b"._-/:[]".contains(&b);
    let host = text.split('/').next().unwrap_or_default();
    let has_host = host.contains(['.', ':']) || host == "localhost";
    text.len() <= 512
        && has_host
        && text.bytes().all(known)
        && text.split('/').count() > 1
        && !text.ends_with(['/', ':'])
}

fn has_tag(text: &str) -> bool {
    text.rsplit('/').next().is_some_and(|last| last.contains(':'))
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Image::Archive(path) => path.display().fmt(f),
            Image::Exact { name, digest } => write!(f, "{name}@{digest}"),
            Image::Named(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_named_in_three_ways() {
        let digest = Sha256Digest::of(b"x");
        for text in ["/data/motor.tar", "docker.io/library/zephyr:latest", "localhost:5000/a/b:1"] {
            assert_eq!(text.parse::<Image>().unwrap().to_string(), text);
        }
        let exact = format!("registry.example/motor:1@{digest}");
        assert!(matches!(exact.parse(), Ok(Image::Exact { digest: found, .. }) if found == digest));
        for wrong in [
            "",
            "zephyr",
            "zephyr:latest",
            "library/zephyr:1",
            "a.b/c",
            "a.b/c@sha256:12",
            "motor.tar",
            "/a\nb",
        ] {
            assert_eq!(wrong.parse::<Image>(), Err(NoImage), "{wrong}");
        }
    }
}
