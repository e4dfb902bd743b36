//! Layers of images that anybody may have made: tar, plain or compressed.

use std::iter;

use micrun_image_builder::rootfs::RootFs;
use micrun_image_builder::store::Sink as _;
use micrun_image_builder::store::memory::MemoryStore;
use micrun_image_spec::digest::Sha256Digest;
use micrun_image_spec::rootfs_path::RootfsPath;
use oci_spec::image::{Descriptor, Digest, MediaType};

/// Reads the input as an image of two layers, in each of the ways in which layers are compressed. Two, so that the second
/// one changes what the first one left.
pub fn run(bytes: &[u8]) {
    let Ok(digest) = Sha256Digest::of(bytes).to_string().parse::<Digest>() else { return };
    let paths: Vec<RootfsPath> =
        ["/firmware.elf", "/etc/link"].iter().filter_map(|path| path.parse().ok()).collect();
    for media_type in [MediaType::ImageLayer, MediaType::ImageLayerGzip, MediaType::ImageLayerZstd] {
        let layer = Descriptor::new(media_type, bytes.len() as u64, digest.clone());
        let mut store = MemoryStore::new();
        if store.put_blob(&layer, &bytes.to_vec()).is_ok() {
            look(&store, &layer, &paths);
        }
    }
}

fn look(store: &MemoryStore, layer: &Descriptor, paths: &[RootfsPath]) {
    let layers: Vec<Descriptor> = iter::repeat_n(layer.clone(), 2).collect();
    let root = RootFs::read(store, &layers, &[None, None], paths);
    for (path, _) in root.entries() {
        assert!(path.starts_with('/') && !path.split('/').any(|part| part == ".."), "{path}");
    }
    for problem in root.problems() {
        assert!(problem.to_string().len() < 1500, "{problem}");
    }
    for path in paths {
        if let Ok(file) = root.find(path) {
            let _ = root.open(file);
        }
    }
}
