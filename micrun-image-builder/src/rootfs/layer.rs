//! One layer as a stream: unpacked, hashed on both sides, its entries collected.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write as _};

use flate2::bufread::MultiGzDecoder;
use micrun_image_spec::digest::{HashingReader, Sha256Digest};
use oci_spec::image::Descriptor;
use tempfile::SpooledTempFile;

use super::limits::{Budget, MAX_FILE, MAX_UNPACKED};
use super::tar_walk::{self, Item, ItemKind, TarError};
use super::{Problem, tree};
use crate::image::{Compression, Spool};
use crate::store::{Source, StoreError, digest_of};

/// Contents up to this size never touch the disk.
const IN_MEMORY: usize = 4 << 20;
const PIECE: usize = 64 << 10;

/// What a layer holds.
#[derive(Default)]
pub(super) struct Layer {
    pub(super) items: Vec<Item>,
    /// Contents that were wanted, with the number of the entry; of several entries at one path the last.
    pub(super) kept: BTreeMap<String, (u64, Spool)>,
    /// The tar, if it was read to its end.
    pub(super) tar: Option<LayerTar>,
    pub(super) problems: Vec<Problem>,
}

/// The tar in a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerTar {
    /// Its bytes.
    pub size: u64,
    /// Its digest, which the configuration should name.
    pub diff_id: Sha256Digest,
}

/// Reads a layer to its end, and keeps the contents of the files that are wanted.
pub(super) fn read(
    source: &dyn Source,
    descriptor: &Descriptor,
    diff_id: Option<Sha256Digest>,
    budget: &mut Budget,
    wanted: impl Fn(&Item) -> bool,
) -> Layer {
    let mut layer = Layer::default();
    if let Err(problem) = layer.read(source, descriptor, diff_id, budget, wanted) {
        layer.problems.push(problem);
    }
    layer
}

/// The compression that a layer's media type names, OCI's or Docker's; None for what is no layer.
pub(super) fn compression(descriptor: &Descriptor) -> Option<Compression> {
    let media_type = descriptor.media_type().to_string();
    let tar = ["application/vnd.oci.image.layer.v1.", "application/vnd.oci.image.layer.nondistributable.v1."]
        .into_iter()
        .chain([
            "application/vnd.docker.image.rootfs.diff.",
            "application/vnd.docker.image.rootfs.foreign.diff.",
        ])
        .find_map(|prefix| media_type.strip_prefix(prefix))?;
    match tar {
        "tar" => Some(Compression::None),
        "tar+gzip" | "tar.gzip" => Some(Compression::Gzip),
        "tar+zstd" | "tar.zstd" => Some(Compression::Zstd),
        _ => None,
    }
}

impl Layer {
    fn read(
        &mut self,
        source: &dyn Source,
        descriptor: &Descriptor,
        diff_id: Option<Sha256Digest>,
        budget: &mut Budget,
        wanted: impl Fn(&Item) -> bool,
    ) -> Result<(), Problem> {
        let Some(compression) = compression(descriptor) else {
            return Err(Problem::MediaType(descriptor.media_type().to_string()));
        };
        let expected = digest_of(descriptor)?;
        // One byte more than it should have, to notice if there is one.
        let bytes = source.open(descriptor, 0)?.take(descriptor.size().saturating_add(1));
        let mut blob = HashingReader::new(bytes);
        let unpacked = self.unpack(&mut blob, compression, budget, wanted);
        let rest = io::copy(&mut blob, &mut io::sink());
        rest.map_err(StoreError::read(expected.to_string()))?;
        let size = blob.byte_count();
        let actual = blob.finish().1;
        // Whatever else is wrong with damaged bytes follows from that.
        if actual != expected || size != descriptor.size() {
            self.items.clear();
            self.kept.clear();
            return Err(Problem::Digest { actual, size });
        }
        let tar = unpacked?;
        self.tar = Some(tar);
        match diff_id {
            Some(expected) if tar.diff_id != expected => {
                Err(Problem::DiffId { expected, actual: tar.diff_id })
            }
            _ => Ok(()),
        }
    }

