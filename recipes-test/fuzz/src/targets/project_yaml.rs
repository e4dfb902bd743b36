//! Files that say which images to make.

use std::path::Path;

use micrun_image_builder::project::Project;

use super::check_error;

/// Reads the file, and works out the images.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(error) = Project::parse(Path::new("images.yaml"), text).and_then(|project| project.requests())
    {
        check_error(&error);
    }
}
