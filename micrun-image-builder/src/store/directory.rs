//! An OCI layout as a directory: what skopeo and umoci call `oci:`.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use micrun_image_spec::digest::{HashingReader, Sha256Digest};
use oci_spec::image::Descriptor;
use tempfile::TempDir;

use super::layout::{BLOBS, INDEX_FILE, ImageName, LayoutIndex, OCI_LAYOUT, OCI_LAYOUT_FILE, subject_of};
use super::{
    Data, MAX_DOCUMENT, Sink, Source, StoreError, copy_verified, digest_of, graph, place, read_document,
};

/// Our temporary directories; one that is left over from a killed process does no harm.
const TEMPORARY: &str = ".micrun-image-";

/// Reads images out of an OCI layout.
#[derive(Debug)]
pub struct DirectorySource {
    dir: PathBuf,
    tag: Option<String>,
}

impl DirectorySource {
    /// Looks for a layout.
    ///
    /// # Errors
    /// If there is none.
    pub fn open(dir: &Path, tag: Option<String>) -> Result<Self, StoreError> {
        let source = DirectorySource { dir: dir.to_owned(), tag };
        source.index()?;
        Ok(source)
    }

    fn what(&self) -> String {
        format!("the OCI layout {}", self.dir.display())
    }

    fn index(&self) -> Result<LayoutIndex, StoreError> {
        let path = self.dir.join(INDEX_FILE);
        let file = File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound if self.dir.is_dir() => StoreError::Malformed {
                what: self.dir.display().to_string(),
                problem: format!("the directory has no {INDEX_FILE}"),
            },
            _ => StoreError::read(self.what())(error),
        })?;
        let mut bytes = Vec::new();
        file.take(MAX_DOCUMENT).read_to_end(&mut bytes).map_err(StoreError::read(self.what()))?;
        LayoutIndex::parse(&bytes, &self.what())
    }
}

impl Source for DirectorySource {
    fn resolve(&self) -> Result<Descriptor, StoreError> {
        self.index()?.choose(self.tag.as_deref(), &self.what())
    }

    fn open(&self, descriptor: &Descriptor, offset: u64) -> Result<Box<dyn Read + Send + '_>, StoreError> {
        let digest = digest_of(descriptor)?;
        let path = self.dir.join(BLOBS).join(digest.hex());
        let mut file = File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                StoreError::Malformed { what: self.what(), problem: format!("it lacks the blob {digest}") }
            }
            _ => StoreError::read(path.display().to_string())(error),
        })?;
        file.seek(SeekFrom::Start(offset)).map_err(StoreError::read(path.display().to_string()))?;
        Ok(Box::new(file))
    }

    fn referrers(&self, subject: Sha256Digest) -> Result<Vec<Descriptor>, StoreError> {
        self.index()?.referrers(subject, |entry| read_document(self, entry))
    }
}

/// Puts an image into an OCI layout, beside those that are there. One of the same tag is replaced.
///
/// Everything is written into a temporary directory first. Blobs have the names of their contents, so that the old image
/// stays whole until the new index takes the place of the old one.
pub struct DirectorySink {
    dir: PathBuf,
    name: ImageName,
    work: TempDir,
    referrers: Vec<Descriptor>,
}

impl DirectorySink {
    /// Makes ready to write. The directory may be missing, be empty, or be an OCI layout.
    ///
    /// # Errors
    /// If it holds something else, or cannot be written.
    pub fn create(dir: &Path, name: ImageName) -> Result<Self, StoreError> {
        let failed = || StoreError::write(format!("the OCI layout {}", dir.display()));
        let parent = if fs::exists(dir).map_err(failed())? {
            check_layout(dir)?;
            dir
        } else if place::parent_of(dir).is_dir() {
            place::parent_of(dir)
        } else {
            return Err(failed()(io::Error::other("its parent directory does not exist; make it first")));
        };
        let work = tempfile::Builder::new().prefix(TEMPORARY).tempdir_in(parent);
        let work = work.map_err(place::without_temporary_name).map_err(failed())?;
        fs::create_dir_all(work.path().join("new").join(BLOBS)).map_err(failed())?;
        Ok(DirectorySink { dir: dir.to_owned(), name, work, referrers: Vec::new() })
    }

    fn new_blob(&self, digest: Sha256Digest) -> PathBuf {
        self.work.path().join("new").join(BLOBS).join(digest.hex())
    }

    fn failed(&self) -> impl FnOnce(io::Error) -> StoreError + use<> {
        StoreError::write(format!("the OCI layout {}", self.dir.display()))
    }
}

