//! An OCI layout as one tar file: what skopeo calls `oci-archive:` and what `ctr image import` reads.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use std::sync::OnceLock;

use micrun_image_spec::digest::Sha256Digest;
use oci_spec::image::Descriptor;

use super::copy::Incoming;
use super::layout::{
    BLOBS, BySubject, INDEX_FILE, ImageName, LayoutIndex, OCI_LAYOUT, OCI_LAYOUT_FILE, referrers_of,
};
use super::place::NewFile;
use super::{Data, MAX_DOCUMENT, Sink, Source, StoreError, digest_of};
use crate::image::Epoch;
use crate::source::{self, ReadAt, RegularFile};

/// Files in an archive that are remembered; an image has some dozens.
const MAX_ENTRIES: usize = 100_000;

/// Reads images out of an OCI archive, without unpacking it.
pub struct ArchiveSource {
    file: Box<dyn ReadAt>,
    /// What the archive is called in errors.
    what: String,
    /// Where the files lie: names and ranges.
    entries: BTreeMap<String, (u64, u64)>,
    tag: Option<String>,
    referrers: OnceLock<BySubject>,
}

impl ArchiveSource {
    /// Opens an archive file.
    ///
    /// # Errors
    /// If it cannot be read, or is no OCI archive.
    pub fn open(path: &Path, tag: Option<String>) -> Result<Self, StoreError> {
        let file = RegularFile::open(path).map_err(StoreError::read(path.display().to_string()))?;
        Self::read(Box::new(file), path.display().to_string(), tag)
    }

    /// Looks through the archive once for where its files lie. `name` is what errors call it.
    ///
    /// # Errors
    /// If it is no OCI archive.
    pub fn read(file: Box<dyn ReadAt>, name: String, tag: Option<String>) -> Result<Self, StoreError> {
        let entries = match entries(file.as_ref()) {
            Ok(entries) => entries,
            Err(error) => {
                let problem = explain(file.as_ref(), &error);
                return Err(StoreError::Malformed { what: name, problem });
            }
        };
        if entries.contains_key(INDEX_FILE) {
            return Ok(ArchiveSource {
                file,
                what: format!("the archive {name}"),
                entries,
                tag,
                referrers: OnceLock::new(),
            });
        }
        let problem = if entries.contains_key("manifest.json") {
            "it is a docker-archive; convert it with: skopeo copy docker-archive:FILE oci-archive:NEW"
        } else {
            "the archive has no index.json"
        };
        Err(StoreError::Malformed { what: name, problem: problem.to_owned() })
    }

    fn index(&self) -> Result<LayoutIndex, StoreError> {
        let (at, size) = self.entries.get(INDEX_FILE).copied().unwrap_or_default();
        let bytes = source::bytes(self.file.as_ref(), at, size.min(MAX_DOCUMENT));
        LayoutIndex::parse(&bytes.map_err(StoreError::read(self.what.clone()))?, &self.what)
    }
}

/// The regular files of an archive and where they lie. Extended headers are taken as they come: the names that matter
/// here are short.
fn entries(file: &dyn ReadAt) -> io::Result<BTreeMap<String, (u64, u64)>> {
    let mut archive = tar::Archive::new(source::reader(file, 0..file.size()));
    let mut entries = BTreeMap::new();
    for entry in archive.entries_with_seek()?.raw(true) {
        let entry = entry?;
        if entry.header().entry_type().is_file() {
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let name = name.trim_start_matches("./").to_owned();
            entries.insert(name, (entry.raw_file_position(), entry.size()));
        }
        if entries.len() > MAX_ENTRIES {
            return Err(io::Error::other(format!("it has more than {MAX_ENTRIES} files")));
        }
    }
    Ok(entries)
}

/// What the file is instead of a tar.
fn explain(file: &dyn ReadAt, error: &io::Error) -> String {
    match source::bytes(file, 0, 4).unwrap_or_default().as_slice() {
        [0x1f, 0x8b, ..] => "it is compressed with gzip: unpack it first (gunzip)".to_owned(),
        [0x28, 0xb5, 0x2f, 0xfd] => "it is compressed with zstd: unpack it first (zstd -d)".to_owned(),
        b"\x7fELF" => "it is an ELF file".to_owned(),
        _ => format!("it cannot be read as a tar: {error}"),
    }
}

impl Source for ArchiveSource {
    fn resolve(&self) -> Result<Descriptor, StoreError> {
        self.index()?.choose(self.tag.as_deref(), &self.what)
    }

    fn open(&self, descriptor: &Descriptor, offset: u64) -> Result<Box<dyn Read + Send + '_>, StoreError> {
        let digest = digest_of(descriptor)?;
        match self.entries.get(&format!("{BLOBS}/{}", digest.hex())) {
            Some(&(at, size)) => {
                let range = source::clamp(self.file.as_ref(), at, size);
                let start = range.start.saturating_add(offset).min(range.end);
                Ok(Box::new(source::reader(self.file.as_ref(), start..range.end)))
            }
            None => Err(StoreError::Malformed {
                what: self.what.clone(),
                problem: format!("it lacks the blob {digest}"),
            }),
        }
    }

    fn referrers(&self, subject: Sha256Digest) -> Result<Vec<Descriptor>, StoreError> {
        let is_there = |digest: Sha256Digest| self.entries.contains_key(&format!("{BLOBS}/{}", digest.hex()));
        referrers_of(self, subject, &self.referrers, || self.index(), is_there)
    }
}

