//! Images that are signed where they are.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use crate::cli::CliError;
use crate::image::Epoch;
use crate::registry::{Registry, RegistryName};
use crate::sign::{Format, PrivateKey, Signed, sign_copy, sign_image};
use crate::store::archive::{ArchiveSink, ArchiveSource};
use crate::store::directory::{DirectorySink, DirectorySource};
use crate::store::layout::ImageName;
use crate::store::progress::Silent;
use crate::store::{Location, Source};

/// An image in a registry, a layout or an archive.
#[derive(Debug, Clone)]
pub(super) enum SignedPlace {
    Registry(RegistryName),
    Layout { path: std::path::PathBuf, tag: Option<String> },
    Archive { path: std::path::PathBuf, tag: Option<String> },
}

impl FromStr for SignedPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with("docker://") {
            return text.parse().map(SignedPlace::Registry).map_err(|error| format!("{error}"));
        }
        match text.parse::<Location>().map_err(|error| error.to_string())? {
            Location::Layout(image) => Ok(SignedPlace::Layout { path: image.path, tag: image.tag }),
            Location::Archive(image) => Ok(SignedPlace::Archive { path: image.path, tag: image.tag }),
            Location::Path(path) if path.is_dir() => Ok(SignedPlace::Layout { path, tag: None }),
            Location::Path(path) => Ok(SignedPlace::Archive { path, tag: None }),
            Location::Stdout => Err("a signature needs an image that stays: give a file".to_owned()),
        }
    }
}

impl fmt::Display for SignedPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (transport, path, tag) = match self {
            SignedPlace::Registry(name) => return write!(f, "{name}"),
            SignedPlace::Layout { path, tag } => ("oci", path, tag),
            SignedPlace::Archive { path, tag } => ("oci-archive", path, tag),
        };
        write!(f, "{transport}:{}", path.display())?;
        tag.as_ref().map_or(Ok(()), |tag| write!(f, ":{tag}"))
    }
}

impl SignedPlace {
    /// Before the user is asked for a password.
    pub(super) fn check_format(&self, legacy: bool) -> Result<(), CliError> {
        match self {
            SignedPlace::Registry(_) => Ok(()),
            _ if !legacy => Ok(()),
            _ => Err(CliError::Usage(
                "--legacy needs a registry: layouts and archives keep no tags beside their images. Without --legacy, \
                 the signature comes along when the image is copied to a registry"
                    .to_owned(),
            )),
        }
    }

    pub(super) fn source(&self, registry: &Registry) -> Result<Box<dyn Source>, CliError> {
        Ok(match self {
            SignedPlace::Registry(name) => Box::new(registry.source(name)),
            SignedPlace::Layout { path, tag } => Box::new(DirectorySource::open(path, tag.clone())?),
            SignedPlace::Archive { path, tag } => Box::new(ArchiveSource::open(path, tag.clone())?),
        })
    }

    pub(super) fn sign(
        &self,
        registry: &Registry,
        key: &PrivateKey,
        legacy: bool,
    ) -> Result<Signed, CliError> {
        let source = self.source(registry)?;
        Ok(match self {
            SignedPlace::Registry(name) => {
                let repository = format!("{}/{}", name.registry(), name.repository());
                let format = if legacy { Format::Legacy { repository } } else { Format::Bundle };
                sign_image(source.as_ref(), &mut registry.sink(name), key, &format)?
            }
            SignedPlace::Layout { path, .. } => {
                let sink = DirectorySink::create(path, ImageName::of(&source.resolve()?))?;
                sign_copy(source.as_ref(), Box::new(sink), key, &Silent)?
            }
            SignedPlace::Archive { path, .. } => {
                let name = ImageName::of(&the_only_image(path)?.resolve()?);
                let sink = ArchiveSink::create(path, name, Epoch::default())?;
                sign_copy(source.as_ref(), Box::new(sink), key, &Silent)?
            }
        })
    }
}

/// An archive is written anew with one image: others in it would be lost.
fn the_only_image(path: &Path) -> Result<ArchiveSource, CliError> {
    let archive = ArchiveSource::open(path, None)?;
    match archive.resolve() {
        Ok(_) => Ok(archive),
        Err(error) => Err(CliError::Usage(format!(
            "an archive is signed only if it holds one image ({error}). Unpack it into a layout, and sign it there"
        ))),
    }
}
