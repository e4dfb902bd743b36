//! ttrpc requests, written by hand: enough to know when a shim answers, without a client library.
//!
//! Frame (containerd/ttrpc, PROTOCOL.md): length of the data u32, stream u32 (odd from clients), type u8 (1 request,
//! 2 response), flags u8, all big endian; the data of a request is a protobuf with service 1, method 2, payload 3.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use anyhow::{Context as _, Result, ensure};

const REQUEST: u8 = 1;
const RESPONSE: u8 = 2;
const HEADER: usize = 10;
/// ttrpc's own limit for the data of a message.
const MAX_DATA: u32 = 4 << 20;

/// A connection to a shim.
#[derive(Debug)]
pub struct Client<S = UnixStream> {
    socket: S,
    stream: u32,
}

impl<S: Read + Write> Client<S> {
    /// Takes a connected socket.
    pub fn new(socket: S) -> Self {
        Self { socket, stream: 1 }
    }

    /// Sends `service/method` with a payload that holds only `id` as its first field, and waits for the reply: any
    /// reply, an error status of the service included, counts.
    ///
    /// # Errors
    /// If the connection breaks or what comes is no ttrpc response.
    pub fn call(&mut self, service: &str, method: &str, id: &str) -> Result<Vec<u8>> {
        self.send(service, method, &field(1, id.as_bytes()))
    }

    /// The same with a payload of one's own, see [`field`].
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn send(&mut self, service: &str, method: &str, payload: &[u8]) -> Result<Vec<u8>> {
        let mut data = field(1, service.as_bytes());
        data.extend(field(2, method.as_bytes()));
        data.extend(field(3, payload));
        let mut frame = u32::try_from(data.len()).context("a request this long")?.to_be_bytes().to_vec();
        frame.extend(self.stream.to_be_bytes());
        frame.extend([REQUEST, 0]);
        frame.extend(data);
        self.stream += 2;
        self.socket.write_all(&frame).context("cannot send a request to the shim")?;
        self.reply()
    }

    fn reply(&mut self) -> Result<Vec<u8>> {
        let mut header = [0; HEADER];
        self.socket.read_exact(&mut header).context("the shim closed the connection without an answer")?;
        let [a, b, c, d, .., kind, _] = header;
        let length = u32::from_be_bytes([a, b, c, d]);
        ensure!(
            kind == RESPONSE && length <= MAX_DATA,
            "the shim answered something that is no ttrpc response"
        );
        let mut reply = vec![0; length as usize];
        self.socket.read_exact(&mut reply).context("the shim's answer is cut short")?;
        Ok(reply)
    }
}

/// What a reply refuses, in the service's words; none where it was carried out. A response holds a `google.rpc.Status`
/// as field 1, with code 1 and message 2, and no code means success.
pub fn refusal(reply: &[u8]) -> Option<String> {
    let status = find(reply, 1)?;
    // A varint that is left out, or 0.
    if status.first() != Some(&(1 << 3)) || status.get(1) == Some(&0) {
        return None;
    }
    Some(String::from_utf8_lossy(find(status, 2).unwrap_or_default()).into_owned())
}

/// The first field of this number, where all before it are varints or have a length.
fn find(mut message: &[u8], wanted: u8) -> Option<&[u8]> {
    loop {
        let (tag, rest) = message.split_first()?;
        let (value, rest) = varint(rest)?;
        message = match tag & 7 {
            0 => rest,
            2 if tag >> 3 == wanted => return rest.get(..value),
            2 => rest.get(value..)?,
            _ => return None,
        };
    }
}

fn varint(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let length = bytes.iter().take(5).position(|byte| byte & 0x80 == 0)? + 1;
    let value = bytes[..length].iter().rev().fold(0, |sum, byte| sum << 7 | usize::from(byte & 0x7f));
    Some((value, &bytes[length..]))
}

/// A length-delimited protobuf field.
pub fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend(bytes);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_bytes_that_the_protocol_asks_for() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let reply = [0, 0, 0, 2, 0, 0, 0, 1, RESPONSE, 0, 0x12, 0];
        theirs.write_all(&reply).unwrap();
        assert_eq!(Client::new(ours).call("S", "M", "x").unwrap(), [0x12, 0]);
        let mut sent = [0; 21];
        theirs.read_exact(&mut sent).unwrap();
        let data = [0x0a, 1, b'S', 0x12, 1, b'M', 0x1a, 3, 0x0a, 1, b'x'];
        assert_eq!(sent[..10], [0, 0, 0, data.len() as u8, 0, 0, 0, 1, REQUEST, 0]);
        assert_eq!(sent[10..], data);
    }

    #[test]
    fn a_refusal_is_told_from_success() {
        let status = |code: u8| [&[1 << 3, code][..], &field(2, b"no such task")].concat();
        assert_eq!(refusal(&field(1, &status(5))).as_deref(), Some("no such task"));
        assert_eq!(refusal(&field(1, &[])), None);
        assert_eq!(refusal(&field(2, b"payload")), None);
        assert_eq!(refusal(&[0x0a, 0xff]), None, "cut short");
    }

    #[test]
    fn long_fields_have_long_lengths() {
        assert_eq!(field(3, &[7; 300])[..4], [0x1a, 0xac, 0x02, 7]);
    }
}
