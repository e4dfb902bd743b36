//! micrun.conf, which an operator writes by hand, and config_path, which names another such file.

// The folder alone: the rest of the runtime brings a hundred crates, which would all be built for the fuzzer.
#[path = "../../../../micrun/src/config/node/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the runtime uses what is not called here")]
mod node;

use std::path::Path;

use super::check_error;
use node::{NodeConfig, file};

/// What is valid is written and read again as it was.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut config = NodeConfig::default();
    match config.add_text(Path::new("micrun.conf"), text) {
        Ok(()) => {
            let mut again = NodeConfig::default();
            let read = again.add_text(Path::new("again"), &file::to_toml(&config));
            assert!(read.is_ok(), "{read:?}");
            again.places = config.places.clone();
            assert_eq!(again, config);
        }
        Err(error) => check_error(&error),
    }
}
