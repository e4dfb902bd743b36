//! The one layer: a tar with the firmware, its client.conf and, where needed, a boot image.

use std::io::{self, BufReader, Write};

use micrun_image_spec::digest::{HashingWriter, Sha256Digest};
use oci_spec::image::MediaType;
use tempfile::SpooledTempFile;

use super::compression::Compressor;
use super::{Contents, ImageError, LayerFile};
use crate::source::{self, ReadAt};

/// A layer up to this size never touches the disk before it is written to its place.
const IN_MEMORY: usize = 4 << 20;
const BLOCK: u64 = 512;

/// A packed layer.
pub(super) struct Layer {
    /// The compressed bytes.
    pub(super) blob: SpooledTempFile,
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

fn pack(contents: &Contents<'_>) -> io::Result<Layer> {
    let mtime = contents.epoch.unwrap_or_default().seconds();
    let blob = HashingWriter::new(SpooledTempFile::new(IN_MEMORY));
    let compressor = Compressor::new(contents.compression, blob, tar_size(contents.files))?;
    let mut tar = tar::Builder::new(HashingWriter::new(compressor));
    for file in contents.files {
        let mode = if file.executable { 0o755 } else { 0o644 };
        append(&mut tar, file.path.trim_start_matches('/'), mode, mtime, file.data)?;
    }
    let (compressor, diff_id) = tar.into_inner()?.finish();
    let blob = compressor.finish()?;
    let size = blob.byte_count();
    let (blob, digest) = blob.finish();
    Ok(Layer { blob, size, digest, diff_id, media_type: contents.compression.media_type() })
}

/// Each file takes a header and whole blocks; two empty blocks end the archive.
fn tar_size(files: &[LayerFile<'_>]) -> u64 {
    files.iter().map(|file| BLOCK + file.data.size().next_multiple_of(BLOCK)).sum::<u64>() + 2 * BLOCK
}

/// Adds a regular file of root's. Every field of the header is set here; nothing comes from the machine.
pub(super) fn append<W: Write>(
    tar: &mut tar::Builder<W>,
    path: &str,
    mode: u32,
    mtime: u64,
    data: impl TarData,
) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(data.size());
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(mtime);
    tar.append_data(&mut header, path, data.reader())
}

/// Bytes of known number to put into a tar.
pub(super) trait TarData {
    fn size(&self) -> u64;
    fn reader(self) -> impl io::Read;
}

impl TarData for &[u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn reader(self) -> impl io::Read {
        self
    }
}

impl TarData for &dyn ReadAt {
    fn size(&self) -> u64 {
        ReadAt::size(*self)
    }

    fn reader(self) -> impl io::Read {
        let whole = 0..ReadAt::size(self);
        BufReader::with_capacity(128 << 10, source::reader(self, whole))
    }
}

impl TarData for (&mut SpooledTempFile, u64) {
    fn size(&self) -> u64 {
        self.1
    }

    fn reader(self) -> impl io::Read {
        self.0
    }
}
