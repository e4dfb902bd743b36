//! A terminal's control sequences among the text (ECMA-48), told apart byte by byte.

/// Longest sequence that is waited for, bytes. What is longer is text that looks like one.
const LIMIT: u8 = 64;

/// What a byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Text, or a control character that is none of the others.
    Text,
    /// LF.
    LineFeed,
    /// CR.
    CarriageReturn,
    /// NUL, which fills up the messages of RPMsg consoles.
    Padding,
    /// Part of a sequence that changes how text looks.
    Escape,
    /// The end of a sequence that moves the cursor or erases: the line is written anew.
    Moves,
}

/// Where in a sequence the stream is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Escapes {
    /// In none.
    #[default]
    Text,
    /// Behind ESC.
    Begun,
    /// In a control sequence (ESC `[`) of so many bytes.
    Control(u8),
    /// In a control string (ESC `]` and others) of so many bytes.
    String(u8),
}

impl Escapes {
    /// What the next byte is.
    pub fn read(&mut self, byte: u8) -> Piece {
        let (next, piece) = match (*self, byte) {
            (_, 0x1b) => (Escapes::Begun, Piece::Escape),
            (Escapes::Begun, b'[') => (Escapes::Control(0), Piece::Escape),
            (Escapes::Begun, b']' | b'P' | b'X' | b'^' | b'_') => (Escapes::String(0), Piece::Escape),
            (Escapes::Begun, b' '..=b'/') => (Escapes::Begun, Piece::Escape),
            (Escapes::Begun, b'0'..=b'~') => (Escapes::Text, Piece::Escape),
            (Escapes::Control(length @ ..LIMIT), b' '..=b'?') => {
                (Escapes::Control(length + 1), Piece::Escape)
            }
            // Cursor back, to a column, to a place; erase in the display.
            (Escapes::Control(_), b'D' | b'G' | b'H' | b'f' | b'J') => (Escapes::Text, Piece::Moves),
            (Escapes::Control(_), b'@'..=b'~') => (Escapes::Text, Piece::Escape),
            // BEL ends a string; so does ESC `\`.
            (Escapes::String(_), 0x07) => (Escapes::Text, Piece::Escape),
            (Escapes::String(length @ ..LIMIT), b' '..) => (Escapes::String(length + 1), Piece::Escape),
            // Text; or a sequence that is broken off, or is none.
            _ => (Escapes::Text, plain(byte)),
        };
        *self = next;
        piece
    }
}

fn plain(byte: u8) -> Piece {
    match byte {
        b'\n' => Piece::LineFeed,
        b'\r' => Piece::CarriageReturn,
        0 => Piece::Padding,
        _ => Piece::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> Vec<u8> {
        let mut escapes = Escapes::default();
        bytes.iter().copied().filter(|byte| escapes.read(*byte) == Piece::Text).collect()
    }

    #[test]
    fn sequences_are_no_text() {
        let table: [(&[u8], &[u8]); 9] = [
            (b"\x1b[1;32muart:~$ \x1b[m", b"uart:~$ "),
            (b"a\x1b[8D\x1b[Jb", b"ab"),
            (b"\x1b]0;a title\x07x", b"x"),
            (b"\x1b]0;a title\x1b\\x", b"x"),
            (b"\x1b(Bx", b"x"),
            (b"\x1bcx", b"x"),
            (b"\x1b[1\nx", b"x"),
            (b"\x1b[1\x1b[2mx", b"x"),
            (b"a\0b\r\nc", b"abc"),
        ];
        for (bytes, expected) in table {
            assert_eq!(text(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_sequence_without_end_is_text_at_last() {
        let endless = [b"\x1b[".as_slice(), &[b'1'; 1000]].concat();
        assert_eq!(text(&endless).len(), 1000 - usize::from(LIMIT));
    }
}
