//! Opens the places that the user names.

use std::io::{self, IsTerminal};

use super::CliError;
use crate::image::{Epoch, Reference};
use crate::store::archive::{ArchiveSink, ArchiveSource};
use crate::store::directory::{DirectorySink, DirectorySource};
use crate::store::layout::ImageName;
use crate::store::{Location, Sink, Source};

/// Opens a place to read an image from. What a plain path is shows when it is looked at.
pub(super) fn source(location: &Location) -> Result<Box<dyn Source>, CliError> {
    Ok(match location {
        Location::Path(path) if path.is_dir() => Box::new(DirectorySource::open(path, None)?),
        Location::Path(path) => Box::new(ArchiveSource::open(path, None)?),
        Location::Archive(image) => Box::new(ArchiveSource::open(&image.path, image.tag.clone())?),
        Location::Layout(image) => Box::new(DirectorySource::open(&image.path, image.tag.clone())?),
        Location::Stdout => {
            return Err(CliError::Usage(
                "an image is looked at more than once: put what comes from a pipe into a file".to_owned(),
            ));
        }
    })
}

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
