//! What goes wrong between the shim and Xen.

use std::io;
use std::time::Duration;

/// What went wrong, while what was being done.
#[derive(Debug, thiserror::Error)]
pub enum XenError {
    /// Xen's tools are not installed, or not where they are looked for.
    #[error(
        "xl is not on this node; install Xen's tools (Debian and Ubuntu: xen-utils; Yocto: xen-tools-xl)"
    )]
    NoTools,
    /// An operating system call failed.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done, to what.
        doing: String,
        /// The system's answer.
        source: io::Error,
    },
    /// Xen refused or answered nonsense.
    #[error("{doing}: {answer}")]
    Refused {
        /// What was being done, to what.
        doing: String,
        /// Xen's own words.
        answer: String,
    },
    /// Xen did not answer in time.
    #[error("{doing}: no answer within {} s", .limit.as_secs())]
    Deadline {
        /// What was being done, to what.
        doing: String,
        /// How long was waited.
        limit: Duration,
    },
}

impl XenError {
    /// For `map_err`: an operating system error with what was being done.
    pub fn io<E: Into<io::Error>>(doing: impl Into<String>) -> impl FnOnce(E) -> XenError {
        move |source| XenError::Io { doing: doing.into(), source: source.into() }
    }

    /// A refusal, in Xen's words.
    pub fn refused(doing: impl Into<String>, answer: impl Into<String>) -> XenError {
        XenError::Refused { doing: doing.into(), answer: answer.into() }
    }
}
