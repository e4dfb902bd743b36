//! Why a registry did not do what it was asked for, and what the user can try.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::login::LoginError;
use super::wire::Said;
use crate::store::StoreError;

/// Why a registry did not do what it was asked for. Every message says what was being done, at which URL (without its
/// query, which may hold secrets), what happened, and what to try.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// There is no connection at all.
    #[error("cannot {at}: no connection: {problem}. {help}")]
    NoConnection {
        /// What was being done, and where.
        at: At,
        /// What the network said.
        problem: String,
        /// What to try.
        help: String,
    },
    /// There is no such host.
    #[error("cannot {at}: there is no host {host}. Check the registry's name, and the network")]
    NoHost {
        /// What was being done, and where.
        at: At,
        /// The host.
        host: String,
    },
    /// The other side is not who it should be, or speaks no TLS.
    #[error("cannot {at}: {problem}. {help}")]
    Tls {
        /// What was being done, and where.
        at: At,
        /// What TLS found.
        problem: String,
        /// What to try.
        help: String,
    },
    /// The connection ended too early, or nothing came over it for too long.
    #[error("cannot {at}: {problem}. Try again: nothing that came half counts as an image")]
    Cut {
        /// What was being done, and where.
        at: At,
        /// How it ended.
        problem: String,
    },
    /// The registry says no.
    #[error("cannot {at}: the registry answers {}{}. {help}", Status(*status), Saying(said.as_deref()))]
    Refused {
        /// What was being done, and where.
        at: At,
        /// HTTP's status.
        status: u16,
        /// What the registry said itself.
        said: Option<Box<Said>>,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
        /// What to try.
        help: String,
    },
    /// The answer is none that a registry gives.
    #[error("cannot {at}: {problem}. Is it a registry, and is nothing between here and it?")]
    Nonsense {
        /// What was being done, and where.
        at: At,
        /// What is wrong with the answer.
        problem: String,
    },
    /// It was tried several times.
    #[error("{last} (given up after {tries} tries)")]
    GaveUp {
        /// How often it was tried.
        tries: u32,
        /// What happened the last time.
        #[source]
        last: Box<RegistryError>,
    },
    /// A file with certificates is of no use.
    #[error("cannot use the certificates in {path}: {problem}. Give --ca-file a PEM file of CA certificates")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        problem: String,
    },
    /// Stored credentials cannot be used.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// What is to be sent cannot be read.
    #[error(transparent)]
    Data(Box<StoreError>),
    /// The name and what is to be put under it do not go together.
    #[error("{0}")]
    Name(String),
}

/// What was being done, and where: `read the manifest of v1 at https://registry.example/v2/...`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At(Box<(String, String)>);

impl At {
    pub(super) fn new(doing: &str, url: String) -> Self {
        At(Box::new((doing.to_owned(), url)))
    }

    /// What was being done: `read the manifest of v1`.
    pub fn doing(&self) -> &str {
        &self.0.0
    }

    /// The URL without its query.
    pub fn url(&self) -> &str {
        &self.0.1
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.doing(), self.url())
    }
}

impl From<StoreError> for RegistryError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Registry(error) => *error,
            error => RegistryError::Data(Box::new(error)),
        }
    }
}

impl From<RegistryError> for StoreError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Data(error) => *error,
            error => StoreError::Registry(Box::new(error)),
        }
    }
}

impl RegistryError {
    /// True for what may go better the next time.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            RegistryError::NoConnection { .. } | RegistryError::Cut { .. } => true,
            // The statuses that RFC 9110 and 6585 call temporary.
            RegistryError::Refused { status, .. } => {
                matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
            }
            _ => false,
        }
    }

    /// HTTP's status, where there was an answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            RegistryError::Refused { status, .. } => Some(*status),
            RegistryError::GaveUp { last, .. } => last.status(),
            _ => None,
        }
    }

    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            RegistryError::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// True if the registry named this code of its own.
    pub(super) fn has_code(&self, code: &str) -> bool {
        matches!(self, RegistryError::Refused { said: Some(said), .. } if said.is(code))
    }

    /// What happened without what to try, for those who are told that it is tried again.
    pub(super) fn reason(&self) -> String {
        match self {
            RegistryError::NoConnection { problem, .. } => format!("no connection: {problem}"),
            RegistryError::Cut { problem, .. } => problem.clone(),
            RegistryError::Refused { status, .. } => format!("the registry answers {}", Status(*status)),
            other => other.to_string(),
        }
    }
}

/// `404 Not Found`.
struct Status(u16);

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = ureq::http::StatusCode::from_u16(self.0).ok().and_then(|code| code.canonical_reason());
        match name {
            Some(name) => write!(f, "{} {name}", self.0),
            None => write!(f, "{}", self.0),
        }
    }
}

/// ` (UNAUTHORIZED: authentication required)`, or nothing.
struct Saying<'a>(Option<&'a Said>);

impl fmt::Display for Saying<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |said| write!(f, " ({said})"))
    }
}
