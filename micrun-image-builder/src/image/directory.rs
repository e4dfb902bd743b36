//! An OCI layout as a directory: what skopeo and umoci call `oci:`.

use std::fs::{self, File};
use std::io::{self, Seek};
use std::path::Path;

use serde_json::Value;

use super::{Image, ImageError, OCI_LAYOUT};
use crate::output::{parent_of, without_temporary_name};

/// Our temporary directories; one that is left over from a killed process does no harm.
const TEMPORARY: &str = ".micrun-image-";
const BLOBS: &str = "blobs/sha256";

/// Writes the layout so that nobody ever sees half of it. Replaces an OCI layout with one image, fills an empty
/// directory or makes a new one, and touches nothing else.
///
/// # Errors
/// If the place holds anything else, or cannot be written; what was there is then still there.
pub fn write_directory(image: &mut Image, dir: &Path) -> Result<(), ImageError> {
    let failed = || ImageError::write(format!("the OCI layout {}", dir.display()));
    let exists = fs::exists(dir).map_err(failed())?;
    if exists {
        check_replaceable(dir)?;
    } else if !parent_of(dir).is_dir() {
        return Err(failed()(io::Error::other("its parent directory does not exist; make it first")));
    }
    let work =
        tempfile::Builder::new().prefix(TEMPORARY).tempdir_in(if exists { dir } else { parent_of(dir) });
    let work = work.map_err(without_temporary_name).map_err(failed())?;
    let new = work.path().join("new");
    write_files(image, &new).map_err(failed())?;
    if exists { replace(dir, &new) } else { fs::rename(&new, dir) }.map_err(failed())
}

/// An empty directory may be filled, and an OCI layout with at most one image and nothing else be replaced.
fn check_replaceable(dir: &Path) -> Result<(), ImageError> {
    let failed = || ImageError::read(format!("the OCI layout {}", dir.display()));
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed())? {
        names.push(entry.map_err(failed())?.file_name());
    }
    names.retain(|name| !name.to_string_lossy().starts_with(TEMPORARY));
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    let files = ["blobs", "index.json", "oci-layout"];
    if names.is_empty() {
        return Ok(());
    }
    if !has("oci-layout") || !names.iter().all(|name| files.iter().any(|file| name == file)) {
        return Err(ImageError::NotALayout(dir.display().to_string()));
    }
    // A layout without an index has no image that could be lost.
    if !has("index.json") {
        return Ok(());
    }
    let index = fs::read(dir.join("index.json")).map_err(failed())?;
    let index: Value = serde_json::from_slice(&index).unwrap_or_default();
    match index["manifests"].as_array() {
        Some(images) if images.len() <= 1 => Ok(()),
        Some(_) => Err(ImageError::OtherImages(dir.display().to_string())),
        None => Err(ImageError::NotALayout(dir.display().to_string())),
    }
}

fn write_files(image: &mut Image, dir: &Path) -> io::Result<()> {
    let blobs = dir.join(BLOBS);
    fs::create_dir_all(&blobs)?;
    image.layer.blob.rewind()?;
    io::copy(&mut image.layer.blob, &mut File::create(blobs.join(image.layer.digest.hex()))?)?;
    for document in [&image.config, &image.manifest] {
        fs::write(blobs.join(document.digest.hex()), &document.bytes)?;
    }
    fs::write(dir.join("index.json"), &image.index)?;
    fs::write(dir.join("oci-layout"), OCI_LAYOUT)
}

/// Moves a new layout's files into a directory. Blobs have the names of their contents, so that the old image stays
/// whole until the new index takes the place of the old one.
fn replace(dir: &Path, new: &Path) -> io::Result<()> {
    let (blobs, new_blobs) = (dir.join(BLOBS), new.join(BLOBS));
    fs::create_dir_all(&blobs)?;
    let mut wanted = Vec::new();
    for entry in fs::read_dir(&new_blobs)? {
        let name = entry?.file_name();
        fs::rename(new_blobs.join(&name), blobs.join(&name))?;
        wanted.push(name);
    }
    fs::rename(new.join("oci-layout"), dir.join("oci-layout"))?;
    fs::rename(new.join("index.json"), dir.join("index.json"))?;
    for entry in fs::read_dir(&blobs)? {
        let entry = entry?;
        if !wanted.contains(&entry.file_name()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
