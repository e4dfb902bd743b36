//! OCI archives: tar files.

use std::io::Read as _;

use micrun_image_builder::store::archive::ArchiveSource;
use micrun_image_builder::store::graph::Graph;
use micrun_image_builder::store::{Source as _, digest_of};

use super::check_error;

/// Finds the image and reads all of it.
pub fn run(bytes: &[u8]) {
    let walked =
        ArchiveSource::read(Box::new(bytes.to_vec()), "image.oci.tar".to_owned(), None).and_then(|source| {
            let root = source.resolve()?;
            source.referrers(digest_of(&root)?)?;
            for blob in Graph::walk(&source, &root)?.blobs {
                let mut contents = Vec::new();
                // More than the archive has cannot come out of it.
                let length = source.open(&blob, 0)?.read_to_end(&mut contents);
                assert!(length.is_ok_and(|length| length <= bytes.len()));
            }
            Ok(())
        });
    if let Err(error) = walked {
        check_error(&error);
    }
}
