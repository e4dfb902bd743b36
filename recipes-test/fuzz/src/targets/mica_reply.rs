//! What micad answers a request.

use libmica::reply::Reply;

/// An answer is complete or not; a marker behind it always completes it, and the text before the marker is kept.
pub fn run(bytes: &[u8]) {
    let _ = Reply::parse(bytes);
    let complete = [bytes, b"MICA-FAILED"].concat();
    let text = String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(Reply::parse(&complete), Some(Reply::Failed(text)));
}
