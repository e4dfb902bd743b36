//! How files get to their place whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// A file that is written beside its place and takes it at the end.
///
/// No fsync: whoever loses power while building builds again. A device or FIFO is written to, never replaced, and a
/// symbolic link goes on pointing to its file.
pub(crate) enum NewFile {
    /// A regular file, or nothing yet.
    Replacing {
        /// What is written.
        temporary: NamedTempFile,
        /// Its place.
        path: PathBuf,
    },
    /// Something that cannot be replaced.
    Direct(File),
}

impl NewFile {
    /// Makes ready to write.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let path = match fs::metadata(path) {
            Ok(there) if there.is_file() => fs::canonicalize(path)?,
            Ok(there) if there.is_dir() => {
                return Err(io::Error::other(
                    "it is a directory: give a file in it, or write oci: in front of it",
                ));
            }
            Ok(_) => return Ok(NewFile::Direct(File::options().write(true).open(path)?)),
            Err(_) => path.to_owned(),
        };
        let parent = parent_of(&path);
        if !parent.is_dir() {
            return Err(io::Error::other("its directory does not exist; make it first"));
        }
        let temporary = temporary_file(parent).map_err(without_temporary_name)?;
        Ok(NewFile::Replacing { temporary, path })
    }

    /// Takes the place.
    pub(crate) fn persist(self) -> io::Result<()> {
        match self {
            NewFile::Replacing { temporary, path } => {
                temporary.persist(path).map(drop).map_err(|error| error.error)
            }
            NewFile::Direct(mut file) => file.flush(),
        }
    }

    fn file(&self) -> &File {
        match self {
            NewFile::Replacing { temporary, .. } => temporary.as_file(),
            NewFile::Direct(file) => file,
        }
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file().flush()
    }
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
fn temporary_file(dir: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".micrun-image-").suffix(".tmp");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(dir)
}
