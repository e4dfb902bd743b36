//! What systemd answers the runtime.

// The file alone: the rest of the runtime brings a hundred crates, which would all be built for the fuzzer.
#[path = "../../../../micrun/src/cgroup/systemd/wire.rs"]
#[allow(dead_code, reason = "calls are written, not read")]
mod parser;

use super::check_error;
use parser::{MAX_MESSAGE, Message, PREFIX, length};

/// Reads the length that the beginning promises, and then the message.
pub fn run(bytes: &[u8]) {
    let Some(prefix) = bytes.first_chunk::<PREFIX>() else { return };
    match length(prefix) {
        Ok(length) => assert!((PREFIX..=MAX_MESSAGE).contains(&length)),
        Err(error) => check_error(&error),
    }
    if let Err(error) = Message::parse(bytes) {
        check_error(&error);
    }
}
