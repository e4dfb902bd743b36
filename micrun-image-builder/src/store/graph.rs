//! An image as a whole: its root, the documents below, and the blobs that they name.

use std::collections::{BTreeMap, BTreeSet};

use micrun_image_spec::digest::Sha256Digest;
use oci_spec::image::Descriptor;
use serde_json::Value;

use super::{Source, StoreError, digest_of, is_document, read_document};

/// Documents of one image that are followed: an index has some dozens of entries.
const MAX_DOCUMENTS: usize = 10_000;
/// Indexes within indexes.
const MAX_DEPTH: usize = 8;

/// Bytes of all documents together: all are in memory at the same time.
const MAX_BYTES: u64 = 64 << 20;

/// Everything that belongs to an image.
#[derive(Debug)]
pub struct Graph {
    /// The image's index or manifest.
    pub root: Descriptor,
    /// All documents, the root among them; what a document names comes before it.
    pub documents: Vec<(Descriptor, Vec<u8>)>,
    /// Configurations and layers, sorted by digest, each once.
    pub blobs: Vec<Descriptor>,
}

impl Graph {
    /// Follows an image from its root.
    ///
    /// # Errors
    /// If a document cannot be read, or is no index or manifest.
    pub fn walk(source: &dyn Source, root: &Descriptor) -> Result<Self, StoreError> {
        let mut walk = Walk {
            source,
            documents: Vec::new(),
            blobs: BTreeMap::new(),
            seen: BTreeSet::new(),
            left: MAX_BYTES,
        };
        walk.document(root, 0)?;
        Ok(Graph { root: root.clone(), documents: walk.documents, blobs: walk.blobs.into_values().collect() })
    }

    /// The root's bytes.
    pub fn root_document(&self) -> &[u8] {
        // The root is followed last, so it stands last; a graph is made with one.
        self.documents.last().map_or(&[], |(_, document)| document)
    }
}

/// The digests of all that belongs to an image.
pub(super) fn digests(source: &dyn Source, root: &Descriptor) -> Result<Vec<Sha256Digest>, StoreError> {
    let graph = Graph::walk(source, root)?;
    let documents = graph.documents.iter().map(|(descriptor, _)| descriptor);
    documents.chain(&graph.blobs).map(digest_of).collect()
}

struct Walk<'a> {
    source: &'a dyn Source,
    documents: Vec<(Descriptor, Vec<u8>)>,
    blobs: BTreeMap<Sha256Digest, Descriptor>,
    seen: BTreeSet<Sha256Digest>,
    /// Bytes that may still come.
    left: u64,
}

impl Walk<'_> {
    fn document(&mut self, descriptor: &Descriptor, depth: usize) -> Result<(), StoreError> {
        let digest = digest_of(descriptor)?;
        if !self.seen.insert(digest) {
            return Ok(());
        }
        if depth > MAX_DEPTH || self.seen.len() > MAX_DOCUMENTS {
            return Err(StoreError::Unsupported(format!("an index as deep or as long as {digest}")));
        }
        self.left = self.left.checked_sub(descriptor.size()).ok_or_else(|| {
            StoreError::Unsupported(format!("an image with more than {} MiB of manifests", MAX_BYTES >> 20))
        })?;
        let document = read_document(self.source, descriptor)?;
        for child in children(&document, digest)? {
            if is_document(child.media_type()) {
                self.document(&child, depth + 1)?;
            } else {
                self.blobs.insert(digest_of(&child)?, child);
            }
        }
        self.documents.push((descriptor.clone(), document));
        Ok(())
    }
}

/// What an index or manifest names: manifests, or configuration and layers.
pub(crate) fn children(document: &[u8], digest: Sha256Digest) -> Result<Vec<Descriptor>, StoreError> {
    let malformed = |problem: String| StoreError::Malformed { what: digest.to_string(), problem };
    let document: Value = serde_json::from_slice(document).map_err(|error| malformed(error.to_string()))?;
    let list = |key: &str| document[key].as_array().cloned().unwrap_or_default();
    let named = match document.get("manifests") {
        Some(_) => list("manifests"),
        None => std::iter::once(document["config"].clone()).chain(list("layers")).collect(),
    };
    named
        .into_iter()
        .map(|child| serde_json::from_value(child).map_err(|error| malformed(error.to_string())))
        .collect()
}
