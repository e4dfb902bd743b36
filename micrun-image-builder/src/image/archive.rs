//! An OCI layout as one tar file: what skopeo calls `oci-archive:` and what `ctr image import` reads.

use std::io::{self, Seek, Write};

use super::layer::append;
use super::{Image, OCI_LAYOUT};

/// Writes the archive. Entries are sorted by name and have fixed owners, modes and times.
///
/// # Errors
/// If the output cannot be written, or the layer's temporary file cannot be read back.
pub fn write_archive(image: &mut Image, output: impl Write) -> io::Result<()> {
    let mtime = image.epoch.seconds();
    let mut tar = tar::Builder::new(output);
    let documents =
        [&image.config, &image.manifest].map(|document| (document.digest, Some(&document.bytes[..])));
    let mut blobs = [documents[0], documents[1], (image.layer.digest, None)];
    blobs.sort();
    for (digest, document) in blobs {
        let path = format!("blobs/sha256/{}", digest.hex());
        match document {
            Some(bytes) => append(&mut tar, &path, 0o644, mtime, bytes)?,
            None => {
                image.layer.blob.rewind()?;
                append(&mut tar, &path, 0o644, mtime, (&mut image.layer.blob, image.layer.size))?;
            }
        }
    }
    append(&mut tar, "index.json", 0o644, mtime, &image.index[..])?;
    append(&mut tar, "oci-layout", 0o644, mtime, OCI_LAYOUT)?;
    tar.into_inner()?.flush()
}
