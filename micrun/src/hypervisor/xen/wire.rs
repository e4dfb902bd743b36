//! Xenstore's messages (Xen, public/io/xs_wire.h): a header of four 32-bit numbers in the node's byte order,
//! then at most 4096 bytes.

/// Length of a header, bytes.
const HEADER: usize = 16;

/// Longest body, bytes (`XENSTORE_PAYLOAD_MAX`).
const MAX_BODY: usize = 4096;

/// What a message asks for or answers (`enum xsd_sockmsg_type`), as far as it is used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// The names below a path.
    Directory = 1,
    /// The value at a path.
    Read = 2,
    /// Tell of changes at and below a path.
    Watch = 4,
    /// Set the value at a path.
    Write = 11,
    /// A watch was triggered: path and token.
    WatchEvent = 15,
    /// The request failed: the name of an error.
    Error = 16,
}

/// A message from xenstored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its kind, which may be one that is not used here.
    pub kind: u32,
    /// The number of the request that it answers; 0 for an event.
    pub id: u32,
    /// What it carries.
    pub body: Vec<u8>,
}

/// A header that announces more than the protocol allows.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a message of {0} bytes, where the protocol has {MAX_BODY} at most")]
pub struct TooLong(pub usize);

/// A request as it goes over the line.
///
/// # Errors
///
/// [`TooLong`]: xenstored would close the connection.
pub fn request(kind: Kind, id: u32, body: &[u8]) -> Result<Vec<u8>, TooLong> {
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= MAX_BODY);
    let length = length.ok_or(TooLong(body.len()))?;
    let mut message = Vec::with_capacity(HEADER + body.len());
    // The third number names a transaction; 0 is none.
    for number in [kind as u32, id, 0, length] {
        message.extend_from_slice(&number.to_ne_bytes());
    }
    message.extend_from_slice(body);
    Ok(message)
}

/// Takes the first message off what was received; `None` while it is not complete.
///
/// # Errors
///
/// [`TooLong`]: what follows cannot be understood any more.
pub fn take(received: &mut Vec<u8>) -> Result<Option<Message>, TooLong> {
    let number = |at: usize| {
        let bytes = received.get(at..at + 4)?;
        bytes.try_into().ok().map(u32::from_ne_bytes)
    };
    let (Some(kind), Some(id), Some(length)) = (number(0), number(4), number(12)) else { return Ok(None) };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > MAX_BODY {
        return Err(TooLong(length));
    }
    let Some(body) = received.get(HEADER..HEADER + length) else { return Ok(None) };
    let message = Message { kind, id, body: body.to_vec() };
    received.drain(..HEADER + length);
    Ok(Some(message))
}

/// The texts of a body, each ended by a NUL.
pub fn texts(body: &[u8]) -> Vec<String> {
    let body = body.strip_suffix(b"\0").unwrap_or(body);
    if body.is_empty() {
        return Vec::new();
    }
    body.split(|b| *b == 0).map(|text| String::from_utf8_lossy(text).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn a_request_is_what_xenstored_of_4_20_took() {
        let sent = request(Kind::Watch, 4, b"@releaseDomain\0end\0").unwrap();
        let taken = b"\x04\0\0\0\x04\0\0\0\0\0\0\0\x13\0\0\0@releaseDomain\0end\0";
        assert_eq!(sent, taken);
    }

    /// What xenstored of Xen 4.20 answered to that, cut as it came: "OK", and the event that every new watch
    /// triggers once.
    #[test]
    #[cfg(target_endian = "little")]
    fn answers_are_taken_wherever_they_are_cut() {
        let answer = b"\x04\0\0\0\x04\0\0\0\0\0\0\0\x03\0\0\0OK\0\
                       \x0f\0\0\0\0\0\0\0\0\0\0\0\x13\0\0\0@releaseDomain\0end\0";
        let mut received = Vec::new();
        let mut messages = Vec::new();
        for byte in answer {
            received.push(*byte);
            messages.extend(take(&mut received).unwrap());
        }
        let [done, event] = messages.as_slice() else { panic!("{messages:?}") };
        assert_eq!((done.kind, done.id, done.body.as_slice()), (Kind::Watch as u32, 4, &b"OK\0"[..]));
        assert_eq!(event.kind, Kind::WatchEvent as u32);
        assert_eq!(texts(&event.body), ["@releaseDomain", "end"]);
        assert!(received.is_empty());
    }

    #[test]
    fn what_is_too_long_is_refused_both_ways() {
        assert_eq!(request(Kind::Read, 1, &[b'a'; 4097]), Err(TooLong(4097)));
        let mut header = [2_u32, 1, 0, u32::MAX].map(u32::to_ne_bytes).concat();
        assert!(take(&mut header).is_err());
    }

    #[test]
    fn an_empty_directory_has_no_names() {
        assert!(texts(b"").is_empty());
        assert_eq!(texts(b"0\x001\x00"), ["0", "1"]);
        assert_eq!(texts(b"/vm/x"), ["/vm/x"], "a value has no NUL at its end");
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_without_a_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            while let Ok(Some(message)) = take(&mut bytes) {
                let _ = texts(&message.body);
            }
        }

        #[test]
        fn what_was_sent_is_taken_back(id in any::<u32>(), body in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut bytes = request(Kind::Read, id, &body).unwrap();
            prop_assert_eq!(take(&mut bytes), Ok(Some(Message { kind: 2, id, body })));
            prop_assert!(bytes.is_empty());
        }
    }
}
