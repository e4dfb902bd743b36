//! Opens the places that the user names.

use std::io::{self, IsTerminal};

use super::CliError;
use crate::image::{Epoch, Reference};
use crate::store::archive::ArchiveSink;
use crate::store::directory::DirectorySink;
use crate::store::layout::ImageName;
use crate::store::{Location, Sink};

/// Makes ready to put an image under its name.
pub(super) fn sink(
    location: &Location,
    reference: &Reference,
    epoch: Epoch,
) -> Result<Box<dyn Sink>, CliError> {
    let name = ImageName { full: Some(reference.to_string()), tag: Some(reference.tag().to_owned()) };
    Ok(match location {
        Location::Archive(image) => Box::new(ArchiveSink::create(&image.path, name, epoch)?),
        Location::Path(path) => Box::new(ArchiveSink::create(path, name, epoch)?),
        Location::Layout(image) => Box::new(DirectorySink::create(&image.path, name)?),
        Location::Stdout => Box::new(ArchiveSink::stdout(name, epoch)),
    })
}

/// Refuses what would make a mess: an archive on a terminal.
pub(super) fn check_output(location: &Location) -> Result<(), CliError> {
    if *location == Location::Stdout && io::stdout().is_terminal() {
        return Err(CliError::Usage(
            "refusing to write an image to a terminal: give a file with -o".to_owned(),
        ));
    }
    Ok(())
}
