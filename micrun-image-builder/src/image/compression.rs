//! How a layer is compressed.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use flate2::GzBuilder;
use flate2::write::GzEncoder;
use oci_spec::image::MediaType;
use zstd::zstd_safe::CParameter;

/// A compression of layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// The smallest and fastest; read by containerd 1.5 and later, by skopeo, and by umoci 0.6.
    #[default]
    Zstd,
    /// Read by everything.
    Gzip,
    /// Not at all.
    None,
}

/// A word that names no compression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("use zstd, gzip or none")]
pub struct UnknownCompression;

impl Compression {
    /// The layer's media type (image-spec, "Media Types").
    pub(super) fn media_type(self) -> MediaType {
        match self {
            Compression::Zstd => MediaType::ImageLayerZstd,
            Compression::Gzip => MediaType::ImageLayerGzip,
            Compression::None => MediaType::ImageLayer,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Compression::Zstd => "zstd",
            Compression::Gzip => "gzip",
            Compression::None => "none",
        })
    }
}

impl FromStr for Compression {
    type Err = UnknownCompression;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Compression::Zstd, Compression::Gzip, Compression::None];
        all.into_iter().find(|c| c.to_string() == text).ok_or(UnknownCompression)
    }
}

/// 512 KiB: firmware does not repeat itself over longer distances, and readers need this much memory too.
const WINDOW: CParameter = CParameter::WindowLog(19);
/// Zstd's own default, made for firmware: matches are as short as an instruction, and the tables fit a processor's
/// first caches. Both smaller and faster than the default; higher levels take several times as long for a few percent.
/// Each job knows the whole window before it, so that the seams cost next to nothing.
const USUAL: [CParameter; 7] = [
    CParameter::CompressionLevel(3),
    CParameter::MinMatch(4),
    CParameter::HashLog(15),
    CParameter::ChainLog(14),
    WINDOW,
    CParameter::JobSize(JOB as u32),
    CParameter::OverlapSizeLog(9),
];
/// For layers so small that it costs a millisecond; as above, zstd gains little on gzip there.
const SMALL: [CParameter; 2] = [CParameter::CompressionLevel(5), WINDOW];

/// Bytes that one thread compresses at a time: the least that zstd allows.
const JOB: u64 = 512 << 10;
/// Threads at the most: each takes more than a MiB of memory.
const MAX_THREADS: u64 = 4;

/// The parameters for a layer, and the threads that it is worth. Where the jobs begin and end depends on the parameters
/// alone, so the number of threads, and of processors, changes nothing in the output.
fn zstd_parameters(input_size: u64) -> (&'static [CParameter], u32) {
    if input_size <= JOB { (&SMALL, 0) } else { (&USUAL, input_size.div_ceil(JOB).min(MAX_THREADS) as u32) }
}

/// An encoder with these parameters that compresses on so many threads, or on the writer's for 0.
fn zstd_encoder<W: Write>(
    inner: W,
    parameters: &[CParameter],
    threads: u32,
    input_size: u64,
) -> io::Result<zstd::Encoder<'static, W>> {
    let mut encoder = zstd::Encoder::new(inner, 0)?;
    for parameter in parameters {
        encoder.set_parameter(*parameter)?;
    }
    encoder.set_parameter(CParameter::NbWorkers(threads))?;
    encoder.set_pledged_src_size(Some(input_size))?;
    Ok(encoder)
}

/// A writer that compresses. Its output depends on its input alone: not on threads, time, or a name.
pub(super) enum Compressor<W: Write> {
    Zstd(zstd::Encoder<'static, W>),
    Gzip(GzEncoder<W>),
    None(W),
}

impl<W: Write> Compressor<W> {
    pub(super) fn new(compression: Compression, inner: W, input_size: u64) -> io::Result<Self> {
        Ok(match compression {
            Compression::Zstd => {
                let (parameters, threads) = zstd_parameters(input_size);
                Compressor::Zstd(zstd_encoder(inner, parameters, threads, input_size)?)
            }
            Compression::Gzip => {
                Compressor::Gzip(GzBuilder::new().mtime(0).write(inner, flate2::Compression::default()))
            }
            Compression::None => Compressor::None(inner),
        })
    }

    pub(super) fn finish(self) -> io::Result<W> {
        match self {
            Compressor::Zstd(encoder) => encoder.finish(),
            Compressor::Gzip(encoder) => encoder.finish(),
            Compressor::None(inner) => Ok(inner),
        }
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Compressor::Zstd(encoder) => encoder.write(bytes),
            Compressor::Gzip(encoder) => encoder.write(bytes),
            Compressor::None(inner) => inner.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Compressor::Zstd(encoder) => encoder.flush(),
            Compressor::Gzip(encoder) => encoder.flush(),
            Compressor::None(inner) => inner.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_threads_nor_the_pieces_of_the_input_change_the_output() {
        let input: Vec<u8> = (0..3 * JOB as u32 + 4711).map(|i| (i.wrapping_mul(i) >> 13) as u8).collect();
        let size = input.len() as u64;
        let compress = |threads, piece| {
            let mut encoder = zstd_encoder(Vec::new(), &USUAL, threads, size).unwrap();
            input.chunks(piece).for_each(|piece| encoder.write_all(piece).unwrap());
            encoder.finish().unwrap()
        };
        let once = compress(1, input.len());
        assert_eq!(zstd::decode_all(&once[..]).unwrap(), input);
        for (threads, piece) in [(1, 1000), (2, 8192), (3, input.len()), (4, JOB as usize), (4, 77_777)] {
            assert!(compress(threads, piece) == once, "{threads} threads, pieces of {piece}");
        }
    }
}
