//! A layer that has one file over and over takes the memory of one.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use micrun_image_builder::rootfs::RootFs;
use micrun_image_builder::store::{MemoryStore, Sink as _};
use micrun_image_spec::digest::Sha256Digest;
use oci_spec::image::{Descriptor, Digest, MediaType};

/// Just small enough to be held in memory, bytes.
const SIZE: usize = 4 << 20;
const TIMES: usize = 8;

/// Alone in its file: nothing else may allocate in this process.
#[test]
fn one_path_is_held_once() {
    let mut store = MemoryStore::new();
    let layers = [1, 2].map(|mode| {
        let blob = layer(mode);
        let digest = Sha256Digest::of(&blob).to_string().parse::<Digest>().unwrap();
        let layer = Descriptor::new(MediaType::ImageLayerGzip, blob.len() as u64, digest);
        store.put_blob(&layer, &blob).unwrap();
        layer
    });
    let before = peak();
    let path = "/firmware.elf".parse().unwrap();
    let root = RootFs::read(&store, &layers, &[], &[path]);
    assert!(root.problems().is_empty(), "{:?}", root.problems());
    let growth = peak() - before;
    // A buffer that grows is there twice while it does.
    assert!(growth < 5 * SIZE as u64, "{growth} bytes for {TIMES} times {SIZE}, twice");
}

/// Zeros; each mode makes another layer.
fn layer(mode: u32) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_path("firmware.elf").unwrap();
    header.set_mode(mode);
    header.set_size(SIZE as u64);
    header.set_cksum();
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    for _ in 0..TIMES {
        packed.write_all(header.as_bytes()).unwrap();
        (0..SIZE / 512).for_each(|_| packed.write_all(&[0; 512]).unwrap());
    }
    packed.write_all(&[0; 1024]).unwrap();
    packed.finish().unwrap()
}

/// The most memory that this process ever had, bytes (proc(5), VmHWM).
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
