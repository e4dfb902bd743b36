//! QMP, the emulator's control protocol: one JSON object a line, both ways (QEMU, docs/interop/qmp-spec).

use serde::Deserialize;
use serde_json::Value;

/// Longest line taken from the emulator, bytes. Its answers to the few commands sent here are far
/// shorter; a line beyond this comes from a broken or hostile emulator.
pub const MAX_LINE: usize = 64 * 1024;

/// One line from the emulator.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// The first line; commands are taken after it.
    Greeting,
    /// The answer to the command of this number.
    Answer(u64, Answer),
    /// Something happened.
    Event(Event),
}

/// What became of a command: carried out, or refused in the emulator's words.
pub type Answer = Result<(), String>;

/// The events that decide what became of a guest. All others are [`Event::Other`].
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The emulated machine ended.
    Shutdown(ShutdownReason),
    /// The emulated machine was reset and goes on.
    Reset {
        /// Whether the guest itself asked for it.
        by_guest: bool,
    },
    /// The guest told its panic device that it crashed.
    GuestPanicked,
    /// The guest's clock stands still.
    Stopped,
    /// And goes on.
    Resumed,
    /// Of no consequence here.
    Other,
}

/// QEMU's `ShutdownCause` (qapi/run-state.json), by what it means for a guest.
#[derive(Clone, Debug, PartialEq)]
pub enum ShutdownReason {
    /// `guest-shutdown`: the guest powered itself off.
    Guest,
    /// `guest-reset`: the guest reset itself, and resets end this emulator (`-no-reboot`).
    GuestReset,
    /// `guest-panic`: the guest crashed.
    GuestPanic,
    /// Everything else: the emulator was told to end or failed.
    Host(String),
}

/// Why a line is not QMP.
#[derive(Debug, thiserror::Error)]
pub enum QmpError {
    /// Not JSON, or JSON of another shape.
    #[error("not a QMP message: {0}")]
    Malformed(#[from] serde_json::Error),
    /// None of the four kinds of message.
    #[error("a QMP message of no known kind")]
    UnknownKind,
}

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "QMP")]
    greeting: Option<Value>,
    #[serde(rename = "return")]
    done: Option<Value>,
    error: Option<ErrorBody>,
    /// Ours are numbers. An answer without one is to a line that could not be read.
    #[serde(default)]
    id: u64,
    event: Option<String>,
    #[serde(default)]
    data: EventData,
}

#[derive(Deserialize)]
struct ErrorBody {
    #[serde(default)]
    desc: String,
}

#[derive(Default, Deserialize)]
struct EventData {
    #[serde(default)]
    guest: bool,
    #[serde(default)]
    reason: String,
}

impl Message {
    /// Reads one line, without its line end.
    ///
    /// # Errors
    ///
    /// [`QmpError`] for anything but a QMP message.
    pub fn parse(line: &[u8]) -> Result<Message, QmpError> {
        let line: Line = serde_json::from_slice(line)?;
        match line {
            Line { event: Some(name), data, .. } => Ok(Message::Event(Event::new(&name, data))),
            Line { error: Some(body), id, .. } => Ok(Message::Answer(id, Err(body.desc))),
            Line { done: Some(_), id, .. } => Ok(Message::Answer(id, Ok(()))),
            Line { greeting: Some(_), .. } => Ok(Message::Greeting),
            _ => Err(QmpError::UnknownKind),
        }
    }
}

impl Event {
    fn new(name: &str, data: EventData) -> Event {
        match name {
            "SHUTDOWN" => Event::Shutdown(match data.reason.as_str() {
                "guest-shutdown" => ShutdownReason::Guest,
                "guest-reset" => ShutdownReason::GuestReset,
                "guest-panic" => ShutdownReason::GuestPanic,
                _ => ShutdownReason::Host(data.reason),
            }),
            "RESET" => Event::Reset { by_guest: data.guest },
            "GUEST_PANICKED" => Event::GuestPanicked,
            "STOP" => Event::Stopped,
            "RESUME" => Event::Resumed,
            _ => Event::Other,
        }
    }
}

/// A command without arguments, as a line. Its answer carries the same number.
pub fn command(id: u64, name: &str) -> String {
    format!("{{\"execute\":\"{name}\",\"id\":{id}}}\n")
}

/// Cuts a byte stream into lines.
#[derive(Debug, Default)]
pub struct Lines {
    buffer: Vec<u8>,
}

impl Lines {
    /// Takes bytes in and gives the lines that are complete.
    ///
    /// # Errors
    ///
    /// `None` where a line grows beyond [`MAX_LINE`]: what follows cannot be told apart any more.
    pub fn feed(&mut self, bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
        let mut lines = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.buffer.len() + part.len() > MAX_LINE {
                self.buffer = Vec::new();
                return None;
            }
            self.buffer.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.buffer);
                let text = line.trim_ascii();
                if !text.is_empty() {
                    lines.push(text.to_vec());
                }
            }
        }
        Some(lines)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Lines as QEMU 7.2 wrote them.
    #[test]
    fn understands_what_qemu_says() {
        let table: [(&str, Message); 6] = [
            (
                r#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}}, "capabilities": ["oob"]}}"#,
                Message::Greeting,
            ),
            (r#"{"return": {}, "id": 3}"#, Message::Answer(3, Ok(()))),
            (
                r#"{"id": 4, "error": {"class": "CommandNotFound", "desc": "The command x has not been found"}}"#,
                Message::Answer(4, Err("The command x has not been found".into())),
            ),
            (
                r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}"#,
                Message::Event(Event::Shutdown(ShutdownReason::Guest)),
            ),
            (
                r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "RESET", "data": {"guest": true, "reason": "guest-reset"}}"#,
                Message::Event(Event::Reset { by_guest: true }),
            ),
            (
                r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "RESUME"}"#,
                Message::Event(Event::Resumed),
            ),
        ];
        for (line, message) in table {
            assert_eq!(Message::parse(line.as_bytes()).unwrap(), message, "{line}");
        }
    }

    #[test]
    fn lines_may_arrive_in_pieces() {
        let mut lines = Lines::default();
        assert_eq!(lines.feed(b"{\"a\":1}\r\n{\"b").unwrap(), [b"{\"a\":1}"]);
        assert_eq!(lines.feed(b"\":2}").unwrap(), Vec::<Vec<u8>>::new());
        assert_eq!(lines.feed(b"\n\n").unwrap(), [b"{\"b\":2}"]);
    }

    #[test]
    fn an_endless_line_is_given_up() {
        let mut lines = Lines::default();
        let chunk = [b'x'; 4096];
        assert!((0..20).any(|_| lines.feed(&chunk).is_none()));
        assert!(lines.buffer.len() <= MAX_LINE);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = Message::parse(&bytes);
            let _ = Lines::default().feed(&bytes);
        }

        #[test]
        fn cuts_do_not_matter(text in "([a-z{}\":]{0,20}\n){0,8}", cut in 0_usize..100) {
            let whole = Lines::default().feed(text.as_bytes()).unwrap();
            let (a, b) = text.as_bytes().split_at(cut.min(text.len()));
            let mut lines = Lines::default();
            let mut parts = lines.feed(a).unwrap();
            parts.extend(lines.feed(b).unwrap());
            prop_assert_eq!(whole, parts);
        }
    }
}
