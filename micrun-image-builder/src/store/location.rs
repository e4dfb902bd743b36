//! How users name the place of an image, in the spelling of skopeo and podman.

use std::ffi::OsString;
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
    /// One of skopeo's other transports, a misspelt one, or none where one is needed.
    #[error(
        "the transport `{transport}:` is not known here: known are oci-archive:FILE, oci:DIR and docker://NAME; {instead}"
    )]
    Transport {
        /// What stands before the first colon.
        transport: String,
        /// What to write instead.
        instead: String,
    },
    /// No name of an image in a registry.
    #[error(transparent)]
    Name(#[from] BadReference),
    /// Nothing behind the transport.
    #[error("there is no path: write oci-archive:FILE or oci:DIR")]
    NoPath,
    /// Nothing behind `docker://`.
    #[error("there is no name behind docker://: write docker://HOST/NAME:TAG")]
    NoName,
    /// A transport, and a path that is not UTF-8.
    #[error("behind a transport only UTF-8 can stand: give the path alone")]
    NotText,
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
            "docker" if rest == "//" => Err(BadLocation::NoName),
            "docker" if rest.starts_with("//") => Ok(Location::Registry(text.parse()?)),
            "oci" => Ok(Location::Layout(local(rest)?)),
            "oci-archive" => Ok(Location::Archive(local(rest)?)),
            other if is_transport => {
                Err(BadLocation::Transport { transport: other.to_owned(), instead: instead_of(text) })
            }
            _ if text.is_empty() => Err(BadLocation::NoPath),
            // A drive letter of Windows is no transport.
            _ => Ok(Location::Path(text.into())),
        }
    }
}

/// What the user may have meant by a transport that is none.
fn instead_of(text: &str) -> String {
    let rest = text.split_once(':').map_or("", |(_, rest)| rest);
    let name = rest.strip_prefix("//").or_else(|| text.strip_prefix("docker:"));
    match name.and_then(registry_name).or_else(|| hosted_name(text)) {
        Some(name) => format!("write {name}"),
        None => format!("for a file of that name write ./{text}"),
    }
}

/// The name of an image in a registry, without its transport.
fn registry_name(text: &str) -> Option<RegistryName> {
    text.parse().ok()
}

/// The same, if it begins with something that can only be a host.
fn hosted_name(text: &str) -> Option<RegistryName> {
    let (host, _) = text.split_once('/')?;
    let is_host = host == "localhost" || (!host.starts_with('.') && host.contains(['.', ':']));
    is_host.then(|| registry_name(text)).flatten()
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
    /// What the user wrote, which need not be UTF-8 if it is a path.
    ///
    /// # Errors
    /// If it is no place for an image.
    pub fn from_os(text: OsString) -> Result<Self, BadLocation> {
        match text.into_string() {
            Ok(text) => text.parse(),
            Err(text) => match text.to_string_lossy().parse()? {
                Location::Path(_) => Ok(Location::Path(text.into())),
                _ => Err(BadLocation::NotText),
            },
        }
    }

    /// For a path that looks like an image in a registry: how that is written. People forget the transport.
    pub fn as_registry(&self) -> Option<RegistryName> {
        match self {
            Location::Path(path) => hosted_name(path.to_str()?),
            _ => None,
        }
    }

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
        let unknown = |transport: &str, instead: &str| {
            Err(BadLocation::Transport { transport: transport.to_owned(), instead: instead.to_owned() })
        };
        for (text, place) in [
            ("-", Ok(Location::Stdout)),
            ("a.tar", path("a.tar")),
            ("oci-archive:a.tar", Ok(Location::Archive(image("a.tar", None)))),
            ("oci-archive:a.tar:v1", Ok(Location::Archive(image("a.tar", Some("v1"))))),
            ("oci:dir", Ok(Location::Layout(image("dir", None)))),
            ("oci:dir:1.0", Ok(Location::Layout(image("dir", Some("1.0"))))),
            ("oci:a:b/dir", Ok(Location::Layout(image("a:b/dir", None)))),
            ("docker://reg.example/a:1", Ok(Location::Registry("reg.example/a:1".parse().unwrap()))),
            ("docker:a", unknown("docker", "write docker://docker.io/library/a:latest")),
            ("docker://", Err(BadLocation::NoName)),
            ("https://reg.example/a:1", unknown("https", "write docker://reg.example/a:1")),
            ("localhost:5000/a:1", unknown("localhost", "write docker://localhost:5000/a:1")),
            ("reg.example:5000/a:1", path("reg.example:5000/a:1")),
            ("C:\\a.tar", path("C:\\a.tar")),
            ("c:a.tar", path("c:a.tar")),
            ("./docker-archive:a", path("./docker-archive:a")),
            (
                "docker-archive:a",
                unknown("docker-archive", "for a file of that name write ./docker-archive:a"),
            ),
            ("dir:a", unknown("dir", "for a file of that name write ./dir:a")),
            ("oci:", Err(BadLocation::NoPath)),
            ("oci::x", Err(BadLocation::NoPath)),
            ("", Err(BadLocation::NoPath)),
        ] {
            assert_eq!(text.parse(), place, "{text}");
        }
    }

    #[test]
    fn a_name_without_its_transport_is_recognised() {
        let meant = |text: &str| {
            let place: Location = text.parse().unwrap();
            place.as_registry().map(|name| name.to_string())
        };
        assert_eq!(meant("reg.example/demo:1").as_deref(), Some("docker://reg.example/demo:1"));
        assert_eq!(meant("reg.example:5000/demo").as_deref(), Some("docker://reg.example:5000/demo:latest"));
        for path in ["a.tar", "build/a.tar", "./a.b/c", "../x.y/z", "/a.b/c", "C:\\a.tar"] {
            assert_eq!(meant(path), None, "{path}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_path_need_not_be_text() {
        use std::os::unix::ffi::OsStringExt;
        let os = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        let path = os(b"a\xff.tar");
        assert_eq!(Location::from_os(path.clone()), Ok(Location::Path(path.into())));
        assert_eq!(Location::from_os(os(b"oci:a\xff")), Err(BadLocation::NotText));
    }
}
