//! The bytes that come in and go out, without sockets.
//!
//! - [`create`]: the message to the create socket
//! - [`control`]: the messages to a client's socket
//! - [`status`]: the line that answers `status`
//! - [`table`]: the resource table in a firmware file
//!
//! All of it reads bytes from outside as the C code of the original does, except that nothing is read behind a
//! buffer's end: what would be undefined there is an end of the text here.

pub mod control;
pub mod create;
pub mod status;
pub mod table;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// After the answer's text where the daemon did what it was told.
pub const SUCCESS: &[u8] = b"MICA-SUCCESS";
/// After the answer's text where it did not.
pub const FAILED: &[u8] = b"MICA-FAILED";

/// The text of a C string in a buffer: up to the first NUL, or all of it.
fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// The text of a `char[N]` whose last byte is overwritten with NUL, as the daemon does.
fn terminated(field: &[u8]) -> OsString {
    let text = field.split_last().map_or(field, |(_, most)| most);
    OsString::from_vec(until_nul(text).to_vec())
}
