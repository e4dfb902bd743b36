//! What `xl create` wrote about the end of a domain.
//!
//! Unless told otherwise (`-e`), `xl create` leaves a process behind that waits for the domain's end and
//! acts on it, usually by destroying it at once: so it is for the domains of micad. By the time that anybody
//! else looks, Xen knows nothing of such a domain any more; but that process has written down why it acted.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::{DomainName, Reason};

/// Where Xen's tools write, as Debian and OpenEmbedded build them.
const DIR: &str = "/var/log/xen";

/// How much of the end of a file is read, bytes: a domain that ended left five short lines.
const TAIL: u64 = 16 * 1024;

/// Why a domain that is gone had shut down; `None` where nobody wrote that down.
pub fn reason_of(name: &DomainName, id: u32) -> Option<Reason> {
    let text = tail(&Path::new(DIR).join(format!("xl-{name}.log")))?;
    parse(&text, id)
}

fn tail(path: &Path) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok().filter(|meta| meta.is_file())?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn parse(text: &str, id: u32) -> Option<Reason> {
    let start = format!("Domain {id} has shut down, reason code ");
    let rest = text.lines().rev().find_map(|line| line.strip_prefix(&start))?;
    let code = rest.split_ascii_whitespace().next()?.parse().ok()?;
    Some(Reason::from_code(code))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Written by `xl` of Xen 4.20 for a guest that crashed.
    const RECORDED: &str = "Waiting for domain h1guest (domid 39) to die [pid 670]\n\
        Domain 39 has shut down, reason code 3 0x3\n\
        Action for shutdown reason code 3 is destroy\n\
        Domain 39 needs to be cleaned up: destroying the domain\n\
        Done. Exiting now\n";

    #[test]
    fn the_reason_is_that_of_this_domain() {
        assert_eq!(parse(RECORDED, 39), Some(Reason::Crash));
        assert_eq!(parse(RECORDED, 3), None);
        assert_eq!(parse(RECORDED, 40), None);
    }

    #[test]
    fn a_log_that_is_missing_is_no_reason() {
        assert_eq!(reason_of(&DomainName::new("no-such-domain").unwrap(), 1), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "(Domain 1 has shut down, reason code )?.{0,80}") {
            let _ = parse(&text, 1);
        }
    }
}
