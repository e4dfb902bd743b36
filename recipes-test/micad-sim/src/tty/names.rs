//! The names of ttys: `/dev/ttyRPMSG0`, or with the client's name in them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::FirstWords;

/// How a build of the daemon names ttys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// `ttyRPMSG<n>`, ten of them for all clients.
    Legacy,
    /// `ttyRPMSG_<client>_<n>` (RPMSG_TTY_USE_CLIENT_NAME).
    ClientName,
}

/// How many numbers a legacy build has.
const LEGACY: u32 = 10;

/// The ttys of one daemon.
#[derive(Debug)]
pub struct Ttys {
    dev: PathBuf,
    naming: Naming,
    first_words: FirstWords,
    /// The numbers in use, by what stands before them.
    used: Mutex<BTreeMap<String, BTreeSet<u32>>>,
}

impl Ttys {
    /// None yet. `dev` is where links go: `/dev`, or a test's folder.
    pub fn new(dev: PathBuf, naming: Naming, first_words: FirstWords) -> Ttys {
        Ttys { dev, naming, first_words, used: Mutex::default() }
    }

    /// When guests say their first words.
    pub fn first_words(&self) -> FirstWords {
        self.first_words
    }

    /// A name for a client's next tty, or none where none is left.
    pub fn take(&self, client: &str) -> Option<Name<'_>> {
        let (prefix, limit) = match self.naming {
            Naming::Legacy => ("ttyRPMSG".to_owned(), LEGACY),
            Naming::ClientName => (format!("ttyRPMSG_{}_", sanitized(client)), u32::MAX),
        };
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let numbers = used.entry(prefix.clone()).or_default();
        let number = (0..limit).find(|number| !numbers.contains(number))?;
        numbers.insert(number);
        Some(Name { link: self.dev.join(format!("{prefix}{number}")), ttys: self, prefix, number })
    }
}

/// A name in use. Dropping it gives its number back.
#[derive(Debug)]
pub struct Name<'a> {
    ttys: &'a Ttys,
    prefix: String,
    number: u32,
    link: PathBuf,
}

impl Name<'_> {
    /// Where the link is.
    pub fn link(&self) -> &Path {
        &self.link
    }
}

impl Drop for Name<'_> {
    fn drop(&mut self) {
        let mut used = self.ttys.used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(numbers) = used.get_mut(&self.prefix) {
            numbers.remove(&self.number);
        }
    }
}

/// Bytes that a name in `/dev` shall not have become `_`.
fn sanitized(client: &str) -> String {
    let kept = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    client.bytes().map(|byte| if kept(byte) { char::from(byte) } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ttys(naming: Naming) -> Ttys {
        Ttys::new("/dev".into(), naming, FirstWords::WhenSpokenTo)
    }

    #[test]
    fn a_legacy_build_has_ten() {
        let ttys = ttys(Naming::Legacy);
        let mut taken: Vec<_> = (0..10).map(|_| ttys.take("a").unwrap()).collect();
        assert!(ttys.take("b").is_none());
        assert_eq!(taken[9].link(), Path::new("/dev/ttyRPMSG9"));
        taken.remove(3);
        assert_eq!(ttys.take("b").unwrap().link(), Path::new("/dev/ttyRPMSG3"));
    }

    #[test]
    fn a_newer_build_counts_for_each_client() {
        let ttys = ttys(Naming::ClientName);
        let first = ttys.take("a.b").unwrap();
        assert_eq!(first.link(), Path::new("/dev/ttyRPMSG_a_b_0"));
        assert_eq!(ttys.take("a.b").unwrap().link(), Path::new("/dev/ttyRPMSG_a_b_1"));
        assert_eq!(ttys.take("c").unwrap().link(), Path::new("/dev/ttyRPMSG_c_0"));
    }
}
