//! What typed bytes mean: a pure function from bytes to what is to be done with them.
//!
//! An RTOS has no signals and often no line discipline, so on a terminal the shim itself turns Ctrl-C into
//! a stop. It is the only key that it interprets, and only there: in a pipe every byte is data.

/// Ctrl-C (ASCII ETX).
const INTERRUPT: u8 = 0x03;

/// What to do with bytes from the engine's stdin.
#[derive(Debug, PartialEq, Eq)]
pub struct Input<'a> {
    /// For the guest.
    pub forward: &'a [u8],
    /// Stop the guest afterwards; what was typed behind the Ctrl-C is gone.
    pub interrupt: bool,
}

/// Reads bytes as typed on a terminal, or as data.
pub fn interpret(bytes: &[u8], terminal: bool) -> Input<'_> {
    match bytes.iter().position(|byte| *byte == INTERRUPT) {
        Some(at) if terminal => Input { forward: &bytes[..at], interrupt: true },
        _ => Input { forward: bytes, interrupt: false },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table() {
        let table: [(&[u8], bool, &[u8], bool); 6] = [
            (b"help\n", true, b"help\n", false),
            (b"help\n", false, b"help\n", false),
            (b"ab\x03cd", true, b"ab", true),
            (b"ab\x03cd", false, b"ab\x03cd", false),
            (b"\x10\x11", true, b"\x10\x11", false),
            (b"", true, b"", false),
        ];
        for (bytes, terminal, forward, interrupt) in table {
            assert_eq!(interpret(bytes, terminal), Input { forward, interrupt }, "{bytes:?} {terminal}");
        }
    }
}
