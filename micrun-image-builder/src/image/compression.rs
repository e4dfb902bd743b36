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
const USUAL: [CParameter; 5] = [
    CParameter::CompressionLevel(3),
    CParameter::MinMatch(4),
    CParameter::HashLog(15),
    CParameter::ChainLog(14),
    WINDOW,
];
/// For layers so small that it costs a millisecond; as above, zstd gains little on gzip there.
const SMALL: [CParameter; 2] = [CParameter::CompressionLevel(5), WINDOW];
const SMALL_SIZE: u64 = 512 << 10;

fn zstd_parameters(input_size: u64) -> &'static [CParameter] {
    if input_size <= SMALL_SIZE { &SMALL } else { &USUAL }
}

/// A writer that compresses. Its output depends on its input alone: no threads, no time, no name.
pub(super) enum Compressor<W: Write> {
    Zstd(zstd::Encoder<'static, W>),
    Gzip(GzEncoder<W>),
    None(W),
}

impl<W: Write> Compressor<W> {
    pub(super) fn new(compression: Compression, inner: W, input_size: u64) -> io::Result<Self> {
        Ok(match compression {
            Compression::Zstd => {
                let mut encoder = zstd::Encoder::new(inner, 0)?;
                for parameter in zstd_parameters(input_size) {
                    encoder.set_parameter(*parameter)?;
                }
                encoder.set_pledged_src_size(Some(input_size))?;
                Compressor::Zstd(encoder)
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
