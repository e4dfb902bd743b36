//! What can go wrong with micad, and what to do about it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// A value that micad would cut, misread or hand on to a program as something else. Nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// Longer than its field.
    #[error("{field} has {length} bytes, and micad takes {limit} at most")]
    TooLong {
        /// What does not fit.
        field: &'static str,
        /// Its length, bytes.
        length: usize,
        /// The most that fits, bytes.
        limit: usize,
    },
    /// Larger than a number of the message.
    #[error("{field} is {value}, and micad takes {limit} at most")]
    TooLarge {
        /// What does not fit.
        field: &'static str,
        /// Its value.
        value: u32,
        /// The largest that fits.
        limit: u32,
    },
    /// Empty where something is needed.
    #[error("{field} is empty, and micad needs it")]
    Empty {
        /// What is missing.
        field: &'static str,
    },
    /// Has a character that ends or changes the value on its way.
    #[error("{field} has the character {character:?}, which micad would misread")]
    Character {
        /// Which value.
        field: &'static str,
        /// The character.
        character: char,
    },
    /// A name that stands for something else where micad uses it.
    #[error("no client can have the name {name:?}: {why}")]
    Name {
        /// The name.
        name: String,
        /// What it stands for.
        why: &'static str,
    },
}

/// Why a request to micad came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The daemon has never run since the node booted, or was stopped in order.
    #[error("micad is not running: there is no {}; start it, for example with `systemctl start micad`", socket.display())]
    Absent {
        /// The socket that is not there.
        socket: PathBuf,
    },
    /// The daemon died and left its sockets behind.
    #[error("micad has died: nobody listens on {} any more; restart it, for example with `systemctl restart micad`", socket.display())]
    Dead {
        /// The socket that it left.
        socket: PathBuf,
    },
    /// The daemon runs, and has no such client: never created, removed, or forgotten in a restart.
    #[error("micad has no client {name}: there is no {}; it was removed, or micad was restarted and has forgotten it", socket.display())]
    UnknownClient {
        /// The client.
        name: String,
        /// The socket that it would have.
        socket: PathBuf,
    },
    /// Another client has the name.
    #[error("micad already has a client {name}; `mica rm {name}` removes it if nobody needs it")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The daemon said no.
    #[error("micad refused `{doing}`: {}", words(.reason))]
    Refused {
        /// What was asked: the command and the client.
        doing: String,
        /// The daemon's own words. It often has none.
        reason: String,
    },
    /// No complete answer in time.
    #[error(
        "micad did not answer `{doing}` on {} within {} s: it is busy with other guests, hung or dead; \
         its log tells which, and `systemctl restart micad` ends it",
        socket.display(), .limit.as_secs()
    )]
    Timeout {
        /// What was asked: the command and the client.
        doing: String,
        /// The socket.
        socket: PathBuf,
        /// How long was waited.
        limit: Duration,
    },
    /// The connection ended before the answer did. Whether micad did what was asked is not known.
    #[error(
        "micad ended the connection on {} in the middle of its answer to `{doing}`, after {got:?}; \
         it may have died, look at its log",
        socket.display()
    )]
    Broken {
        /// What was asked: the command and the client.
        doing: String,
        /// The socket.
        socket: PathBuf,
        /// What came before the end.
        got: String,
    },
    /// An answer that micad does not give.
    #[error("what listens on {} does not answer `{doing}` as micad does: {got:?}", socket.display())]
    Nonsense {
        /// What was asked: the command and the client.
        doing: String,
        /// The socket.
        socket: PathBuf,
        /// The answer, or how it begins.
        got: String,
    },
    /// The system refused.
    #[error("asking micad on {} for `{doing}`: {source}", socket.display())]
    Io {
        /// What was asked: the command and the client.
        doing: String,
        /// The socket.
        socket: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A value that does not fit. Nothing was sent.
    #[error(transparent)]
    Field(#[from] FieldError),
}

/// The daemon's words as one line. It has none for most failures and writes those to its log instead.
fn words(reason: &str) -> String {
    match reason.trim() {
        "" => "it gave no reason, its log has it (for example `journalctl -u micad`)".to_owned(),
        words => excerpt(words),
    }
}

/// A text from the daemon, escaped and shortened for a message.
pub(crate) fn excerpt(text: &str) -> String {
    const LIMIT: usize = 300;
    let mut short: String = text.chars().take(LIMIT).flat_map(escape).collect();
    if text.chars().nth(LIMIT).is_some() {
        short.push_str("...");
    }
    short
}

/// Control characters only: paths and quotes stay as the daemon wrote them.
fn escape(character: char) -> impl Iterator<Item = char> {
    let escaped = character.is_control().then(|| character.escape_debug());
    let plain = escaped.is_none().then_some(character);
    escaped.into_iter().flatten().chain(plain)
}
