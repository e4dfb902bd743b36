//! An OCI layout as a directory: what skopeo and umoci call `oci:`.

use std::fs::{self, File};
use std::io::{self, Seek};
use std::path::Path;

use super::{Image, ImageError, OCI_LAYOUT};

/// Writes the layout beside its place and then moves it there, so that nobody ever sees half of it. Replaces an
/// OCI layout that is there already, and nothing else.
pub fn write_directory(image: &mut Image, dir: &Path) -> Result<(), ImageError> {
    let failed = || ImageError::write(format!("the OCI layout {}", dir.display()));
    let replaces = may_be_replaced(dir)?;
    let parent = match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let work = tempfile::Builder::new().prefix(".oci-").tempdir_in(parent).map_err(failed())?;
    let new = work.path().join("new");
    write_files(image, &new).map_err(failed())?;
    if replaces {
        fs::rename(dir, work.path().join("old")).map_err(failed())?;
    }
    fs::rename(&new, dir).map_err(failed())
}

/// True for an empty directory, or an OCI layout and nothing else; false if there is none.
fn may_be_replaced(dir: &Path) -> Result<bool, ImageError> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other.map_err(ImageError::write(format!("the OCI layout {}", dir.display())))?,
    };
    let names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    let ours =
        names.iter().all(|name| ["blobs", "index.json", "oci-layout"].iter().any(|known| name == known));
    if ours && (names.is_empty() || names.iter().any(|name| name == "oci-layout")) {
        return Ok(true);
    }
    Err(ImageError::NotALayout(dir.display().to_string()))
}

fn write_files(image: &mut Image, dir: &Path) -> io::Result<()> {
    let blobs = dir.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    image.layer.blob.rewind()?;
    io::copy(&mut image.layer.blob, &mut File::create(blobs.join(image.layer.digest.hex()))?)?;
    for document in [&image.config, &image.manifest] {
        fs::write(blobs.join(document.digest.hex()), &document.bytes)?;
    }
    fs::write(dir.join("index.json"), &image.index)?;
    fs::write(dir.join("oci-layout"), OCI_LAYOUT)
}
