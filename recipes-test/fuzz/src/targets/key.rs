//! Files with keys, private and public.

use micrun_image_builder::sign::{KeyFile, PublicKey};

use super::check_error;

/// Reads the file as both. An encrypted key is not opened: that takes long on purpose.
pub fn run(bytes: &[u8]) {
    match KeyFile::parse(bytes) {
        Ok(KeyFile::Plain(key)) => {
            assert!(key.public().verify(b"message", &key.sign(b"message")));
        }
        Ok(KeyFile::Encrypted(_)) => {}
        Err(error) => check_error(&error),
    }
    if let Err(error) = PublicKey::parse(bytes) {
        check_error(&error);
    }
}
