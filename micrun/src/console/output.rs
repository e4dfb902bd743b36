//! What becomes of a guest's bytes on their way to a terminal: a pure function of the stream, however it is
//! cut into pieces. Off a terminal every byte is data and nothing here is used.
//!
//! Two things are taken out. NUL bytes, with which RPMsg consoles fill their messages up. And what a line
//! discipline between guest and shim adds: micad's pty turns LF into CR LF, so a guest that writes CR LF itself
//! arrives as CR CR LF.

use std::borrow::Cow;

const CR: u8 = b'\r';
const LF: u8 = b'\n';
const NUL: u8 = 0;

/// How many carriage returns are kept back to see whether a line feed follows. Each line discipline on the
/// way adds one; more of them are something else.
const MOST_HELD: usize = 8;

/// The rules of a terminal, in the midst of a stream.
#[derive(Debug, Default)]
pub struct TerminalOutput {
    /// The last byte that went out was a carriage return.
    after_cr: bool,
    /// Carriage returns behind that one which have not gone out. Nobody sees them missing: the cursor is at
    /// the line's beginning already.
    held: usize,
}

impl TerminalOutput {
    /// What a terminal gets for the next bytes of a guest. Copies only where something is taken out.
    pub fn apply<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let cr_first = self.after_cr && bytes.first() == Some(&CR);
        if self.held == 0 && !cr_first && !bytes.contains(&NUL) && !has_double_cr(bytes) {
            self.after_cr = bytes.last().map_or(self.after_cr, |last| *last == CR);
            return Cow::Borrowed(bytes);
        }
        let mut kept = Vec::with_capacity(bytes.len() + self.held);
        for byte in bytes {
            self.step(*byte, &mut kept);
        }
        Cow::Owned(kept)
    }

    /// What was kept back, at the end of the stream.
    pub fn end(&mut self) -> &'static [u8] {
        let held = &[CR; MOST_HELD][..self.held];
        *self = TerminalOutput::default();
        held
    }

    fn step(&mut self, byte: u8, kept: &mut Vec<u8>) {
        match byte {
            NUL => {}
            CR if self.after_cr && self.held < MOST_HELD => self.held += 1,
            CR => {
                self.after_cr = true;
                kept.push(CR);
            }
            LF => {
                *self = TerminalOutput::default();
                kept.push(LF);
            }
            other => {
                kept.extend_from_slice(self.end());
                kept.push(other);
            }
        }
    }
}

fn has_double_cr(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| pair == [CR, CR])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(pieces: &[&[u8]]) -> Vec<u8> {
        let mut rules = TerminalOutput::default();
        let mut out = Vec::new();
        for piece in pieces {
            out.extend_from_slice(&rules.apply(piece));
        }
        out.extend_from_slice(rules.end());
        out
    }

    #[test]
    fn the_table() {
        let table: [(&[u8], &[u8]); 12] = [
            (b"plain\n", b"plain\n"),
            (b"one\r\ntwo\r\n", b"one\r\ntwo\r\n"),
            (b"one\r\r\ntwo\r\r\r\n", b"one\r\ntwo\r\n"),
            (b"\r\n\r\n", b"\r\n\r\n"),
            (b"\n\n", b"\n\n"),
            (b"\n\r\n\r", b"\n\r\n\r"),
            (b"50%\r60%\r", b"50%\r60%\r"),
            (b"50%\r\r60%", b"50%\r\r60%"),
            (b"end\r\r", b"end\r\r"),
            (b"\0\0a\0b\0", b"ab"),
            (b"a\r\0\r\0\n", b"a\r\n"),
            (b"\x1b[2J\x03\x10\x11\xff", b"\x1b[2J\x03\x10\x11\xff"),
        ];
        for (bytes, expected) in table {
            assert_eq!(all(&[bytes]), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_carriage_return_is_seen_at_once() {
        let mut rules = TerminalOutput::default();
        assert_eq!(&*rules.apply(b"50%\r"), b"50%\r");
        assert_eq!(&*rules.apply(b"\n"), b"\n");
    }

    #[test]
    fn what_needs_no_change_is_not_copied() {
        let mut rules = TerminalOutput::default();
        assert!(matches!(rules.apply(b"a line\r\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_flood_of_carriage_returns_is_not_kept() {
        let flood = vec![CR; 1000];
        let mut rules = TerminalOutput::default();
        let out = rules.apply(&flood).len();
        assert_eq!(out + rules.end().len(), 1000);
    }

    proptest! {
        #[test]
        fn cutting_changes_nothing(
            bytes in proptest::collection::vec(prop_oneof![Just(CR), Just(LF), Just(NUL), Just(b'x')], 0..60),
            cuts in proptest::collection::vec(0_usize..60, 0..8),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(all(&pieces), all(&[&bytes]));
        }

        #[test]
        fn nothing_else_is_changed(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let without = |of: &[u8]| of.iter().copied().filter(|b| *b != CR && *b != NUL).collect::<Vec<_>>();
            prop_assert_eq!(without(&all(&[&bytes])), without(&bytes));
        }
    }
}
