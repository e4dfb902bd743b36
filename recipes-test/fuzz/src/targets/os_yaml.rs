//! OS profiles that users add.

use micrun_image_spec::os::OsProfile;

use super::check_error;

/// What is read is written, and read again as it was.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match OsProfile::parse("os.yaml", text) {
        Ok(profile) => {
            assert_eq!(OsProfile::parse("again.yaml", &profile.to_yaml()).ok(), Some(profile));
        }
        Err(error) => check_error(&error),
    }
}
