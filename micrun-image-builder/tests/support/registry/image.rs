//! An image made by hand, and its way through a sink and out of a source.

use std::io::{self, Read};

use micrun_image_builder::store::{Data, Sink, Source, StoreError, read_document};
use micrun_image_spec::digest::{HashingReader, Sha256Digest};
use oci_spec::image::{Descriptor, MediaType};

pub fn descriptor(media_type: MediaType, bytes: &[u8]) -> Descriptor {
    Descriptor::new(
        media_type,
        bytes.len() as u64,
        Sha256Digest::of(bytes).to_string().parse::<oci_spec::image::Digest>().unwrap(),
    )
}

/// A manifest with a configuration and one layer.
pub struct Image {
    pub config: Vec<u8>,
    pub layer: Vec<u8>,
    pub manifest: Vec<u8>,
}

impl Image {
    pub fn new(layer_size: usize) -> Self {
        let layer = noise(layer_size);
        let config =
            br#"{"architecture":"arm64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#.to_vec();
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": MediaType::ImageManifest.to_string(),
            "config": descriptor(MediaType::ImageConfig, &config),
            "layers": [descriptor(MediaType::ImageLayer, &layer)],
        });
        Image { config, layer, manifest: serde_json::to_vec(&manifest).unwrap() }
    }

    pub fn root(&self) -> Descriptor {
        descriptor(MediaType::ImageManifest, &self.manifest)
    }

    pub fn config_descriptor(&self) -> Descriptor {
        descriptor(MediaType::ImageConfig, &self.config)
    }

    pub fn layer_descriptor(&self) -> Descriptor {
        descriptor(MediaType::ImageLayer, &self.layer)
    }

    pub fn push(&self, mut sink: impl Sink + 'static) -> Result<(), StoreError> {
        for (descriptor, bytes) in
            [(self.config_descriptor(), &self.config), (self.layer_descriptor(), &self.layer)]
        {
            if !sink.has_blob(&descriptor)? {
                sink.put_blob(&descriptor, bytes)?;
            }
        }
        Box::new(sink).finish(&self.root(), &self.manifest)
    }

    /// Reads everything and compares it with this image.
    pub fn pull(&self, source: &dyn Source) -> Result<(), StoreError> {
        let root = source.resolve()?;
        assert_eq!((root.digest(), root.media_type()), (self.root().digest(), self.root().media_type()));
        assert!(read_document(source, &root)? == self.manifest);
        assert!(read_blob(source, &self.config_descriptor())? == self.config);
        assert!(read_blob(source, &self.layer_descriptor())? == self.layer);
        Ok(())
    }
}

/// Reads a blob and compares its digest, as readers have to.
pub fn read_blob(source: &dyn Source, blob: &Descriptor) -> Result<Vec<u8>, StoreError> {
    let mut reader = HashingReader::new(source.open(blob, 0)?);
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).map_err(StoreError::read(blob.digest().to_string()))?;
    let actual = reader.finish().1;
    let expected = blob.digest().to_string().parse().unwrap();
    if actual == expected {
        Ok(bytes)
    } else {
        Err(StoreError::Corrupt { expected, actual, size: bytes.len() as u64 })
    }
}

/// Bytes that repeat nowhere nearby.
pub fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// The same block again and again: a layer of any size that takes no memory.
pub struct Repeated {
    pub block: Vec<u8>,
    pub size: u64,
}

impl Repeated {
    pub fn reader(&self, offset: u64) -> RepeatedReader<'_> {
        RepeatedReader { block: &self.block, at: offset, size: self.size }
    }
}

impl Data for Repeated {
    fn open(&self, offset: u64) -> Result<Box<dyn Read + Send + '_>, StoreError> {
        Ok(Box::new(self.reader(offset)))
    }
}

pub struct RepeatedReader<'a> {
    block: &'a [u8],
    at: u64,
    size: u64,
}

impl Read for RepeatedReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let start = (self.at % self.block.len() as u64) as usize;
        let left = (self.size - self.at).min((self.block.len() - start) as u64) as usize;
        let n = left.min(buf.len());
        buf[..n].copy_from_slice(&self.block[start..start + n]);
        self.at += n as u64;
        Ok(n)
    }
}
