//! What the daemon answers: a text, which may be empty, and a marker that says how it went.

/// Ends the answer to a request that was carried out.
const SUCCESS: &[u8] = b"MICA-SUCCESS";
/// Ends the answer to a request that was not.
const FAILED: &[u8] = b"MICA-FAILED";

/// Longest answer that is read, bytes. The daemon's own end at 523: a status line of 511 and a marker.
pub const MAX_LEN: usize = 4096;

/// A complete answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Carried out, with what the daemon had to tell.
    Success(String),
    /// Not carried out, with the daemon's reason. For most failures it gives none.
    Failed(String),
}

impl Reply {
    /// Reads what has come so far: `None` until it ends in a marker.
    ///
    /// Only a marker at the end counts: guests choose the names of their services, and `status` repeats them.
    pub fn parse(bytes: &[u8]) -> Option<Reply> {
        let text = |words: &[u8]| String::from_utf8_lossy(words).into_owned();
        let bytes = trim_end(bytes);
        match (bytes.strip_suffix(SUCCESS), bytes.strip_suffix(FAILED)) {
            (Some(words), _) => Some(Reply::Success(text(words))),
            (_, Some(words)) => Some(Reply::Failed(text(words))),
            (None, None) => None,
        }
    }
}

/// Without line ends and NULs at the end. The daemon sends none today.
fn trim_end(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| !b"\r\n\0".contains(byte)).map_or(0, |last| last + 1);
    bytes.get(..end).unwrap_or_default()
}