/// An empty directory may be filled, and an OCI layout be added to.
fn check_layout(dir: &Path) -> Result<(), StoreError> {
    let failed = || StoreError::read(format!("the OCI layout {}", dir.display()));
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed())? {
        names.push(entry.map_err(failed())?.file_name());
    }
    names.retain(|name| !name.to_string_lossy().starts_with(TEMPORARY));
    if names.is_empty() || names.iter().any(|name| name == OCI_LAYOUT_FILE) {
        return Ok(());
    }
    Err(StoreError::InTheWay(format!(
        "{} is not empty and not an OCI image layout: give another directory, or empty this one",
        dir.display()
    )))
}

impl Sink for DirectorySink {
    fn has_blob(&mut self, blob: &Descriptor) -> Result<bool, StoreError> {
        let digest = digest_of(blob)?;
        let Ok(mut file) = File::open(self.dir.join(BLOBS).join(digest.hex())) else { return Ok(false) };
        let mut hasher = HashingReader::new(&mut file);
        // A blob that cannot be read is as good as none.
        let whole = io::copy(&mut hasher, &mut io::sink()).is_ok();
        Ok(whole && hasher.finish().1 == digest)
    }

    fn put_blob(&mut self, blob: &Descriptor, data: &dyn Data) -> Result<(), StoreError> {
        let mut file = File::create(self.new_blob(digest_of(blob)?)).map_err(self.failed())?;
        copy_verified(blob, data, &mut file, &format!("the OCI layout {}", self.dir.display()))
    }

    fn put_document(&mut self, descriptor: &Descriptor, document: &[u8]) -> Result<(), StoreError> {
        fs::write(self.new_blob(digest_of(descriptor)?), document).map_err(self.failed())
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
        self.put_document(root, document)?;
        let new = self.work.path().join("new");
        let old = match DirectorySource::open(&self.dir, None) {
            Ok(source) => Some(source),
            Err(_) if !self.dir.join(INDEX_FILE).exists() => None,
            Err(error) => return Err(error),
        };
        let mut index = old.as_ref().map_or(Ok(LayoutIndex::new()), DirectorySource::index)?;
        let mut replaced = index.put(root, &self.name)?;
        replaced.retain(|old| old.digest() != root.digest());
        if let Some(old) = &old {
            drop_orphans(&mut index, &mut replaced, old);
        }
        for referrer in &self.referrers {
            index.put_referrer(referrer)?;
        }
        fs::write(new.join(INDEX_FILE), index.to_bytes()).map_err(self.failed())?;
        fs::write(new.join(OCI_LAYOUT_FILE), OCI_LAYOUT).map_err(self.failed())?;
        if !fs::exists(&self.dir).map_err(self.failed())? {
            return fs::rename(&new, &self.dir).map_err(self.failed());
        }
        merge(&self.dir, &new).map_err(self.failed())?;
        if let Some(source) = old {
            remove_unused(&source, &index, &replaced);
        }
        Ok(())
    }
}

/// What referred to an image that is replaced has nothing to refer to any more.
fn drop_orphans(index: &mut LayoutIndex, replaced: &mut Vec<Descriptor>, source: &DirectorySource) {
    let gone: BTreeSet<Sha256Digest> = replaced.iter().filter_map(|old| digest_of(old).ok()).collect();
    let refers = |entry: &Descriptor| {
        let document = read_document(source, entry).ok();
        document.and_then(|document| subject_of(&document)).is_some_and(|subject| gone.contains(&subject))
    };
    let orphans: Vec<Descriptor> = index.entries().into_iter().filter(|entry| refers(entry)).collect();
    index.remove(|entry| orphans.iter().any(|orphan| orphan.digest() == entry.digest()));
    replaced.extend(orphans);
}

/// Moves a new layout's files into a directory, the index last.
fn merge(dir: &Path, new: &Path) -> io::Result<()> {
    fs::create_dir_all(dir.join(BLOBS))?;
    for entry in fs::read_dir(new.join(BLOBS))? {
        let name = entry?.file_name();
        fs::rename(new.join(BLOBS).join(&name), dir.join(BLOBS).join(&name))?;
    }
    fs::rename(new.join(OCI_LAYOUT_FILE), dir.join(OCI_LAYOUT_FILE))?;
    fs::rename(new.join(INDEX_FILE), dir.join(INDEX_FILE))
}

/// Removes the blobs that only the replaced images had. Where another image cannot be followed, nothing is removed: it
/// may need anything.
fn remove_unused(source: &DirectorySource, index: &LayoutIndex, replaced: &[Descriptor]) {
    let blobs_of = |roots: &[Descriptor]| -> Result<BTreeSet<Sha256Digest>, StoreError> {
        roots
            .iter()
            .map(|root| graph::digests(source, root))
            .collect::<Result<Vec<_>, _>>()
            .map(|sets| sets.into_iter().flatten().collect())
    };
    if let (Ok(old), Ok(used)) = (blobs_of(replaced), blobs_of(&index.entries())) {
        for digest in old.difference(&used) {
            // It does no harm if it stays.
            let _ = fs::remove_file(source.dir.join(BLOBS).join(digest.hex()));
        }
    }
}
