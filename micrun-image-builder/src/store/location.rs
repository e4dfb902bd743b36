//! How users name the place of an image, in the spelling of skopeo and podman.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::image::BadReference;
use crate::registry::RegistryName;

/// A place for an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// An OCI archive: `oci-archive:FILE[:TAG]`.
    Archive(LocalImage),
    /// An OCI layout: `oci:DIR[:TAG]`.
    Layout(LocalImage),
    /// An image in a registry: `docker://HOST[:PORT]/NAME[:TAG][@DIGEST]`.
    Registry(RegistryName),
    /// A path without a transport: whatever is there.
    Path(PathBuf),
    /// `-`: an OCI archive on standard output.
    Stdout,
}

/// An image in a file or directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalImage {
    /// The file or directory.
    pub path: PathBuf,
    /// The image's name in it; None for the only one.
    pub tag: Option<String>,
}

/// A text that is no place for an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLocation {
    /// One of skopeo's other transports, or a misspelt one.
    #[error(
        "the transport `{0}:` is not known here: write oci-archive:FILE, oci:DIR or docker://NAME, or ./{0}:... for a file"
    )]
    Transport(String),
    /// No name of an image in a registry.
    #[error(transparent)]
    Name(#[from] BadReference),
    /// Nothing behind the transport.
    #[error("there is no path: write oci-archive:FILE or oci:DIR")]
    NoPath,
}

impl FromStr for Location {
    type Err = BadLocation;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (transport, rest) = text.split_once(':').unwrap_or(("", text));
        let is_transport = transport.len() >= 2
            && transport.starts_with(|c: char| c.is_ascii_lowercase())
            && transport.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        match transport {
            _ if text == "-" => Ok(Location::Stdout),
            "docker" if rest.starts_with("//") => Ok(Location::Registry(text.parse()?)),
            "oci" => Ok(Location::Layout(local(rest)?)),
            "oci-archive" => Ok(Location::Archive(local(rest)?)),
            other if is_transport => Err(BadLocation::Transport(other.to_owned())),
            _ if text.is_empty() => Err(BadLocation::NoPath),
            // A drive letter of Windows is no transport.
            _ => Ok(Location::Path(text.into())),
        }
    }
}

/// `PATH[:TAG]`. A tag has no slash, and Windows has a colon behind the drive letter.
fn local(text: &str) -> Result<LocalImage, BadLocation> {
    let (path, tag) = match text.rsplit_once(':') {
        Some((path, tag)) if tag.contains(['/', '\\']) || (cfg!(windows) && path.len() == 1) => (text, None),
        Some((path, tag)) => (path, Some(tag.to_owned()).filter(|tag| !tag.is_empty())),
        None => (text, None),
    };
    if path.is_empty() {
        return Err(BadLocation::NoPath);
    }
    Ok(LocalImage { path: path.into(), tag })
}

impl Location {
    /// The archive beside a firmware, with its name: `zephyr.oci.tar`.
    pub fn beside(firmware: &Path) -> Self {
        Location::Path(firmware.with_extension("oci.tar"))
    }

    /// The path of what is on this machine.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Location::Archive(image) | Location::Layout(image) => Some(&image.path),
            Location::Path(path) => Some(path),
            Location::Registry(_) | Location::Stdout => None,
        }
    }

    /// True if it is, or leads to, that file.
    pub fn is_same_file(&self, other: &Path) -> bool {
        let real = |path: &Path| fs::canonicalize(path).ok();
        self.path().is_some_and(|path| path == other || (real(path).is_some() && real(path) == real(other)))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Archive(image) => write!(f, "oci-archive:{image}"),
            Location::Layout(image) => write!(f, "oci:{image}"),
            Location::Registry(name) => write!(f, "{name}"),
            Location::Path(path) => write!(f, "{}", path.display()),
            Location::Stdout => f.write_str("-"),
        }
    }
}

impl fmt::Display for LocalImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        self.tag.iter().try_for_each(|tag| write!(f, ":{tag}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_path_or_a_known_transport() {
        let image =
            |path: &str, tag: Option<&str>| LocalImage { path: path.into(), tag: tag.map(str::to_owned) };
        let path = |path: &str| Ok(Location::Path(path.into()));
        for (text, place) in [
            ("-", Ok(Location::Stdout)),
            ("a.tar", path("a.tar")),
            ("oci-archive:a.tar", Ok(Location::Archive(image("a.tar", None)))),
            ("oci-archive:a.tar:v1", Ok(Location::Archive(image("a.tar", Some("v1"))))),
            ("oci:dir", Ok(Location::Layout(image("dir", None)))),
            ("oci:dir:1.0", Ok(Location::Layout(image("dir", Some("1.0"))))),
            ("oci:a:b/dir", Ok(Location::Layout(image("a:b/dir", None)))),
            ("docker://reg.example/a:1", Ok(Location::Registry("reg.example/a:1".parse().unwrap()))),
            ("docker:a", Err(BadLocation::Transport("docker".to_owned()))),
            ("C:\\a.tar", path("C:\\a.tar")),
            ("c:a.tar", path("c:a.tar")),
            ("./docker-archive:a", path("./docker-archive:a")),
            ("docker-archive:a", Err(BadLocation::Transport("docker-archive".to_owned()))),
            ("dir:a", Err(BadLocation::Transport("dir".to_owned()))),
            ("oci:", Err(BadLocation::NoPath)),
            ("oci::x", Err(BadLocation::NoPath)),
            ("", Err(BadLocation::NoPath)),
        ] {
            assert_eq!(text.parse(), place, "{text}");
        }
    }
}
