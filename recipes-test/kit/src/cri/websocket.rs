//! The streams of exec, attach and port-forward: a WebSocket (RFC 6455) with Kubernetes' `v4.channel.k8s.io`, whose messages
//! begin with the number of a channel. Every containerd's streaming server takes it beside SPDY.

use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context as _, Result, bail, ensure};

use crate::Containerd;
use crate::wait::DEADLINE;

/// Channels (kubelet's remotecommand): what is typed, what comes, and how it ended.
const STDIN: u8 = 0;
/// See [`STDIN`].
pub const STDOUT: u8 = 1;
/// See [`STDIN`].
pub const STDERR: u8 = 2;
/// See [`STDIN`]: a `metav1.Status` as JSON.
pub const ERROR: u8 = 3;

const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const WHOLE: u8 = 0x80;
const MASKED: u8 = 0x80;

/// A connection to a streaming server.
#[derive(Debug)]
pub struct WebSocket {
    socket: TcpStream,
}

/// What came on one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its number.
    pub channel: u8,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl WebSocket {
    /// Goes to a URL that CRI answered with, `http://HOST:PORT/PATH`.
    ///
    /// # Errors
    /// If nobody listens, or refuses: then with what it said.
    pub fn open(containerd: &Containerd, url: &str) -> Result<Self> {
        let address = url.strip_prefix("http://").with_context(|| format!("{url} is no URL of HTTP"))?;
        let (host, path) = address.split_once('/').with_context(|| format!("{url} has no path"))?;
        let mut socket = containerd
            .namespace()
            .inside(|| TcpStream::connect(host).with_context(|| format!("cannot connect to {host}")))?;
        socket.set_read_timeout(Some(DEADLINE)).context("cannot set a timeout")?;
        let request = format!(
            "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bWljcnVuLXRlc3RzLWtleQ==\r\n\
             Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).context("cannot ask for a stream")?;
        let head = head(&mut socket)?;
        ensure!(head.starts_with("HTTP/1.1 101 "), "no stream, but {head}");
        Ok(Self { socket })
    }

    /// Types.
    ///
    /// # Errors
    /// If the other side is gone.
    pub fn type_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.send(BINARY, &[&[STDIN], bytes].concat())
    }

    /// Says that this is over.
    ///
    /// # Errors
    /// As [`WebSocket::type_bytes`].
    pub fn close(mut self) -> Result<()> {
        self.send(CLOSE, &[])
    }

    /// A whole message. Clients have to mask; a mask of zeros changes nothing.
    fn send(&mut self, kind: u8, message: &[u8]) -> Result<()> {
        let length = u16::try_from(message.len()).context("a message this long")?;
        let mut frame = vec![WHOLE | kind];
        match u8::try_from(length) {
            Ok(short @ ..126) => frame.push(MASKED | short),
            _ => {
                frame.push(MASKED | 126);
                frame.extend(length.to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(message);
        self.socket.write_all(&frame).context("the streaming server is gone")
    }

    /// The next piece with something in it; none at the end.
    ///
    /// # Errors
    /// If nothing comes for [`DEADLINE`], or something else than WebSocket.
    pub fn receive(&mut self) -> Result<Option<Piece>> {
        loop {
            let mut start = [0; 2];
            if let Err(error) = self.socket.read_exact(&mut start) {
                return match error.kind() {
                    std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset => Ok(None),
                    _ => Err(error).context("the stream gives nothing"),
                };
            }
            let length = match start[1] {
                126 => u16::from_be_bytes(self.take()?).into(),
                127 => u64::from_be_bytes(self.take()?),
                short => short.into(),
            };
            let mut message = vec![0; usize::try_from(length).context("a message this long")?];
            self.socket.read_exact(&mut message).context("a message is cut short")?;
            match (start[0], message.split_first()) {
                (kind, _) if kind == WHOLE | CLOSE => return Ok(None),
                (kind, _) if kind == WHOLE | PING => {}
                (kind, Some((channel, bytes))) if kind & WHOLE != 0 => {
                    if !bytes.is_empty() {
                        return Ok(Some(Piece { channel: *channel, bytes: bytes.to_owned() }));
                    }
                }
                _ => bail!("a frame that nobody asked for: {start:?}"),
            }
        }
    }

    /// Reads until a text has come on stdout, and returns all that did.
    ///
    /// # Errors
    /// If the stream ends before, or as [`WebSocket::receive`].
    pub fn wait_for(&mut self, text: &str) -> Result<String> {
        let mut seen = String::new();
        while !seen.contains(text) {
            let piece = self.receive().with_context(|| format!("waited for {text:?}; seen: {seen:?}"))?;
            let piece = piece.with_context(|| format!("the stream ended before {text:?}; seen: {seen:?}"))?;
            if piece.channel == STDOUT {
                seen += &String::from_utf8_lossy(&piece.bytes);
            } else {
                bail!("waited for {text:?}, and got {:?}", String::from_utf8_lossy(&piece.bytes));
            }
        }
        Ok(seen)
    }

    /// Reads to the end: what came on a channel, for each of the first four.
    ///
    /// # Errors
    /// As [`WebSocket::receive`].
    pub fn rest(mut self) -> Result<[String; 4]> {
        let mut all: [Vec<u8>; 4] = Default::default();
        while let Some(piece) = self.receive()? {
            let channel = all.get_mut(usize::from(piece.channel)).context("a channel that nobody knows")?;
            channel.extend(piece.bytes);
        }
        Ok(all.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.socket.read_exact(&mut bytes).context("a frame is cut short")?;
        Ok(bytes)
    }
}

/// The head of an answer, and where that is an error all of it.
fn head(socket: &mut TcpStream) -> Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n")
        && socket.read(&mut byte).context("no answer to a request for a stream")? == 1
    {
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}
