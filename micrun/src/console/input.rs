//! What is done with the engine's stdin: a state machine without IO.
//!
//! ```text
//!   OPEN ──CloseIO──> CLOSING ──FIFO is empty──> ENDED
//! ```
//!
//! While it is open, bytes are waited for. Once the engine has closed it, what is in the FIFO already is still
//! taken, to the last byte. A command that has the console, or a guest that takes nothing, holds the input up;
//! nothing is lost by that.
//!
//! An RTOS has no signals and often no line discipline, so on a terminal the shim itself turns Ctrl-C into
//! a stop. It is the only key that it interprets, and only there: in a pipe every byte is data. As on a
//! terminal of Linux, the key is taken out and what was typed around it stays.

use std::borrow::Cow;

/// Ctrl-C (ASCII ETX).
const INTERRUPT: u8 = 0x03;

/// How much input waits for a guest that does not take it, bytes. More stays in the FIFO.
const WAITING: usize = 64 * 1024;

/// The same on a terminal: a Ctrl-C behind a long paste into a guest that hangs must be seen.
const WAITING_ON_TERMINAL: usize = 1024 * 1024;

/// The input of a container.
#[derive(Debug)]
pub struct Input {
    phase: Phase,
    interprets: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    Closing,
    Ended,
}

/// What to do with stdin next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Read it when bytes are there.
    Await,
    /// Read it at once: the rest of it is there, or nothing.
    TakeRest,
    /// Leave it alone for now.
    Hold,
    /// Close it: nothing comes from there any more.
    Close,
}

/// What bytes from stdin mean.
#[derive(Debug, PartialEq, Eq)]
pub struct Typed<'a> {
    /// For the guest.
    pub forward: Cow<'a, [u8]>,
    /// Stop the guest.
    pub interrupt: bool,
}

impl Input {
    /// The input of a container. On a terminal whose keys have a meaning it `interprets`.
    pub fn new(interprets: bool) -> Input {
        Input { phase: Phase::Open, interprets }
    }

    /// What to do next, while the guest has not taken `waiting` bytes yet. Nothing is read while a command is
    /// `typing`.
    pub fn next(&self, waiting: usize, typing: bool) -> Next {
        let limit = if self.interprets { WAITING_ON_TERMINAL } else { WAITING };
        match self.phase {
            Phase::Ended => Next::Close,
            _ if typing || waiting >= limit => Next::Hold,
            Phase::Open => Next::Await,
            Phase::Closing => Next::TakeRest,
        }
    }

    /// What these bytes mean.
    pub fn typed<'a>(&self, bytes: &'a [u8]) -> Typed<'a> {
        if !self.interprets || !bytes.contains(&INTERRUPT) {
            return Typed { forward: Cow::Borrowed(bytes), interrupt: false };
        }
        let rest = bytes.iter().copied().filter(|byte| *byte != INTERRUPT).collect();
        Typed { forward: Cow::Owned(rest), interrupt: true }
    }

    /// The engine writes no more.
    pub fn close(&mut self) {
        if self.phase == Phase::Open {
            self.phase = Phase::Closing;
        }
    }

    /// There was nothing to read.
    pub fn found_empty(&mut self) {
        if self.phase == Phase::Closing {
            self.phase = Phase::Ended;
        }
    }

    /// Stdin cannot be read any more.
    pub fn end(&mut self) {
        self.phase = Phase::Ended;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_bytes_mean() {
        let table: [(&[u8], bool, &[u8], bool); 9] = [
            (b"help\n", true, b"help\n", false),
            (b"help\n", false, b"help\n", false),
            (b"\x03", true, b"", true),
            (b"\x03", false, b"\x03", false),
            (b"ab\x03cd", true, b"abcd", true),
            (b"ab\x03cd", false, b"ab\x03cd", false),
            (b"\x03\x03", true, b"", true),
            // Ctrl-P Ctrl-Q, Ctrl-D, Ctrl-Z, Ctrl-\, an arrow key: the guest's.
            (b"\x10\x11\x04\x1a\x1c\x1b[A\0\xff", true, b"\x10\x11\x04\x1a\x1c\x1b[A\0\xff", false),
            (b"", true, b"", false),
        ];
        for (bytes, interprets, forward, interrupt) in table {
            let expected = Typed { forward: forward.into(), interrupt };
            assert_eq!(Input::new(interprets).typed(bytes), expected, "{bytes:?} {interprets}");
        }
    }

    #[test]
    fn what_comes_next() {
        use Phase::{Closing, Ended, Open};
        let table = [
            (Open, 0, false, Next::Await),
            (Open, WAITING - 1, false, Next::Await),
            (Open, WAITING, false, Next::Hold),
            (Open, 0, true, Next::Hold),
            (Closing, 0, false, Next::TakeRest),
            (Closing, WAITING, false, Next::Hold),
            (Closing, 0, true, Next::Hold),
            (Ended, 0, false, Next::Close),
            (Ended, WAITING, true, Next::Close),
        ];
        for (phase, waiting, typing, expected) in table {
            let input = Input { phase, interprets: false };
            assert_eq!(input.next(waiting, typing), expected, "{phase:?} {waiting} {typing}");
        }
        assert_eq!(Input::new(true).next(WAITING, false), Next::Await, "Ctrl-C may come");
        assert_eq!(Input::new(true).next(WAITING_ON_TERMINAL, false), Next::Hold);
    }

    #[test]
    fn only_a_close_ends_it_and_only_when_it_is_empty() {
        let mut input = Input::new(false);
        input.found_empty();
        assert_eq!(input.phase, Phase::Open, "a FIFO that is empty for now");
        input.close();
        input.close();
        assert_eq!(input.phase, Phase::Closing);
        input.found_empty();
        assert_eq!(input.phase, Phase::Ended);
        input.close();
        assert_eq!(input.phase, Phase::Ended, "it does not open again");
    }

    proptest! {
        #[test]
        fn cutting_changes_nothing(
            bytes in proptest::collection::vec(prop_oneof![Just(INTERRUPT), any::<u8>()], 0..40),
            cut in 0_usize..40,
            interprets: bool,
        ) {
            let input = Input::new(interprets);
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            let (whole, head, tail) = (input.typed(&bytes), input.typed(head), input.typed(tail));
            prop_assert_eq!(whole.forward.to_vec(), [head.forward, tail.forward].concat());
            prop_assert_eq!(whole.interrupt, head.interrupt || tail.interrupt);
        }
    }
}
