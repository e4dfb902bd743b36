//! Registries: a client of the OCI distribution API (distribution-spec 1.1), and a [`Source`] and a [`Sink`] over it.
//!
//! | module | what it knows |
//! | --- | --- |
//! | `name` | what images in registries are called |
//! | `login` | where credentials are |
//! | `auth` | how a registry wants them: Basic, or tokens |
//! | `connect` | TLS, proxies and timeouts; one request, one answer |
//! | `call` | a request, and an answer to it |
//! | `client` | the same with credentials, redirections and repetitions |
//! | `retry` | how often and how long |
//! | `pull` | reads manifests and blobs, and goes on where the connection broke |
//! | `push` | the images' way up; `upload` moves one blob |
//! | `referrers` | what refers to an image, by the API or by the tag that replaces it |
//! | [`wire`] | parsers of what comes from outside |
//!
//! Everything blocks. A blob of any size takes the same memory, both ways.
//!
//! [`Source`]: crate::store::Source
//! [`Sink`]: crate::store::Sink

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::store::progress::{Progress, Silent};

mod auth;
mod call;
mod client;
mod connect;
mod error;
pub mod login;
mod name;
mod pull;
mod push;
mod referrers;
mod retry;
mod upload;
pub mod wire;

pub use error::{At, RegistryError};
pub use login::{Credential, Login};
pub use name::RegistryName;
pub use pull::RegistrySource;
pub use push::RegistrySink;

use client::Client;
use connect::Connector;

/// How registries are spoken to.
#[derive(Clone)]
pub struct Options {
    /// PEM files with CA certificates that are trusted besides the system's.
    pub ca_files: Vec<PathBuf>,
    /// HTTP without TLS. Everybody on the way can read the credentials then.
    pub plain_http: bool,
    /// Where credentials come from.
    pub login: Login,
    /// What registries are told who is there.
    pub user_agent: String,
    /// How often a request is repeated that failed for a reason that may pass.
    pub retries: u32,
    /// How long it waits before the first repetition; every further time twice as long.
    pub first_delay: Duration,
    /// How long it waits at most, whatever the registry asks for.
    pub longest_delay: Duration,
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// How long nothing may come or go over a connection. Registries are silent while they verify a large layer.
    pub idle_timeout: Duration,
    /// Told when a transfer is interrupted and goes on. (Who moves the bytes knows the rest.)
    pub progress: Arc<dyn Progress + Send + Sync>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            ca_files: Vec::new(),
            plain_http: false,
            login: Login::default(),
            user_agent: concat!("micrun-image-builder/", env!("CARGO_PKG_VERSION")).to_owned(),
            retries: 4,
            first_delay: Duration::from_millis(500),
            longest_delay: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(20),
            idle_timeout: Duration::from_secs(120),
            progress: Arc::new(Silent),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { ca_files, plain_http, login, retries, .. } = self;
        write!(f, "Options {{ {ca_files:?}, plain_http: {plain_http}, {login:?}, retries: {retries}, .. }}")
    }
}

/// Registries, as the options say. Certificates are read once, connections are used again.
#[derive(Debug, Clone)]
pub struct Registry {
    connector: Arc<Connector>,
}

impl Registry {
    /// Nothing is read or connected yet.
    pub fn new(options: Options) -> Self {
        Registry { connector: Arc::new(Connector::new(options)) }
    }

    /// Reads the image of that name.
    pub fn source(&self, name: &RegistryName) -> RegistrySource {
        RegistrySource::new(Client::new(Arc::clone(&self.connector), name.clone(), client::Access::Pull))
    }

    /// Writes an image under that name.
    pub fn sink(&self, name: &RegistryName) -> RegistrySink {
        RegistrySink::new(Client::new(Arc::clone(&self.connector), name.clone(), client::Access::Push))
    }
}
