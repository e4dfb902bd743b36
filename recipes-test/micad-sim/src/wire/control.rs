//! The control messages: a word, or `set` with a key and a value.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;

use super::until_nul;

/// What one recv takes, bytes.
pub const LENGTH: usize = 32;

/// A control message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Load and boot the client's firmware.
    Start,
    /// End the guest and keep the client.
    Stop,
    /// Forget the client.
    Remove,
    /// Tell the client's state and services.
    Status,
    /// Tell the command line of the debugger.
    Gdb,
    /// Change a resource of a running guest.
    Set {
        /// As sent; the pedestal takes it in lower case.
        key: OsString,
        /// Without its 32nd byte and those after it.
        value: OsString,
    },
    /// A `set` that has not exactly a key and a value.
    MalformedSet,
    /// Anything else.
    Unknown(Vec<u8>),
}

impl Command {
    /// Reads what a single recv got, at most [`LENGTH`] bytes.
    pub fn decode(received: &[u8]) -> Command {
        let text = until_nul(&received[..received.len().min(LENGTH)]);
        match text {
            b"start" => Command::Start,
            b"stop" => Command::Stop,
            b"rm" => Command::Remove,
            b"status" => Command::Status,
            b"gdb" => Command::Gdb,
            // Whatever begins so: the daemon compares three bytes.
            _ if text.starts_with(b"set") => Command::decode_set(text),
            _ => Command::Unknown(text.to_vec()),
        }
    }

    fn decode_set(text: &[u8]) -> Command {
        // The daemon copies the text into 32 bytes, the last of which is the NUL.
        let copy = &text[..text.len().min(LENGTH - 1)];
        let mut words = copy.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some(_), Some(key), Some(value), None) => {
                let owned = |word: &[u8]| OsString::from_vec(word.to_vec());
                Command::Set { key: owned(key), value: owned(value) }
            }
            _ => Command::MalformedSet,
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Command::Start => "start",
            Command::Stop => "stop",
            Command::Remove => "rm",
            Command::Status => "status",
            Command::Gdb => "gdb",
            Command::Set { .. } | Command::MalformedSet => "set",
            Command::Unknown(text) => return String::from_utf8_lossy(text).fmt(f),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(key: &str, value: &str) -> Command {
        Command::Set { key: key.into(), value: value.into() }
    }

    #[test]
    fn words_are_compared_whole() {
        assert_eq!(Command::decode(b"start"), Command::Start);
        assert_eq!(Command::decode(b"start\0left from before"), Command::Start);
        for text in ["start\n", "Start", "", "rm all", "pause"] {
            assert_eq!(Command::decode(text.as_bytes()), Command::Unknown(text.into()));
        }
    }

    #[test]
    fn set_is_split_at_blanks_and_loses_its_32nd_byte() {
        assert_eq!(Command::decode(b"set  CPU   1-3 "), set("CPU", "1-3"));
        assert_eq!(Command::decode(b"settle vcpu 2"), set("vcpu", "2"));
        assert_eq!(Command::decode(b"set cpu"), Command::MalformedSet);
        assert_eq!(Command::decode(b"set cpu 1 2"), Command::MalformedSet);
        assert_eq!(
            Command::decode(b"set cpu 01,2,3,4,5,6,7,8,9,10,11"),
            set("cpu", "01,2,3,4,5,6,7,8,9,10,1")
        );
        assert_eq!(
            Command::decode(b"set cpu 1,2,3,4,5,6,7,8,9,10,11"),
            set("cpu", "1,2,3,4,5,6,7,8,9,10,11")
        );
    }
}