/// Puts an image into an archive of its own: blobs in the order in which they come, then documents by digest, then the
/// index. Owners, modes and times are fixed.
pub struct ArchiveSink {
    tar: tar::Builder<BufWriter<Output>>,
    what: String,
    name: ImageName,
    mtime: u64,
    blobs: BTreeSet<Sha256Digest>,
    documents: BTreeMap<Sha256Digest, Vec<u8>>,
    referrers: Vec<Descriptor>,
}

enum Output {
    File(NewFile),
    Stdout(io::Stdout),
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Output::File(file) => file.write(bytes),
            Output::Stdout(stdout) => stdout.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Output::File(file) => file.flush(),
            Output::Stdout(stdout) => stdout.flush(),
        }
    }
}

impl ArchiveSink {
    /// Makes ready to write a file, which appears when it is whole.
    ///
    /// # Errors
    /// If there is no such directory, or it cannot be written.
    pub fn create(path: &Path, name: ImageName, epoch: Epoch) -> Result<Self, StoreError> {
        let what = format!("the image {}", path.display());
        let file = NewFile::create(path).map_err(StoreError::write(what.clone()))?;
        Ok(Self::new(Output::File(file), what, name, epoch))
    }

    /// Writes to standard output.
    pub fn stdout(name: ImageName, epoch: Epoch) -> Self {
        Self::new(Output::Stdout(io::stdout()), "the image to standard output".to_owned(), name, epoch)
    }

    fn new(output: Output, what: String, name: ImageName, epoch: Epoch) -> Self {
        let tar = tar::Builder::new(BufWriter::with_capacity(64 << 10, output));
        let (blobs, documents, referrers) = (BTreeSet::new(), BTreeMap::new(), Vec::new());
        ArchiveSink { tar, what, name, mtime: epoch.seconds(), blobs, documents, referrers }
    }

    fn append(&mut self, path: &str, size: u64, data: impl Read) -> io::Result<()> {
        append(&mut self.tar, path, 0o644, self.mtime, size, data)
    }

    fn write_documents(&mut self, index: &LayoutIndex) -> io::Result<()> {
        for (digest, document) in std::mem::take(&mut self.documents) {
            self.append(&format!("{BLOBS}/{}", digest.hex()), document.len() as u64, &document[..])?;
        }
        let index = index.to_bytes();
        self.append(INDEX_FILE, index.len() as u64, &index[..])?;
        self.append(OCI_LAYOUT_FILE, OCI_LAYOUT.len() as u64, OCI_LAYOUT)
    }
}

impl Sink for ArchiveSink {
    /// What several manifests share, such as the empty configuration, is written once.
    fn has_blob(&mut self, blob: &Descriptor) -> Result<bool, StoreError> {
        Ok(self.blobs.contains(&digest_of(blob)?))
    }

    fn put_blob(&mut self, blob: &Descriptor, data: &dyn Data) -> Result<(), StoreError> {
        let digest = digest_of(blob)?;
        self.blobs.insert(digest);
        let mut incoming = Incoming::open(blob, data)?;
        let path = format!("{BLOBS}/{}", digest.hex());
        let appended = self.append(&path, blob.size(), &mut incoming);
        incoming.finish(appended, &self.what)
    }

    fn put_document(&mut self, descriptor: &Descriptor, document: &[u8]) -> Result<(), StoreError> {
        self.documents.insert(digest_of(descriptor)?, document.to_vec());
        Ok(())
    }

    fn put_referrer(
        &mut self,
        _subject: Sha256Digest,
        descriptor: &Descriptor,
        document: &[u8],
    ) -> Result<(), StoreError> {
        self.put_document(descriptor, document)?;
        self.referrers.push(descriptor.clone());
        Ok(())
    }

    fn finish(mut self: Box<Self>, root: &Descriptor, document: &[u8]) -> Result<(), StoreError> {
        let failed = StoreError::write(self.what.clone());
        self.put_document(root, document)?;
        let mut index = LayoutIndex::new();
        index.put(root, &self.name, &self.what)?;
        for referrer in &self.referrers {
            index.put_referrer(referrer)?;
        }
        let close = |mut sink: Self| {
            sink.write_documents(&index)?;
            match sink.tar.into_inner()?.into_inner().map_err(io::IntoInnerError::into_error)? {
                Output::File(file) => file.persist(),
                Output::Stdout(mut stdout) => stdout.flush(),
            }
        };
        close(*self).map_err(failed)
    }
}

/// Adds a regular file of root's. Every field of the header is set here; nothing comes from the machine. Data of another
/// length than `size` is an error.
pub(crate) fn append<W: Write>(
    tar: &mut tar::Builder<W>,
    path: &str,
    mode: u32,
    mtime: u64,
    size: u64,
    mut data: impl Read,
) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(size);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(mtime);
    let mut counted = CountingReader { inner: data.by_ref().take(size), bytes: 0 };
    tar.append_data(&mut header, path, &mut counted)?;
    if counted.bytes == size {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::UnexpectedEof,
        format!("{path} should have {size} bytes and has {}", counted.bytes),
    ))
}

struct CountingReader<R> {
    inner: R,
    bytes: u64,
}

impl<R: Read> Read for CountingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.bytes += n as u64;
        Ok(n)
    }
}
