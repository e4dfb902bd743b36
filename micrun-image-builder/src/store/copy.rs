//! Copies an image from one place to another.

use std::io::{self, Read};

use micrun_image_spec::digest::{HashingReader, Sha256Digest};
use oci_spec::image::Descriptor;

use super::graph::Graph;
use super::progress::Progress;
use super::{Data, Sink, Source, StoreError, digest_of};

/// What was copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Blobs that were transferred.
    pub blobs: usize,
    /// Bytes of them.
    pub bytes: u64,
    /// Blobs that were there already.
    pub present: usize,
    /// Manifests that refer to the image and came along.
    pub referrers: usize,
}

/// Copies an image with everything that belongs to it. With `referrers`, what refers to it comes along: signatures, bills
/// of materials, debug information.
///
/// # Errors
/// If either side fails, or bytes are not what their digest says; the name at the new place then stands for what it
/// stood for before.
pub fn copy(
    source: &dyn Source,
    mut sink: Box<dyn Sink + '_>,
    root: &Descriptor,
    referrers: bool,
    progress: &dyn Progress,
) -> Result<Copied, StoreError> {
    let mut copied = Copied::default();
    let image = copy_below(source, sink.as_mut(), root, referrers, progress, &mut copied)?;
    sink.finish(root, image.root_document())?;
    Ok(copied)
}

/// Copies everything of an image but its root.
pub(crate) fn copy_below(
    source: &dyn Source,
    sink: &mut dyn Sink,
    root: &Descriptor,
    referrers: bool,
    progress: &dyn Progress,
    copied: &mut Copied,
) -> Result<Graph, StoreError> {
    let image = Graph::walk(source, root)?;
    transfer(source, sink, &image.blobs, progress, copied)?;
    let (below, _) = image.documents.split_at(image.documents.len().saturating_sub(1));
    for (descriptor, document) in below {
        sink.put_document(descriptor, document)?;
    }
    if referrers {
        for (descriptor, _) in &image.documents {
            copy_referrers(source, sink, digest_of(descriptor)?, progress, copied)?;
        }
    }
    Ok(image)
}

fn copy_referrers(
    source: &dyn Source,
    sink: &mut dyn Sink,
    subject: Sha256Digest,
    progress: &dyn Progress,
    copied: &mut Copied,
) -> Result<(), StoreError> {
    for referrer in source.referrers(subject)? {
        let graph = Graph::walk(source, &referrer)?;
        transfer(source, sink, &graph.blobs, progress, copied)?;
        sink.put_referrer(subject, &referrer, graph.root_document())?;
        copied.referrers += 1;
    }
    Ok(())
}

fn transfer(
    source: &dyn Source,
    sink: &mut dyn Sink,
    blobs: &[Descriptor],
    progress: &dyn Progress,
    copied: &mut Copied,
) -> Result<(), StoreError> {
    for blob in blobs {
        if sink.has_blob(blob)? {
            copied.present += 1;
            continue;
        }
        progress.begin(&digest_of(blob)?.to_string(), blob.size());
        sink.put_blob(blob, &BlobOf { source, blob, progress })?;
        progress.end();
        copied.blobs += 1;
        copied.bytes += blob.size();
    }
    Ok(())
}

/// A blob where it lies, with somebody who counts what is read of it.
struct BlobOf<'a> {
    source: &'a dyn Source,
    blob: &'a Descriptor,
    progress: &'a dyn Progress,
}

impl Data for BlobOf<'_> {
    fn open(&self, offset: u64) -> Result<Box<dyn Read + Send + '_>, StoreError> {
        Ok(Box::new(Counted { inner: self.source.open(self.blob, offset)?, progress: self.progress }))
    }
}

struct Counted<'a> {
    inner: Box<dyn Read + Send + 'a>,
    progress: &'a dyn Progress,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.progress.advance(n as u64);
        Ok(n)
    }
}

/// Copies a blob into a file and compares its digest.
pub(super) fn copy_verified(
    blob: &Descriptor,
    data: &dyn Data,
    output: &mut dyn io::Write,
    what: &str,
) -> Result<(), StoreError> {
    let expected = digest_of(blob)?;
    // One byte more than it should have, to notice if there is one.
    let mut reader = HashingReader::new(data.open(0)?.take(blob.size().saturating_add(1)));
    io::copy(&mut reader, output).map_err(StoreError::write(what))?;
    let size = reader.byte_count();
    match reader.finish().1 {
        actual if actual == expected && size == blob.size() => Ok(()),
        actual => Err(StoreError::Corrupt { expected, actual, size }),
    }
}
