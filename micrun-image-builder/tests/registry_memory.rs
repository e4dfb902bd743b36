//! A layer of any size takes the same memory on its way, up and down.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

#[path = "support/registry/mod.rs"]
mod support;

use std::io::{self, Read as _};
use std::process::{Command, Stdio};

use micrun_image_builder::store::{Sink, Source};
use oci_spec::image::{Descriptor, Digest, MediaType};
use support::debian::DebianRegistry;
use support::image::{Repeated, noise};
use support::{name, options, registry};

const SMALL: u64 = 1 << 20;
const LARGE: u64 = 256 << 20;
/// What may come on top for buffers that grow with the speed of the line, bytes.
const SLACK: u64 = 16 << 20;

/// Alone in its file: nothing else may allocate in this process.
#[test]
fn a_large_layer_takes_no_more_memory_than_a_small_one() {
    let server = DebianRegistry::open();
    let mut peaks = Vec::new();
    for size in [SMALL, LARGE] {
        let layer = Repeated { block: noise(1 << 20), size };
        let blob = Descriptor::new(MediaType::ImageLayer, size, digest(&layer));
        registry(options()).sink(&name(server.address)).put_blob(&blob, &layer).unwrap();
        let source = registry(options()).source(&name(server.address));
        let mut came = source.open(&blob, 0).unwrap();
        let mut expected = layer.reader(0);
        let (mut one, mut other) = (vec![0; 64 << 10], vec![0; 64 << 10]);
        for _ in 0..size / one.len() as u64 {
            came.read_exact(&mut one).unwrap();
            expected.read_exact(&mut other).unwrap();
            assert!(one == other);
        }
        assert_eq!(came.read(&mut one).unwrap(), 0);
        peaks.push(peak());
    }
    let growth = peaks[1] - peaks[0];
    assert!(growth < SLACK, "{growth} bytes more for {LARGE} bytes than for {SMALL}");
}

/// By sha256sum: ours is slow in a build for tests.
fn digest(layer: &Repeated) -> Digest {
    let mut child = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    io::copy(&mut layer.reader(0), &mut child.stdin.take().unwrap()).unwrap();
    let output = child.wait_with_output().unwrap();
    format!("sha256:{}", &String::from_utf8(output.stdout).unwrap()[..64]).parse().unwrap()
}

/// The most memory that this process ever had, bytes (proc(5), VmHWM).
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
