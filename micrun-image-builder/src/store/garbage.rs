//! What nobody needs any more once an image in a layout was replaced. Whatever is not understood is kept.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use micrun_image_spec::digest::Sha256Digest;
use oci_spec::image::Descriptor;

use super::graph::Graph;
use super::layout::{BLOBS, LayoutIndex, subject_of, unnamed};
use super::{Source, StoreError, digest_of, graph, read_document};

/// Takes out of the index what referred to the replaced images alone: it has nothing to refer to any more. Adds it to
/// them.
pub(super) fn drop_orphans(index: &mut LayoutIndex, replaced: &mut Vec<Descriptor>, source: &dyn Source) {
    let refers_to = |entry: &Descriptor| {
        let document = read_document(source, entry).ok().filter(|_| unnamed(entry));
        document.and_then(|document| subject_of(&document))
    };
    let (mut referrers, mut images) = (Vec::new(), Vec::new());
    for entry in index.entries() {
        match refers_to(&entry) {
            Some(subject) => referrers.push((subject, entry)),
            None => images.push(entry),
        }
    }
    let (Ok(mut gone), Ok(used)) = (documents(source, replaced), documents(source, &images)) else { return };
    gone.retain(|digest| !used.contains(digest));
    // What refers to an orphan is one itself.
    loop {
        let is_orphan = |(subject, _): &(Sha256Digest, Descriptor)| gone.contains(subject);
        let (orphans, others) = referrers.into_iter().partition::<Vec<_>, _>(is_orphan);
        if orphans.is_empty() {
            return;
        }
        let orphans: Vec<Descriptor> = orphans.into_iter().map(|(_, orphan)| orphan).collect();
        index
            .remove(|entry| unnamed(entry) && orphans.iter().any(|orphan| orphan.digest() == entry.digest()));
        gone = orphans.iter().filter_map(|orphan| digest_of(orphan).ok()).collect();
        replaced.extend(orphans);
        referrers = others;
    }
}

/// The digests of the indexes and manifests of images.
fn documents(source: &dyn Source, images: &[Descriptor]) -> Result<BTreeSet<Sha256Digest>, StoreError> {
    let mut digests = BTreeSet::new();
    for image in images {
        for (descriptor, _) in Graph::walk(source, image)?.documents {
            digests.insert(digest_of(&descriptor)?);
        }
    }
    Ok(digests)
}

/// Removes the blobs that only the replaced images had. Where another image cannot be followed, nothing is removed: it
/// may need anything.
pub(super) fn remove_unused(dir: &Path, source: &dyn Source, index: &LayoutIndex, replaced: &[Descriptor]) {
    let blobs_of = |roots: &[Descriptor]| -> Result<BTreeSet<Sha256Digest>, StoreError> {
        roots
            .iter()
            .map(|root| graph::digests(source, root))
            .collect::<Result<Vec<_>, _>>()
            .map(|sets| sets.into_iter().flatten().collect())
    };
    if !index.is_understood() || is_shared(dir) {
        return;
    }
    if let (Ok(old), Ok(used)) = (blobs_of(replaced), blobs_of(&index.entries())) {
        for digest in old.difference(&used) {
            // It does no harm if it stays.
            let _ = fs::remove_file(dir.join(BLOBS).join(digest.hex()));
        }
    }
}

/// Blobs that lie behind a link may be those of other layouts, too.
fn is_shared(dir: &Path) -> bool {
    let is_link = |path: &Path| fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
    Path::new(BLOBS)
        .ancestors()
        .filter(|path| !path.as_os_str().is_empty())
        .any(|path| is_link(&dir.join(path)))
}
