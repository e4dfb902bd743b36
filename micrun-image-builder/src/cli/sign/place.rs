//! Images that are signed where they are.

use std::path::Path;

use crate::cli::CliError;
use crate::cli::places::Places;
use crate::image::Epoch;
use crate::sign::{Format, PrivateKey, Signed, sign_copy, sign_image};
use crate::store::archive::{ArchiveSink, ArchiveSource};
use crate::store::directory::DirectorySink;
use crate::store::layout::ImageName;
use crate::store::{Location, Source};

/// Before the user is asked for a password.
pub(super) fn check_format(image: &Location, legacy: bool) -> Result<(), CliError> {
    match image {
        Location::Registry(_) => Ok(()),
        _ if !legacy => Ok(()),
        _ => Err(CliError::Usage(
            "--legacy needs a registry: layouts and archives keep no tags beside their images. Without --legacy, \
             the signature comes along when the image is copied to a registry"
                .to_owned(),
        )),
    }
}

/// Signs the image, and puts the signature beside it.
pub(super) fn sign(
    places: &Places,
    image: &Location,
    key: &PrivateKey,
    legacy: bool,
) -> Result<Signed, CliError> {
    let source = places.source(image)?;
    let source = source.as_ref();
    Ok(match image {
        Location::Registry(name) => {
            let repository = format!("{}/{}", name.registry(), name.repository());
            let format = if legacy { Format::Legacy { repository } } else { Format::Bundle };
            sign_image(source, &mut places.registry().sink(name), key, &format)?
        }
        Location::Layout(layout) => sign_layout(source, &layout.path, key, places)?,
        Location::Path(path) if path.is_dir() => sign_layout(source, path, key, places)?,
        Location::Archive(archive) => sign_archive(source, &archive.path, key, places)?,
        Location::Path(path) => sign_archive(source, path, key, places)?,
        Location::Stdout => {
            return Err(CliError::Usage("a signature needs an image that stays: give a file".to_owned()));
        }
    })
}

fn sign_layout(
    source: &dyn Source,
    path: &Path,
    key: &PrivateKey,
    places: &Places,
) -> Result<Signed, CliError> {
    let sink = DirectorySink::create(path, ImageName::of(&source.resolve()?))?;
    Ok(sign_copy(source, Box::new(sink), key, places.progress())?)
}

/// An archive is written anew with one image: others in it would be lost.
fn sign_archive(
    source: &dyn Source,
    path: &Path,
    key: &PrivateKey,
    places: &Places,
) -> Result<Signed, CliError> {
    let root = ArchiveSource::open(path, None)?.resolve().map_err(|error| {
        CliError::Usage(format!(
            "an archive is signed only if it holds one image ({error}). Unpack it into a layout, and sign it there"
        ))
    })?;
    let sink = ArchiveSink::create(path, ImageName::of(&root), Epoch::default())?;
    Ok(sign_copy(source, Box::new(sink), key, places.progress())?)
}
