//! An image's documents: `index.json`, indexes, manifests.
//!
//! Nothing reads a document whose digest is wrong, and no fuzzer finds a sha256. So the input is a text in parts, with a
//! line of three dashes between any two: first `index.json`, then blobs. `@N` in a part stands for `"digest":"…","size":…`
//! of the blob number N, which has to be a later part. The target puts them into an archive.

use micrun_image_builder::store::archive::ArchiveSource;
use micrun_image_builder::store::graph::Graph;
use micrun_image_builder::store::{Source as _, StoreError, digest_of};
use micrun_image_spec::digest::Sha256Digest;

use super::check_error;

const SEPARATOR: &str = "\n---\n";

/// Finds the image, what belongs to it, and what refers to it.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some(archive) = archive(text) else { return };
    if let Err(error) = walk(archive) {
        check_error(&error);
    }
}

fn walk(archive: Vec<u8>) -> Result<(), StoreError> {
    let source = ArchiveSource::read(Box::new(archive), "image.oci.tar".to_owned(), None)?;
    let root = source.resolve()?;
    let graph = Graph::walk(&source, &root)?;
    assert_eq!(graph.documents.last().map(|(descriptor, _)| descriptor), Some(&root));
    source.referrers(digest_of(&root)?).map(drop)
}

/// The parts as an archive; the last ones first, since earlier ones name them.
fn archive(text: &str) -> Option<Vec<u8>> {
    let parts: Vec<&str> = text.split(SEPARATOR).take(10).collect();
    let mut tar = tar::Builder::new(Vec::new());
    let mut descriptors: Vec<String> = vec![String::new(); parts.len()];
    for (number, part) in parts.iter().enumerate().rev() {
        let mut part = (*part).to_owned();
        for (named, descriptor) in descriptors.iter().enumerate().skip(number + 1) {
            part = part.replace(&format!("@{named}"), descriptor);
        }
        let digest = Sha256Digest::of(part.as_bytes());
        descriptors[number] = format!("\"digest\":\"{digest}\",\"size\":{}", part.len());
        let name =
            if number == 0 { "index.json".to_owned() } else { format!("blobs/sha256/{}", digest.hex()) };
        let mut header = tar::Header::new_ustar();
        header.set_size(part.len() as u64);
        tar.append_data(&mut header, name, part.as_bytes()).ok()?;
    }
    tar.into_inner().ok()
}
