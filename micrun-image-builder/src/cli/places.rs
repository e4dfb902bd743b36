//! Opens the places that the user names.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Arc;

use clap::builder::{OsStringValueParser, TypedValueParser, ValueParserFactory};

use super::registry::RegistryArgs;
use super::{CliError, progress};
use crate::image::{Epoch, Reference};
use crate::registry::Registry;
use crate::store::archive::{ArchiveSink, ArchiveSource};
use crate::store::directory::{DirectorySink, DirectorySource};
use crate::store::layout::ImageName;
use crate::store::location::BadLocation;
use crate::store::progress::Progress;
use crate::store::{Location, Sink, Source};

/// What a command needs to open any place.
pub(super) struct Places {
    registry: Registry,
    progress: Arc<dyn Progress + Send + Sync>,
}

impl Places {
    /// `quiet` for nothing but errors.
    pub(super) fn new(args: &RegistryArgs, quiet: bool) -> Self {
        let progress = progress::for_stderr(quiet);
        Places { registry: args.registry(progress.clone()), progress }
    }

    /// Where to tell how far a transfer is.
    pub(super) fn progress(&self) -> &dyn Progress {
        self.progress.as_ref()
    }

    /// The registries.
    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Opens a place to read an image from. What a plain path is shows when it is looked at.
    pub(super) fn source(&self, location: &Location) -> Result<Box<dyn Source>, CliError> {
        check_input(location)?;
        Ok(match location {
            Location::Path(path) if path.is_dir() => Box::new(DirectorySource::open(path, None)?),
            Location::Path(path) => Box::new(ArchiveSource::open(path, None)?),
            Location::Archive(image) => Box::new(ArchiveSource::open(&image.path, image.tag.clone())?),
            Location::Layout(image) => Box::new(DirectorySource::open(&image.path, image.tag.clone())?),
            Location::Registry(name) => Box::new(self.registry.source(name)),
            Location::Stdout => {
                return Err(CliError::Usage(NO_PIPE.to_owned()));
            }
        })
    }

    /// Makes ready to put an image under a name. A tag in the location wins over that of the name, and a registry has a
    /// name of its own.
    pub(super) fn sink(
        &self,
        location: &Location,
        name: ImageName,
        epoch: Epoch,
    ) -> Result<Box<dyn Sink>, CliError> {
        check_output(location)?;
        let name = match location {
            Location::Archive(image) | Location::Layout(image) => named_in(name, image.tag.as_deref()),
            _ => name,
        };
        Ok(match location {
            Location::Archive(image) => Box::new(ArchiveSink::create(&image.path, name, epoch)?),
            Location::Path(path) => Box::new(ArchiveSink::create(path, name, epoch)?),
            Location::Layout(image) => Box::new(DirectorySink::create(&image.path, name)?),
            Location::Registry(name) => Box::new(self.registry.sink(name)),
            Location::Stdout => Box::new(ArchiveSink::stdout(name, epoch)),
        })
    }
}

/// The name of an image that gets another tag.
fn named_in(name: ImageName, tag: Option<&str>) -> ImageName {
    match tag {
        Some(tag) if name.tag.as_deref() != Some(tag) => ImageName { full: None, tag: Some(tag.to_owned()) },
        _ => name,
    }
}

/// What an image of that name is called in a layout or archive.
pub(super) fn named(reference: &Reference) -> ImageName {
    ImageName { full: Some(reference.to_string()), tag: Some(reference.tag().to_owned()) }
}

/// What `-` gets in place of a file to read.
pub(super) const NO_PIPE: &str =
    "what comes from a pipe can be read once, and it is looked at more often: put it into a file";

/// Refuses a file that is not there if its name is that of an image in a registry.
pub(super) fn check_input(location: &Location) -> Result<(), CliError> {
    match (location.path(), location.as_registry()) {
        (Some(path), Some(name)) if !path.exists() => Err(CliError::Usage(format!(
            "there is no file {location}; for the image in a registry write {name}"
        ))),
        _ => Ok(()),
    }
}

/// Makes places out of arguments that need not be UTF-8.
impl ValueParserFactory for Location {
    type Parser = PlaceParser<Location>;

    fn value_parser() -> Self::Parser {
        OsStringValueParser::new().try_map(Location::from_os as fn(OsString) -> _)
    }
}

/// What clap reads places with.
pub(super) type PlaceParser<T> =
    clap::builder::TryMapValueParser<OsStringValueParser, fn(OsString) -> Result<T, BadLocation>>;

/// Refuses what would make a mess: an archive on a terminal, or a file whose name is that of a registry's image.
pub(super) fn check_output(location: &Location) -> Result<(), CliError> {
    if *location == Location::Stdout && io::stdout().is_terminal() {
        return Err(CliError::Usage("refusing to write an image to a terminal: give a file".to_owned()));
    }
    let parent = location.path().and_then(Path::parent);
    if let (Some(parent), Some(name)) = (parent, location.as_registry())
        && !parent.is_dir()
    {
        return Err(CliError::Usage(format!(
            "there is no directory {}; for an image in a registry write {name}",
            parent.display()
        )));
    }
    Ok(())
}
