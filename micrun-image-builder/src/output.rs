//! Where an image goes, and how it gets there whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::image::{Image, ImageError, write_archive, write_directory};

/// Where an image goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// An OCI archive: `FILE` or `oci-archive:FILE`.
    Archive(PathBuf),
    /// An OCI layout: `oci:DIR`.
    Directory(PathBuf),
    /// An OCI archive on standard output: `-`.
    Stdout,
}

/// A text that is no place for an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadDestination {
    /// skopeo takes a tag there.
    #[error("`{0}` has a tag; give it with --tag and leave it out here")]
    Tagged(String),
    /// One of skopeo's other transports, or a misspelt one.
    #[error(
        "the transport `{0}:` is not known here: write oci-archive:FILE or oci:DIR, or ./{0}:... for a file"
    )]
    Transport(String),
    /// Nothing behind the transport.
    #[error("the output has no path: write oci-archive:FILE or oci:DIR")]
    NoPath,
}

impl FromStr for Destination {
    type Err = BadDestination;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (transport, path) = text.split_once(':').unwrap_or(("", text));
        let is_transport = transport.len() >= 2
            && transport.starts_with(|c: char| c.is_ascii_lowercase())
            && transport.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        match transport {
            _ if text == "-" => Ok(Destination::Stdout),
            "oci" | "oci-archive" if path.is_empty() => Err(BadDestination::NoPath),
            "oci" | "oci-archive" if has_tag(path) => Err(BadDestination::Tagged(text.to_owned())),
            "oci" => Ok(Destination::Directory(path.into())),
            "oci-archive" => Ok(Destination::Archive(path.into())),
            other if is_transport => Err(BadDestination::Transport(other.to_owned())),
            _ if text.is_empty() => Err(BadDestination::NoPath),
            // A drive letter of Windows is no transport.
            _ => Ok(Destination::Archive(text.into())),
        }
    }
}

/// True for `DIR:TAG`. Windows has a colon behind the drive letter, and none in names.
fn has_tag(path: &str) -> bool {
    path.match_indices(':').any(|(at, _)| at != 1 || !cfg!(windows))
}

impl Destination {
    /// Beside the firmware, with its name: `zephyr.oci.tar`.
    pub fn beside(firmware: &Path) -> Self {
        Destination::Archive(firmware.with_extension("oci.tar"))
    }

    /// The path that will be written; None for standard output.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Destination::Archive(path) | Destination::Directory(path) => Some(path),
            Destination::Stdout => None,
        }
    }

    /// True if writing would overwrite that file.
    pub fn is_same_file(&self, other: &Path) -> bool {
        let real = |path: &Path| fs::canonicalize(path).ok();
        self.path().is_some_and(|path| path == other || (real(path).is_some() && real(path) == real(other)))
    }

    /// Writes the image. On an error nothing is left behind.
    ///
    /// # Errors
    /// If the place cannot be written, or holds what may not be replaced.
    pub fn write(&self, image: &mut Image) -> Result<(), ImageError> {
        match self {
            Destination::Archive(path) => {
                write_file(image, path).map_err(ImageError::write(format!("the image {}", path.display())))
            }
            Destination::Directory(path) => write_directory(image, path),
            Destination::Stdout => write_archive(image, io::stdout().lock())
                .map_err(ImageError::write("the image to standard output")),
        }
    }
}

/// Writes beside the place and renames. No fsync: whoever loses power while building builds again. A device or FIFO
/// is written to, never replaced, and a symbolic link goes on pointing to its file.
fn write_file(image: &mut Image, path: &Path) -> io::Result<()> {
    let path = match fs::metadata(path) {
        Ok(there) if there.is_file() => fs::canonicalize(path)?,
        Ok(there) if there.is_dir() => {
            return Err(io::Error::other(
                "it is a directory: give a file in it, or write oci: in front of it",
            ));
        }
        Ok(_) => return write_archive(image, BufWriter::new(File::options().write(true).open(path)?)),
        Err(_) => path.to_owned(),
    };
    let parent = parent_of(&path);
    if !parent.is_dir() {
        return Err(io::Error::other("its directory does not exist; make it first"));
    }
    let temporary = temporary_file(parent).map_err(without_temporary_name)?;
    write_archive(image, BufWriter::with_capacity(64 << 10, temporary.as_file()))?;
    temporary.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// The directory that holds a path.
pub(crate) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The user knows nothing of the temporary name that is in the errors of tempfile.
pub(crate) fn without_temporary_name(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::Other => error,
        kind => kind.into(),
    }
}

/// A temporary file with the permissions of an ordinary one, where temporary files have others.
fn temporary_file(dir: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".micrun-image-").suffix(".tmp");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_file_or_a_known_transport() {
        let archive = |path: &str| Ok(Destination::Archive(path.into()));
        for (text, place) in [
            ("-", Ok(Destination::Stdout)),
            ("a.tar", archive("a.tar")),
            ("oci-archive:a.tar", archive("a.tar")),
            ("oci:dir", Ok(Destination::Directory("dir".into()))),
            ("C:\\a.tar", archive("C:\\a.tar")),
            ("c:a.tar", archive("c:a.tar")),
            ("./docker-archive:a", archive("./docker-archive:a")),
            ("docker-archive:a", Err(BadDestination::Transport("docker-archive".to_owned()))),
            ("dir:a", Err(BadDestination::Transport("dir".to_owned()))),
            ("oci:dir:1.0", Err(BadDestination::Tagged("oci:dir:1.0".to_owned()))),
            ("oci:", Err(BadDestination::NoPath)),
            ("", Err(BadDestination::NoPath)),
        ] {
            assert_eq!(text.parse(), place, "{text}");
        }
    }
}
