//! Hashes on a second thread what passes through. A large layer is compressed meanwhile; for a small one the thread
//! would cost more than it gives.

use std::io::{self, Write};
use std::mem;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use micrun_image_spec::digest::{HashingWriter, Sha256Digest};

/// From how many bytes on a second thread is worth it.
pub(crate) const WORTH_A_THREAD: u64 = 8 << 20;
/// Bytes that are handed over at a time.
const PIECE: usize = 256 << 10;
/// Pieces that may wait. With those in work on either side, this bounds the memory.
const WAITING: usize = 2;

/// Passes bytes on to a writer and hashes them, here or on a thread of its own.
pub(super) enum Hasher<W: Write> {
    /// On this thread.
    Here(HashingWriter<W>),
    /// On another.
    Beside(Beside<W>),
}

pub(super) struct Beside<W> {
    inner: W,
    piece: Vec<u8>,
    full: SyncSender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
    thread: JoinHandle<Sha256Digest>,
}

impl<W: Write> Hasher<W> {
    pub(super) fn new(inner: W, size: u64) -> Self {
        if size < WORTH_A_THREAD {
            Hasher::Here(HashingWriter::new(inner))
        } else {
            Hasher::Beside(Beside::new(inner))
        }
    }

    /// Gives the writer back, and the digest of everything written to it.
    pub(super) fn finish(self) -> io::Result<(W, Sha256Digest)> {
        match self {
            Hasher::Here(writer) => Ok(writer.finish()),
            Hasher::Beside(beside) => beside.finish(),
        }
    }
}

impl<W> Beside<W> {
    fn new(inner: W) -> Self {
        let (full, pieces) = sync_channel::<Vec<u8>>(WAITING);
        // Empty buffers come back to be filled again; nobody may have to wait to give one back.
        let (done, empty) = sync_channel(WAITING + 2);
        let thread = thread::spawn(move || {
            let mut hasher = HashingWriter::new(io::sink());
            for mut piece in pieces {
                // A sink takes everything.
                let _ = hasher.write_all(&piece);
                piece.clear();
                let _ = done.try_send(piece);
            }
            hasher.finish().1
        });
        Beside { inner, piece: Vec::with_capacity(PIECE), full, empty, thread }
    }

    fn hand_over(&mut self) -> io::Result<()> {
        let next = self.empty.try_recv().unwrap_or_else(|_| Vec::with_capacity(PIECE));
        let full = mem::replace(&mut self.piece, next);
        self.full.send(full).map_err(|_| io::Error::other("the hashing thread is gone"))
    }

    fn finish(mut self) -> io::Result<(W, Sha256Digest)> {
        self.hand_over()?;
        drop(self.full);
        let digest = self.thread.join().map_err(|_| io::Error::other("the hashing thread failed"))?;
        Ok((self.inner, digest))
    }
}

impl<W: Write> Write for Hasher<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Hasher::Here(writer) => writer.write(bytes),
            Hasher::Beside(beside) => {
                let room = PIECE - beside.piece.len();
                let n = beside.inner.write(&bytes[..bytes.len().min(room)])?;
                beside.piece.extend_from_slice(&bytes[..n]);
                if beside.piece.len() == PIECE {
                    beside.hand_over()?;
                }
                Ok(n)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Hasher::Here(writer) => writer.flush(),
            Hasher::Beside(beside) => beside.inner.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_give_the_same() {
        let bytes: Vec<u8> = (0..3 * PIECE + 17).map(|i| (i * i / 7) as u8).collect();
        for size in [0, WORTH_A_THREAD] {
            let mut hasher = Hasher::new(Vec::new(), size);
            for part in bytes.chunks(1000) {
                hasher.write_all(part).unwrap();
            }
            let (written, digest) = hasher.finish().unwrap();
            assert!(written == bytes);
            assert_eq!(digest, Sha256Digest::of(&bytes));
        }
    }
}
