//! What engines call a stream: nothing, the path of a FIFO, or a URI.
//!
//! URIs are read as containerd's own shim reads them (Go's `net/url`): percent-encoded, a fragment is no part
//! of them, and a logging program gets the first value of each key of the query. What differs: Go passes
//! several keys in an order of its own making, here they keep the one in which they stand.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode;

/// A stream's name, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// There is no such stream.
    None,
    /// A FIFO, which both sides open.
    Fifo(PathBuf),
    /// A file to append to.
    File(PathBuf),
    /// A program that takes the output.
    Logger(LoggerUri),
}

/// A logging program, as its URI describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggerUri {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Whether it has to say that it is ready (`binary-v2`, containerd 2.3 and later), or may just close the
    /// descriptor for that.
    pub says_ready: bool,
}

impl Name {
    /// Understands a name; `None` for one that is neither an absolute path nor a URI of a known kind.
    pub fn parse(name: &str) -> Option<Name> {
        match name.split_once("://") {
            None if name.is_empty() => Some(Name::None),
            None => absolute(name.as_bytes()).map(Name::Fifo),
            Some(("fifo", path)) => absolute(path.as_bytes()).map(Name::Fifo),
            Some(("file", rest)) => Uri::parse(rest).path().map(Name::File),
            Some(("binary", rest)) => Uri::parse(rest).logger(false).map(Name::Logger),
            Some(("binary-v2", rest)) => Uri::parse(rest).logger(true).map(Name::Logger),
            Some(_) => None,
        }
    }
}

/// What follows the `://`.
struct Uri<'a> {
    path: &'a str,
    query: &'a str,
}

impl<'a> Uri<'a> {
    fn parse(rest: &'a str) -> Uri<'a> {
        let rest = rest.split('#').next().unwrap_or(rest);
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        Uri { path, query }
    }

    fn path(&self) -> Option<PathBuf> {
        let path: Cow<'_, [u8]> = percent_decode(self.path.as_bytes()).into();
        absolute(&path)
    }

    fn logger(&self, says_ready: bool) -> Option<LoggerUri> {
        Some(LoggerUri { program: self.path()?, arguments: self.arguments(), says_ready })
    }

    /// Each key followed by its first value.
    fn arguments(&self) -> Vec<OsString> {
        let mut pairs: Vec<(OsString, OsString)> = Vec::new();
        for pair in self.query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let key = form_decode(key);
            if pairs.iter().all(|(known, _)| *known != key) {
                pairs.push((key, form_decode(value)));
            }
        }
        pairs.into_iter().flat_map(|(key, value)| [key, value]).collect()
    }
}

/// A word of a query: a plus sign is a blank there.
fn form_decode(word: &str) -> OsString {
    let word = word.replace('+', " ");
    let word: Cow<'_, [u8]> = percent_decode(word.as_bytes()).into();
    OsStr::from_bytes(&word).to_owned()
}

fn absolute(path: &[u8]) -> Option<PathBuf> {
    let path = Path::new(OsStr::from_bytes(path));
    path.is_absolute().then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
    use proptest::prelude::*;

    use super::*;

    fn logger(program: &str, arguments: &[&str]) -> Option<Name> {
        let arguments = arguments.iter().map(Into::into).collect();
        Some(Name::Logger(LoggerUri { program: program.into(), arguments, says_ready: false }))
    }

    #[test]
    fn the_table() {
        let fifo = |path: &str| Some(Name::Fifo(path.into()));
        let file = |path: &str| Some(Name::File(path.into()));
        let table = [
            ("", Some(Name::None)),
            ("/run/containerd/fifo/1/x-stdout", fifo("/run/containerd/fifo/1/x-stdout")),
            ("/run/with%20percent", fifo("/run/with%20percent")),
            ("fifo:///run/x", fifo("/run/x")),
            ("file:///var/log/x.log", file("/var/log/x.log")),
            ("file:///var/log/a%20b.log?x=1#y", file("/var/log/a b.log")),
            ("binary:///bin/logger", logger("/bin/logger", &[])),
            ("binary:///bin/logger?_MAGIC=%2Fvar%2Flib", logger("/bin/logger", &["_MAGIC", "/var/lib"])),
            (
                "binary:///bin/logger?b=2&a=1+1&b=3&&c",
                logger("/bin/logger", &["b", "2", "a", "1 1", "c", ""]),
            ),
            ("binary:///bin/my%20logger?id=a#b", logger("/bin/my logger", &["id", "a"])),
            ("binary://logger?id=1", None),
            ("relative", None),
            ("file://relative", None),
            ("npipe:////./pipe/x", None),
            ("://", None),
        ];
        for (name, expected) in table {
            assert_eq!(Name::parse(name), expected, "{name}");
        }
        let Some(Name::Logger(strict)) = Name::parse("binary-v2:///bin/logger") else { panic!() };
        assert!(strict.says_ready);
    }

    proptest! {
        #[test]
        fn any_text_has_an_answer(scheme in "(|fifo://|file://|binary://|binary-v2://)", rest in ".{0,60}") {
            let answer = Name::parse(&format!("{scheme}{rest}"));
            if let Some(Name::Fifo(path) | Name::File(path)) = &answer {
                prop_assert!(path.is_absolute());
            }
        }

        /// What a client encodes arrives as it was.
        #[test]
        fn encoded_words_come_back(
            path in "/[^\0]{1,20}",
            words in proptest::collection::btree_map("[^\0]{1,10}", "[^\0]{0,10}", 0..4),
        ) {
            let encode = |word: &str| percent_encode(word.as_bytes(), NON_ALPHANUMERIC).to_string();
            let query: Vec<String> =
                words.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
            let uri = format!("binary:///{}?{}", encode(&path[1..]), query.join("&"));
            let Some(Name::Logger(parsed)) = Name::parse(&uri) else { panic!("{uri}") };
            prop_assert_eq!(parsed.program, PathBuf::from(path));
            let expected: Vec<OsString> =
                words.into_iter().flat_map(|(key, value)| [key.into(), value.into()]).collect();
            prop_assert_eq!(parsed.arguments, expected);
        }
    }
}
