//! The line that micad answers to `status`.

use std::path::Path;

use libmica::Status;

/// A status or not. What it says about ttys stays under `/dev`, whatever the guest calls its services.
pub fn run(bytes: &[u8]) {
    let Some(status) = Status::parse(&String::from_utf8_lossy(bytes)) else { return };
    for tty in status.ttys(Path::new("/dev")) {
        let name = tty.to_str().and_then(|path| path.strip_prefix("/dev/ttyRPMSG"));
        assert!(name.is_some_and(|name| !name.is_empty() && !name.contains(['/', '.'])), "{}", tty.display());
    }
}
