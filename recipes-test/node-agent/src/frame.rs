//! A frame: channel u32, kind u8, length of the payload u32, all little endian, then the payload. Whoever asks for a
//! job chooses its channel; [`Kind::Ended`] is the last frame of a channel.

use std::io::{Read, Write};

use anyhow::{Context as _, Result, bail, ensure};

/// More than any frame has: both sides cut streams into pieces of [`PIECE`].
const MAX_PAYLOAD: usize = 1 << 20;
/// How much of a stream goes into one frame, so that channels take turns.
pub const PIECE: usize = 16 << 10;
const HEADER: usize = 9;

/// What a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// From the machine, once, on channel 0: it is ready.
    Hello,
    /// To the machine: run a program. The payload is its arguments, each followed by a NUL.
    Run,
    /// To the machine: connect to the Unix socket of this path. Its bytes come as [`Kind::Output`].
    Connect,
    /// To the machine: bytes for stdin, or for the socket. None at all ends it.
    Input,
    /// To the machine: kill the program.
    Kill,
    /// From the machine: bytes of stdout, or of the socket.
    Output,
    /// From the machine: bytes of stderr.
    Error,
    /// From the machine: the wait status (wait(2)) as an i32, or why it could not start as a text after four zero bytes.
    Ended,
}

const KINDS: [Kind; 8] =
    [Kind::Hello, Kind::Run, Kind::Connect, Kind::Input, Kind::Kill, Kind::Output, Kind::Error, Kind::Ended];

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Which job it belongs to.
    pub channel: u32,
    /// What it says.
    pub kind: Kind,
    /// What goes with it.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Reads the next one; none at the end of the stream.
    ///
    /// # Errors
    /// If the stream breaks, or carries something else.
    pub fn read(stream: &mut impl Read) -> Result<Option<Self>> {
        let mut header = [0; HEADER];
        match stream.read(&mut header[..1]).context("cannot read from the other side")? {
            0 => return Ok(None),
            _ => stream.read_exact(&mut header[1..]).context("the stream ends within a frame")?,
        }
        let [a, b, c, d, kind, e, f, g, h] = header;
        let length = u32::from_le_bytes([e, f, g, h]) as usize;
        let Some(kind) = KINDS.get(usize::from(kind)) else { bail!("a frame of the unknown kind {kind}") };
        ensure!(length <= MAX_PAYLOAD, "a frame of {length} bytes");
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).context("the stream ends within a frame")?;
        Ok(Some(Self { channel: u32::from_le_bytes([a, b, c, d]), kind: *kind, payload }))
    }

    /// Writes it.
    ///
    /// # Errors
    /// If the other side is gone.
    pub fn write(&self, stream: &mut (impl Write + ?Sized)) -> Result<()> {
        let length = u32::try_from(self.payload.len()).context("a frame this long")?;
        let mut bytes = Vec::with_capacity(HEADER + self.payload.len());
        bytes.extend(self.channel.to_le_bytes());
        bytes.push(self.kind as u8);
        bytes.extend(length.to_le_bytes());
        bytes.extend(&self.payload);
        stream.write_all(&bytes).and_then(|()| stream.flush()).context("cannot write to the other side")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = Vec::new();
        for kind in KINDS {
            Frame { channel: 7, kind, payload: b"x".repeat(kind as usize) }.write(&mut bytes).unwrap();
        }
        let mut stream = &bytes[..];
        for kind in KINDS {
            let frame = Frame::read(&mut stream).unwrap().unwrap();
            assert_eq!(frame, Frame { channel: 7, kind, payload: b"x".repeat(kind as usize) });
        }
        assert_eq!(Frame::read(&mut stream).unwrap(), None);
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        assert!(Frame::read(&mut &[1, 0, 0, 0, 99, 0, 0, 0, 0][..]).is_err(), "an unknown kind");
        assert!(Frame::read(&mut &[1, 0, 0, 0, 1, 0, 0, 0, 0xff][..]).is_err(), "four gigabytes");
        assert!(Frame::read(&mut &[1, 0][..]).is_err(), "half a header");
    }
}
