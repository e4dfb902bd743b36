//! SHA-256 digests in OCI's notation, and hashing of bytes while they are copied.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::text::{excerpt, hex, serde_as_string};

/// Text that is no SHA-256 digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// Another algorithm than sha256.
    #[error("`{0}` is not a sha256 digest: other algorithms are not supported")]
    Algorithm(String),
    /// Not 64 digits.
    #[error("a sha256 digest has 64 hex digits, this one has {0}")]
    Length(usize),
    /// Something that is no hex digit.
    #[error("`{0}` is not made of hex digits alone")]
    NotHex(String),
}

/// A SHA-256 digest. Shown as `sha256:` and 64 lower-case hex digits; read with or without the prefix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256Digest([u8; 32]);

impl Sha256Digest {
    const PREFIX: &'static str = "sha256:";

    /// The digest of bytes that are already in memory.
    pub fn of(bytes: &[u8]) -> Self {
        Sha256Digest(Sha256::digest(bytes).into())
    }

    /// The 64 hex digits without the prefix: the file name in an OCI layout.
    pub fn hex(&self) -> String {
        hex(&self.0)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Sha256Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = text.strip_prefix(Self::PREFIX).unwrap_or(text);
        if hex.contains(':') {
            return Err(DigestError::Algorithm(excerpt(text)));
        }
        if !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(DigestError::NotHex(excerpt(text)));
        }
        if hex.len() != 64 {
            return Err(DigestError::Length(hex.len()));
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().as_chunks::<2>().0) {
            *byte = nibble(pair[0]) << 4 | nibble(pair[1]);
        }
        Ok(Sha256Digest(bytes))
    }
}

serde_as_string!(Sha256Digest);

/// The value of a byte that is known to be a hex digit.
const fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// A reader that hashes what passes through it.
pub struct HashingReader<R> {
    inner: R,
    state: HashState,
}

/// A writer that hashes what passes through it.
pub struct HashingWriter<W> {
    inner: W,
    state: HashState,
}

#[derive(Default)]
struct HashState {
    hasher: Sha256,
    bytes: u64,
}

impl HashState {
    fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    fn digest(self) -> Sha256Digest {
        Sha256Digest(self.hasher.finalize().into())
    }
}

impl<R: Read> HashingReader<R> {
    /// Wraps a reader.
    pub fn new(inner: R) -> Self {
        HashingReader { inner, state: HashState::default() }
    }

    /// Bytes read so far.
    pub fn byte_count(&self) -> u64 {
        self.state.bytes
    }

    /// Gives the reader back, and the digest of everything read from it.
    pub fn finish(self) -> (R, Sha256Digest) {
        (self.inner, self.state.digest())
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.state.update(&buf[..n]);
        Ok(n)
    }
}

impl<W: Write> HashingWriter<W> {
    /// Wraps a writer.
    pub fn new(inner: W) -> Self {
        HashingWriter { inner, state: HashState::default() }
    }

    /// Bytes written so far.
    pub fn byte_count(&self) -> u64 {
        self.state.bytes
    }

    /// Gives the writer back, not flushed, and the digest of everything written to it.
    pub fn finish(self) -> (W, Sha256Digest) {
        (self.inner, self.state.digest())
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buf)?;
        self.state.update(&buf[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // FIPS 180-2, appendix B.1.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn reads_both_notations_and_writes_one() {
        let prefixed: Sha256Digest = format!("sha256:{ABC}").parse().unwrap();
        let bare: Sha256Digest = ABC.to_uppercase().parse().unwrap();
        assert_eq!(prefixed, bare);
        assert_eq!(prefixed, Sha256Digest::of(b"abc"));
        assert_eq!(bare.to_string(), format!("sha256:{ABC}"));
        assert_eq!(bare.hex(), ABC);
    }

    #[test]
    fn refuses_what_is_no_digest() {
        use DigestError::*;
        assert!(matches!("md5:00".parse::<Sha256Digest>(), Err(Algorithm(_))));
        assert!(matches!("sha256:".parse::<Sha256Digest>(), Err(Length(0))));
        assert!(matches!(ABC[1..].parse::<Sha256Digest>(), Err(Length(63))));
        assert!(matches!("é".repeat(32).parse::<Sha256Digest>(), Err(NotHex(_))));
        assert!(matches!(format!(" {ABC}").parse::<Sha256Digest>(), Err(NotHex(_))));
    }

    #[test]
    fn hashes_while_copying() {
        let mut reader = HashingReader::new(&b"abc"[..]);
        let mut writer = HashingWriter::new(Vec::new());
        io::copy(&mut reader, &mut writer).unwrap();
        assert_eq!((reader.byte_count(), writer.byte_count()), (3, 3));
        assert_eq!(reader.finish().1, Sha256Digest::of(b"abc"));
        assert_eq!(writer.finish(), (b"abc".to_vec(), Sha256Digest::of(b"abc")));
    }
}
