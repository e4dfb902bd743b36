//! Copies an image from one place to another.

use std::io::{self, Read, Write as _};

use micrun_image_spec::digest::{HashingWriter, Sha256Digest};
use oci_spec::image::Descriptor;

use super::graph::Graph;
use super::progress::{Progress, Silent};
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

/// Reads a blob to its end and compares its digest.
///
/// # Errors
/// If it cannot be read, or is not what the descriptor says.
pub fn verify(source: &dyn Source, blob: &Descriptor) -> Result<(), StoreError> {
    let data = BlobOf { source, blob, progress: &Silent };
    copy_verified(blob, &data, &mut io::sink(), "nothing")
}

/// Copies a blob into a file and compares its digest.
pub(super) fn copy_verified(
    blob: &Descriptor,
    data: &dyn Data,
    output: &mut dyn io::Write,
    what: &str,
) -> Result<(), StoreError> {
    let mut incoming = Incoming::open(blob, data)?;
    let copied = io::copy(&mut incoming, output).map(drop);
    incoming.finish(copied, what)
}

/// A blob on its way: hashed, unless that was done before, and with its failures kept apart from those of whoever writes
/// it.
pub(super) struct Incoming<'a> {
    expected: Sha256Digest,
    size: u64,
    reader: io::Take<Box<dyn Read + Send + 'a>>,
    hasher: Option<HashingWriter<io::Sink>>,
    failed: Option<io::Error>,
}

impl<'a> Incoming<'a> {
    pub(super) fn open(blob: &Descriptor, data: &'a dyn Data) -> Result<Self, StoreError> {
        let hasher = (!data.is_proven()).then(|| HashingWriter::new(io::sink()));
        let reader = data.open(0)?.take(blob.size());
        Ok(Incoming { expected: digest_of(blob)?, size: blob.size(), reader, hasher, failed: None })
    }

    /// Judges what has passed. `written` is what became of it, `what` the place.
    pub(super) fn finish(self, written: io::Result<()>, what: &str) -> Result<(), StoreError> {
        if let Some(source) = self.failed {
            return Err(StoreError::Read { what: self.expected.to_string(), source });
        }
        let mut size = self.size - self.reader.limit();
        if size == self.size {
            written.map_err(StoreError::write(what))?;
            // There may be more than there should be.
            let more = self.reader.into_inner().read(&mut [0]);
            size += more.map_err(StoreError::read(self.expected.to_string()))? as u64;
        } else if let Err(error) = written
            && error.kind() != io::ErrorKind::UnexpectedEof
        {
            return Err(StoreError::write(what)(error));
        }
        let actual = self.hasher.map_or(self.expected, |hasher| hasher.finish().1);
        if size == self.size && actual == self.expected {
            return Ok(());
        }
        Err(StoreError::Corrupt { expected: self.expected, actual, size })
    }
}

impl Read for Incoming<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.reader.read(buffer) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                let seen = io::Error::other("the blob could not be read");
                self.failed = Some(error);
                Err(seen)
            }
            Ok(n) => {
                if let Some(hasher) = &mut self.hasher {
                    hasher.write_all(&buffer[..n])?;
                }
                Ok(n)
            }
            interrupted => interrupted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::descriptor;
    use oci_spec::image::MediaType;

    struct Proven(&'static [u8]);

    impl Data for Proven {
        fn open(&self, offset: u64) -> Result<Box<dyn Read + Send + '_>, StoreError> {
            Ok(Box::new(&self.0[offset as usize..]))
        }

        fn is_proven(&self) -> bool {
            true
        }
    }

    #[test]
    fn what_is_proven_still_has_its_length() {
        let blob = descriptor(MediaType::ImageLayer, Sha256Digest::of(b"abc"), 3).unwrap();
        let mut copied = Vec::new();
        copy_verified(&blob, &Proven(b"abc"), &mut copied, "a test").unwrap();
        assert_eq!(copied, b"abc");
        for wrong in [&b"ab"[..], b"abcd"] {
            let error = copy_verified(&blob, &Proven(wrong), &mut io::sink(), "a test").unwrap_err();
            assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
        }
    }
}
