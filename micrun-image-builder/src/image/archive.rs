//! An OCI layout as one tar file: what skopeo calls `oci-archive:` and what `ctr image import` reads.

use std::io::{self, Seek, Write};

use super::layer::append;
use super::{Image, OCI_LAYOUT};

/// Writes the archive. Entries are sorted by name and have fixed owners, modes and times.
pub fn write_archive(image: &mut Image, output: impl Write) -> io::Result<()> {
    let mtime = image.epoch.seconds();
    let mut tar = tar::Builder::new(output);
    let mut digests = [image.layer.digest, image.config.digest, image.manifest.digest];
    digests.sort();
    for digest in digests {
        let path = format!("blobs/sha256/{}", digest.hex());
        if digest == image.config.digest {
            append(&mut tar, &path, 0o644, mtime, &image.config.bytes[..])?;
        } else if digest == image.manifest.digest {
            append(&mut tar, &path, 0o644, mtime, &image.manifest.bytes[..])?;
        } else {
            image.layer.blob.rewind()?;
            append(&mut tar, &path, 0o644, mtime, (&mut image.layer.blob, image.layer.size))?;
        }
    }
    append(&mut tar, "index.json", 0o644, mtime, &image.index[..])?;
    append(&mut tar, "oci-layout", 0o644, mtime, OCI_LAYOUT)?;
    tar.into_inner()?.flush()
}
