//! Registries for tests: Debian's, one that follows a script, one that keeps interrupted uploads; and a line that breaks.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

pub mod certificates;
pub mod debian;
pub mod image;
pub mod proxy;
pub mod script;
pub mod sessions;
pub mod tokens;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use micrun_image_builder::registry::{Credential, Login, Options, Registry, RegistryName};
use micrun_image_builder::store::progress::Progress;

/// Remembers what it was told of repetitions: the reason and the offset.
#[derive(Default, Clone)]
pub struct Retries(Arc<Mutex<Vec<(String, u64)>>>);

impl Retries {
    pub fn list(&self) -> Vec<(String, u64)> {
        self.0.lock().unwrap().clone()
    }
}

impl Progress for Retries {
    fn begin(&self, _name: &str, _size: u64) {}
    fn advance(&self, _bytes: u64) {}
    fn retry(&self, reason: &str, _delay_ms: u64, offset: u64) {
        self.0.lock().unwrap().push((reason.to_owned(), offset));
    }
    fn end(&self) {}
}

/// Without TLS and credentials, and with no patience.
pub fn options() -> Options {
    Options {
        plain_http: true,
        login: Login::Anonymous,
        first_delay: Duration::from_millis(20),
        longest_delay: Duration::from_millis(100),
        connect_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(30),
        ..Options::default()
    }
}

pub fn password(user: &str, password: &str) -> Login {
    Login::Given(Credential::Password { user: user.to_owned(), password: password.to_owned() })
}

/// The image `a/b:v1` of the registry at an address.
pub fn name(address: impl std::fmt::Display) -> RegistryName {
    format!("docker://{address}/a/b:v1").parse().unwrap()
}

pub fn registry(options: Options) -> Registry {
    Registry::new(options)
}
