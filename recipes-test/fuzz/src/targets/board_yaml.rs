//! Board profiles that users add.

use micrun_image_spec::board::BoardProfile;

use super::check_error;

/// What is read is written, and read again as it was.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match BoardProfile::parse("board.yaml", text) {
        Ok(board) => {
            assert_eq!(BoardProfile::parse("again.yaml", &board.to_yaml()).ok(), Some(board));
        }
        Err(error) => check_error(&error),
    }
}
