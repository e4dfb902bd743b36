//! Where an image goes, and how it gets there whole or not at all.

use std::convert::Infallible;
use std::fs;
use std::io::{self, BufWriter, Write};
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

impl FromStr for Destination {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.split_once(':') {
            _ if text == "-" => Destination::Stdout,
            Some(("oci-archive", file)) => Destination::Archive(file.into()),
            Some(("oci", dir)) => Destination::Directory(dir.into()),
            _ => Destination::Archive(text.into()),
        })
    }
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

/// Writes beside the place and renames. No fsync: whoever loses power while building builds again.
fn write_file(image: &mut Image, path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !parent.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "its directory does not exist"));
    }
    let mut file = BufWriter::with_capacity(64 << 10, temporary_file(parent)?);
    write_archive(image, &mut file)?;
    file.flush()?;
    let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// A temporary file with the permissions of an ordinary one, where temporary files have others.
fn temporary_file(dir: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".micrun-image-").suffix(".tmp");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(dir)
}
