//! A declared guest: the file that an operator writes by hand, and what the node remembers of the guest.

// The folder alone: the rest of the command would bring all of the runtime.
#[path = "../../../../micrun/cli/src/guests/model/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the command uses what is not called here")]
mod model;

use std::path::Path;

use super::check_error;
use model::{Declaration, Image, State, StateError};

/// An image of a declaration reads again as it was written; and so does what is remembered.
pub fn run(bytes: &[u8]) {
    match State::parse(Path::new("motor.json"), bytes) {
        Ok(state) => {
            let text = serde_json::to_vec(&state);
            let again = text.map(|text| State::parse(Path::new("again"), &text).ok());
            assert_eq!(again.ok().flatten().as_ref(), Some(&state));
        }
        // The words of the reader of JSON, which may quote a key.
        Err(StateError::Damaged { .. }) => {}
        Err(error) => check_error(&error),
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Declaration::parse(Path::new("motor.toml"), text) {
        Ok(declaration) => {
            let image = declaration.image.to_string();
            assert_eq!(image.parse::<Image>().as_ref(), Ok(&declaration.image), "{image}");
        }
        Err(error) => check_error(&error),
    }
}
