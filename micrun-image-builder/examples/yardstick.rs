//! What an image of a firmware costs at the least: its compression and its three digests, in one thread, with nothing
//! written. `cargo xtask bench builder` compares `pack` with it.
//!
//! The three digests are those of the firmware, of the layer before compression, and of the compressed layer.

use std::fs::File;
use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};
use zstd::zstd_safe::CParameter;

/// As `image::compression` has them, but for what concerns its threads.
const PARAMETERS: [CParameter; 5] = [
    CParameter::CompressionLevel(3),
    CParameter::MinMatch(4),
    CParameter::HashLog(15),
    CParameter::ChainLog(14),
    CParameter::WindowLog(19),
];
const PIECE: usize = 128 << 10;

fn main() -> io::Result<()> {
    let path = std::env::args_os().nth(1).ok_or_else(|| io::Error::other("usage: yardstick FIRMWARE"))?;
    let mut file = File::open(path)?;
    let (mut firmware, mut layer) = (Sha256::new(), Sha256::new());
    let mut zstd = zstd::Encoder::new(Hash(Sha256::new()), 0)?;
    for parameter in PARAMETERS {
        zstd.set_parameter(parameter)?;
    }
    zstd.set_pledged_src_size(Some(file.metadata()?.len()))?;
    let mut piece = vec![0; PIECE];
    loop {
        let n = file.read(&mut piece)?;
        if n == 0 {
            break;
        }
        firmware.update(&piece[..n]);
        layer.update(&piece[..n]);
        zstd.write_all(&piece[..n])?;
    }
    let digests = [firmware, layer, zstd.finish()?.0].map(|digest| digest.finalize());
    println!("{:02x} {:02x} {:02x}", digests[0][0], digests[1][0], digests[2][0]);
    Ok(())
}

struct Hash(Sha256);

impl Write for Hash {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
