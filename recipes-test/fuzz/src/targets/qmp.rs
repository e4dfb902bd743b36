//! What QEMU answers the runtime.

// The file alone: the rest of the runtime brings a hundred crates, which would all be built for the fuzzer.
#[path = "../../../../micrun/src/pedestal/qemu/qmp.rs"]
#[allow(dead_code, reason = "commands are written, not read")]
mod parser;

use super::check_error;
use parser::{Lines, Message};

/// Cuts the input into lines, whatever the pieces in which it comes, and reads each.
pub fn run(bytes: &[u8]) {
    let whole = Lines::default().feed(bytes);
    let mut lines = Lines::default();
    let in_pieces: Option<Vec<_>> = bytes.chunks(7).map(|piece| lines.feed(piece)).collect();
    assert_eq!(whole, in_pieces.map(|pieces| pieces.concat()));
    for line in whole.into_iter().flatten() {
        if let Err(error) = Message::parse(&line) {
            check_error(&error);
        }
    }
}
