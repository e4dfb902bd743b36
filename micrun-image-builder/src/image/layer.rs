//! The one layer: a tar with the firmware, its client.conf and, where needed, a boot image.

use std::io::{self, BufReader, Read};

use micrun_image_spec::digest::{HashingWriter, Sha256Digest};
use oci_spec::image::MediaType;
use tempfile::SpooledTempFile;

use super::background::Hasher;
use super::compression::Compressor;
use super::spool::Spool;
use super::{Contents, ImageError, LayerFile};
use crate::source;
use crate::store::archive::append;
use crate::store::{Data, StoreError};

/// A layer up to this size never touches the disk before it is written to its place.
const IN_MEMORY: usize = 4 << 20;
const BLOCK: u64 = 512;

/// A packed layer.
pub(super) struct Layer {
    /// The compressed bytes.
    pub(super) blob: Spool,
    /// Number of them.
    pub(super) size: u64,
    /// Their digest.
    pub(super) digest: Sha256Digest,
    /// The digest of the tar.
    pub(super) diff_id: Sha256Digest,
    pub(super) media_type: MediaType,
}

impl Layer {
    pub(super) fn pack(contents: &Contents<'_>) -> Result<Layer, ImageError> {
        let dir = std::env::temp_dir();
        let what =
            format!("the image's layer to a temporary file in {} (TMPDIR names another)", dir.display());
        pack(contents).map_err(ImageError::write(what))
    }
}

impl Data for Layer {
    fn open(&self, offset: u64) -> Result<Box<dyn Read + Send + '_>, StoreError> {
        Ok(Box::new(source::reader(&self.blob, offset.min(self.size)..self.size)))
    }

    /// A temporary file may be on a bad disk, or somebody may write to it.
    fn is_proven(&self) -> bool {
        self.blob.is_in_memory()
    }
}

fn pack(contents: &Contents<'_>) -> io::Result<Layer> {
    let mtime = contents.epoch.unwrap_or_default().seconds();
    let blob = HashingWriter::new(SpooledTempFile::new(IN_MEMORY));
    let size = tar_size(contents.files);
    let compressor = Compressor::new(contents.compression, blob, size)?;
    let mut tar = tar::Builder::new(Hasher::new(compressor, size));
    for file in contents.files {
        let mode = if file.executable { 0o755 } else { 0o644 };
        let size = file.data.size();
        let data = BufReader::with_capacity(128 << 10, source::reader(file.data, 0..size));
        append(&mut tar, file.path.trim_start_matches('/'), mode, mtime, size, data)?;
    }
    let (compressor, diff_id) = tar.into_inner()?.finish()?;
    let blob = compressor.finish()?;
    let size = blob.byte_count();
    let (blob, digest) = blob.finish();
    let blob = Spool::new(blob, size);
    Ok(Layer { blob, size, digest, diff_id, media_type: contents.compression.media_type() })
}

/// Each file takes a header and whole blocks; two empty blocks end the archive.
fn tar_size(files: &[LayerFile<'_>]) -> u64 {
    files.iter().map(|file| BLOCK + file.data.size().next_multiple_of(BLOCK)).sum::<u64>() + 2 * BLOCK
}
