//! An OCI layout as a directory: what skopeo and umoci call `oci:`.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use micrun_image_spec::digest::{HashingReader, Sha256Digest};
use oci_spec::image::Descriptor;
use tempfile::TempDir;

use super::layout::{
    BLOBS, BySubject, INDEX_FILE, ImageName, LayoutIndex, OCI_LAYOUT, OCI_LAYOUT_FILE, referrers_of,
};
use super::{Data, MAX_DOCUMENT, Sink, Source, StoreError, copy_verified, digest_of, garbage, place};

/// Our temporary directories; one that is left over from a killed process does no harm.
const TEMPORARY: &str = ".micrun-image-";

/// Reads images out of an OCI layout.
#[derive(Debug)]
pub struct DirectorySource {
    dir: PathBuf,
    tag: Option<String>,
    referrers: OnceLock<BySubject>,
}

impl DirectorySource {
    /// Looks for a layout.
    ///
    /// # Errors
    /// If there is none.
    pub fn open(dir: &Path, tag: Option<String>) -> Result<Self, StoreError> {
        let source = DirectorySource { dir: dir.to_owned(), tag, referrers: OnceLock::new() };
        source.index()?;
        Ok(source)
    }

    fn what(&self) -> String {
        format!("the OCI layout {}", self.dir.display())
    }

    fn blob(&self, digest: Sha256Digest) -> PathBuf {
        self.dir.join(BLOBS).join(digest.hex())
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
        let path = self.blob(digest);
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
        referrers_of(self, subject, &self.referrers, || self.index(), |digest| self.blob(digest).exists())
    }
}

/// Puts an image into an OCI layout, beside those that are there. One of the same tag is replaced.
///
/// Everything is written into a temporary directory first, and blobs that are there already get a second name in it:
/// whoever else writes to the layout may find that nobody needs them. Blobs have the names of their contents, so that the
/// old image stays whole until the new index takes the place of the old one. Only then writers wait for each other.
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
        StoreError::write(self.what())
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
        let (there, here) = (self.dir.join(BLOBS).join(digest.hex()), self.new_blob(digest));
        if here.exists() {
            return Ok(true);
        }
        let Ok(mut file) = File::open(&there) else { return Ok(false) };
        let mut hasher = HashingReader::new(&mut file);
        // A blob that cannot be read is as good as none, and one that cannot be kept may be gone in a moment.
        let whole = io::copy(&mut hasher, &mut io::sink()).is_ok();
        Ok(whole && hasher.finish().1 == digest && fs::hard_link(&there, &here).is_ok())
    }

    fn put_blob(&mut self, blob: &Descriptor, data: &dyn Data) -> Result<(), StoreError> {
        let path = self.new_blob(digest_of(blob)?);
        let copied = create(&path)
            .map_err(self.failed())
            .and_then(|mut file| copy_verified(blob, data, &mut file, &self.what()));
        if copied.is_err() {
            // What is half there must not be taken for whole; if it stays, the sink is of no use anyway.
            let _ = fs::remove_file(path);
        }
        copied
    }

    fn put_document(&mut self, descriptor: &Descriptor, document: &[u8]) -> Result<(), StoreError> {
        let file = create(&self.new_blob(digest_of(descriptor)?));
        file.and_then(|mut file| file.write_all(document)).map_err(self.failed())
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
        if fs::exists(&self.dir).map_err(self.failed())? { self.add(root) } else { self.appear(root) }
    }
}

impl DirectorySink {
    /// Makes a new layout, all at once.
    fn appear(&self, root: &Descriptor) -> Result<(), StoreError> {
        let new = self.work.path().join("new");
        let mut index = LayoutIndex::new();
        index.put(root, &self.name, &self.what())?;
        self.write_index(&mut index)?;
        fs::write(new.join(OCI_LAYOUT_FILE), OCI_LAYOUT).map_err(self.failed())?;
        match fs::rename(new, &self.dir) {
            // Somebody was faster.
            Err(_) if self.dir.is_dir() => self.add(root),
            result => result.map_err(self.failed()),
        }
    }

    /// Adds to a layout: first the blobs, then the index, and then what is not needed any more goes.
    fn add(&self, root: &Descriptor) -> Result<(), StoreError> {
        let _alone = lock(&self.dir).map_err(self.failed())?;
        let source = DirectorySource { dir: self.dir.clone(), tag: None, referrers: OnceLock::new() };
        let is_new = !fs::exists(self.dir.join(INDEX_FILE)).map_err(self.failed())?;
        let mut index = if is_new { LayoutIndex::new() } else { source.index()? };
        let mut replaced = index.put(root, &self.name, &self.what())?;
        replaced.retain(|old| old.digest() != root.digest());
        self.move_blobs().map_err(self.failed())?;
        garbage::drop_orphans(&mut index, &mut replaced, &source);
        index.forget_missing(|digest| source.blob(digest).exists());
        self.write_index(&mut index)?;
        let new = self.work.path().join("new").join(INDEX_FILE);
        fs::rename(new, self.dir.join(INDEX_FILE)).map_err(self.failed())?;
        garbage::remove_unused(&self.dir, &source, &index, &replaced);
        Ok(())
    }

    fn move_blobs(&self) -> io::Result<()> {
        let (new, blobs) = (self.work.path().join("new").join(BLOBS), self.dir.join(BLOBS));
        fs::create_dir_all(&blobs)?;
        for entry in fs::read_dir(&new)? {
            let name = entry?.file_name();
            fs::rename(new.join(&name), blobs.join(&name))?;
        }
        Ok(())
    }

    fn write_index(&self, index: &mut LayoutIndex) -> Result<(), StoreError> {
        for referrer in &self.referrers {
            index.put_referrer(referrer)?;
        }
        let path = self.work.path().join("new").join(INDEX_FILE);
        fs::write(path, index.to_bytes()).map_err(self.failed())
    }

    fn what(&self) -> String {
        format!("the OCI layout {}", self.dir.display())
    }
}

/// A new file in the place of whatever is there: that may be another name of a blob.
fn create(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => File::create_new(path),
    }
}

/// Waits until no other writer changes the layout, and keeps them waiting until the file is closed. Where there are no
/// locks, as in some network file systems, two at the same moment may lose one of their images.
fn lock(dir: &Path) -> io::Result<File> {
    let path = dir.join(OCI_LAYOUT_FILE);
    let file = File::options().append(true).create(true).open(&path);
    let mut file = match file {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => File::open(&path)?,
        file => file?,
    };
    let _ = file.lock();
    if file.metadata()?.len() == 0 {
        file.write_all(OCI_LAYOUT)?;
    }
    Ok(file)
}