    fn unpack(
        &mut self,
        blob: impl Read,
        compression: Compression,
        budget: &mut Budget,
        wanted: impl Fn(&Item) -> bool,
    ) -> Result<LayerTar, Problem> {
        let unpack_error = |error: io::Error| Problem::Unpack(error.to_string());
        let mut blob = BufReader::with_capacity(PIECE, blob);
        check_magic(&mut blob, compression)?;
        let unpacked: Box<dyn Read + '_> = match compression {
            Compression::None => Box::new(blob),
            Compression::Gzip => Box::new(MultiGzDecoder::new(blob)),
            Compression::Zstd => Box::new(zstd::Decoder::with_buffer(blob).map_err(unpack_error)?),
        };
        let mut tar = HashingReader::new(unpacked.take(budget.bytes));
        let walked = tar_walk::walk(BufReader::with_capacity(PIECE, &mut tar), |item, contents| {
            self.take(item, contents, budget, &wanted)
        });
        let drained = io::copy(&mut tar, &mut io::sink());
        if tar.byte_count() == budget.bytes {
            return Err(Problem::TooMuch(format!(
                "unpacked, all layers have more than {} GiB",
                MAX_UNPACKED >> 30
            )));
        }
        budget.bytes -= tar.byte_count();
        walked?;
        drained.map_err(unpack_error)?;
        Ok(LayerTar { size: tar.byte_count(), diff_id: tar.finish().1 })
    }

    fn take(
        &mut self,
        item: Item,
        contents: &mut dyn Read,
        budget: &mut Budget,
        wanted: impl Fn(&Item) -> bool,
    ) -> Result<(), Problem> {
        let link = match &item.kind {
            ItemKind::Symlink(target) | ItemKind::HardLink(target) => target.len(),
            _ => 0,
        };
        budget.take_entry(item.path.len() + link)?;
        if let ItemKind::File(size) = item.kind {
            if size > MAX_FILE {
                let message =
                    format!("{} has {size} bytes, and the limit is {} GiB", item.path, MAX_FILE >> 30);
                return Err(Problem::TooMuch(message));
            }
            if wanted(&item) {
                // Those before it are not held any longer, however many there are.
                let path = tree::normal(&item.path).unwrap_or_default();
                self.kept.remove(&path);
                self.kept.insert(path, (item.number, keep(contents)?));
            }
        }
        self.items.push(item);
        Ok(())
    }
}

impl From<TarError> for Problem {
    fn from(error: TarError) -> Self {
        match error {
            TarError::Io(error) => Problem::Unpack(error.to_string()),
            TarError::Refused(reason) => Problem::TooMuch(reason),
        }
    }
}

fn keep(contents: &mut dyn Read) -> Result<Spool, Problem> {
    let mut file = SpooledTempFile::new(IN_MEMORY);
    let (mut piece, mut size) = (vec![0; PIECE], 0);
    loop {
        let n = match contents.read(&mut piece) {
            Ok(0) => return Ok(Spool::new(file, size)),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Problem::Unpack(error.to_string())),
        };
        // The layer may be whole, and the disk full.
        file.write_all(&piece[..n]).map_err(|source| Problem::Spool { dir: std::env::temp_dir(), source })?;
        size += n as u64;
    }
}

/// Engines go by the media type or by the first bytes; where the two differ, they come to different results.
fn check_magic(blob: &mut impl BufRead, stated: Compression) -> Result<(), Problem> {
    let beginning = blob.fill_buf().map_err(|error| Problem::Unpack(error.to_string()))?;
    let actual = match beginning {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
        _ => Compression::None,
    };
    if actual == stated {
        return Ok(());
    }
    Err(Problem::Unpack(format!("its media type says compression {stated}, its first bytes say {actual}")))
}
