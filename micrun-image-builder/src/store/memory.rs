//! Images in memory, for tests and for what never needs a file.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use micrun_image_spec::digest::Sha256Digest;
use oci_spec::image::Descriptor;

use super::{Data, Sink, Source, StoreError, digest_of};

/// A repository in memory: one image, what refers to it, and other tags. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore(Arc<Mutex<Contents>>);

#[derive(Debug, Default)]
struct Contents {
    root: Option<Descriptor>,
    blobs: BTreeMap<Sha256Digest, Arc<[u8]>>,
    referrers: BTreeMap<Sha256Digest, Vec<Descriptor>>,
    tags: BTreeMap<String, Descriptor>,
}

impl MemoryStore {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Every change is one insertion: a thread that panicked in between has left nothing half done.
    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn insert(&self, descriptor: &Descriptor, bytes: &[u8]) -> Result<(), StoreError> {
        let (expected, actual, size) = (digest_of(descriptor)?, Sha256Digest::of(bytes), bytes.len() as u64);
        if actual != expected || size != descriptor.size() {
            return Err(StoreError::Corrupt { expected, actual, size });
        }
        self.contents().blobs.insert(expected, bytes.into());
        Ok(())
    }
}

impl Source for MemoryStore {
    fn resolve(&self) -> Result<Descriptor, StoreError> {
        let root = self.contents().root.clone();
        root.ok_or_else(|| StoreError::NotFound("no image was put into this memory".to_owned()))
    }

    fn open(&self, descriptor: &Descriptor, offset: u64) -> Result<Box<dyn Read + Send + '_>, StoreError> {
        let digest = digest_of(descriptor)?;
        let bytes = self.contents().blobs.get(&digest).cloned();
        let bytes = bytes.ok_or_else(|| StoreError::NotFound(format!("{digest} is not in this memory")))?;
        let mut cursor = Cursor::new(bytes);
        cursor.set_position(offset);
        Ok(Box::new(cursor))
    }

    fn referrers(&self, subject: Sha256Digest) -> Result<Vec<Descriptor>, StoreError> {
        Ok(self.contents().referrers.get(&subject).cloned().unwrap_or_default())
    }

    fn tag(&self, tag: &str) -> Result<Option<Descriptor>, StoreError> {
        Ok(self.contents().tags.get(tag).cloned())
    }
}

impl Sink for MemoryStore {
    fn has_blob(&mut self, blob: &Descriptor) -> Result<bool, StoreError> {
        let digest = digest_of(blob)?;
        Ok(self.contents().blobs.contains_key(&digest))
    }

    fn put_blob(&mut self, blob: &Descriptor, data: &dyn Data) -> Result<(), StoreError> {
        let mut bytes = Vec::new();
        data.open(0)?.read_to_end(&mut bytes).map_err(StoreError::read(blob.digest().to_string()))?;
        self.insert(blob, &bytes)
    }

    fn put_document(&mut self, descriptor: &Descriptor, document: &[u8]) -> Result<(), StoreError> {
        self.insert(descriptor, document)
    }

    fn put_referrer(
        &mut self,
        subject: Sha256Digest,
        descriptor: &Descriptor,
        document: &[u8],
    ) -> Result<(), StoreError> {
        self.insert(descriptor, document)?;
        let mut contents = self.contents();
        let referrers = contents.referrers.entry(subject).or_default();
        if !referrers.iter().any(|there| there.digest() == descriptor.digest()) {
            referrers.push(descriptor.clone());
        }
        Ok(())
    }

    fn put_tag(&mut self, tag: &str, descriptor: &Descriptor, document: &[u8]) -> Result<(), StoreError> {
        self.insert(descriptor, document)?;
        self.contents().tags.insert(tag.to_owned(), descriptor.clone());
        Ok(())
    }

    fn finish(self: Box<Self>, root: &Descriptor, document: &[u8]) -> Result<(), StoreError> {
        self.insert(root, document)?;
        self.contents().root = Some(root.clone());
        Ok(())
    }
}
