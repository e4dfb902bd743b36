//! What is in an image, for those who want to use it: its documents, and the files that matter. Whoever wants to judge it
//! goes to [`crate::audit`].

use std::collections::BTreeMap;
use std::sync::Arc;

use micrun_image_spec::annotation::{self, CONTAINER_FIRMWARE_PATH};
use micrun_image_spec::client_conf::{ClientConf, ClientConfError};
use micrun_image_spec::digest::Sha256Digest;
use micrun_image_spec::firmware::Pedestal;
use micrun_image_spec::rootfs_path::{RootfsPath, RootfsPathError};
use micrun_image_spec::{BOOT_IMAGE_PATH, CLIENT_CONF_PATH, FIRMWARE_PATH};
use oci_spec::OciSpecError;
use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest};

use crate::image::{Platform, Spool};
use crate::rootfs::{LayerProblem, PathError, RootFs};
use crate::source;
use crate::store::{Source, StoreError, is_index, is_manifest, read_document};

/// Indexes within indexes.
const MAX_DEPTH: usize = 4;

/// An image for one platform, every byte of which is what its digest says.
pub struct ImageContents<'a> {
    /// The manifest's descriptor.
    pub descriptor: Descriptor,
    /// The manifest.
    pub manifest: ImageManifest,
    /// The configuration.
    pub config: ImageConfiguration,
    /// The files.
    pub root: RootFs<'a>,
    /// client.conf; None where the image has none.
    pub client_conf: Option<ClientConf>,
}

/// Why there is nothing to use.
#[derive(Debug, thiserror::Error)]
pub enum ContentsError {
    /// The place does not give it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A document is not what it should be.
    #[error("the image's {what} cannot be read: {source}")]
    Document {
        /// Which one.
        what: &'static str,
        /// Why not.
        source: OciSpecError,
    },
    /// Nothing for this platform.
    #[error("the image has nothing for {wanted}; it has {}: name one with --platform", .has.join(", "))]
    Platform {
        /// What was wanted.
        wanted: Platform,
        /// What there is.
        has: Vec<String>,
    },
    /// An artifact, or an index of them.
    #[error("this is no image, but something of the type {0}")]
    NoImage(String),
    /// A layer is damaged, or cannot be unpacked.
    #[error(transparent)]
    Layer(#[from] LayerProblem),
    /// client.conf is there, and cannot be used.
    #[error("{CLIENT_CONF_PATH}: {0}")]
    ClientConf(#[from] ClientConfError),
    /// A file is not there.
    #[error("{0}; see what is wrong with the image: micrun-image-builder check")]
    Path(#[from] PathError),
    /// A path that is none.
    #[error(transparent)]
    BadPath(#[from] RootfsPathError),
    /// The temporary file failed.
    #[error("cannot read a file of the image: {0}")]
    Io(#[from] std::io::Error),
}

impl<'a> ImageContents<'a> {
    /// Opens the image for a platform; without one, this machine's, or the only one that there is.
    ///
    /// # Errors
    /// If there is none, or anything in it is not what its digest says.
    pub fn open(source: &'a dyn Source, platform: Option<&Platform>) -> Result<Self, ContentsError> {
        let descriptor = choose(source, source.resolve()?, platform, 0)?;
        let manifest = read_document(source, &descriptor)?;
        let manifest = ImageManifest::from_reader(&manifest[..]).map_err(document("manifest"))?;
        if let Some(kind) = manifest.artifact_type() {
            return Err(ContentsError::NoImage(kind.to_string()));
        }
        let config = read_document(source, manifest.config())?;
        let config = ImageConfiguration::from_reader(&config[..]).map_err(document("configuration"))?;
        let diff_ids: Vec<Option<Sha256Digest>> =
            config.rootfs().diff_ids().iter().map(|digest| digest.parse().ok()).collect();
        let keep: Vec<_> =
            [CLIENT_CONF_PATH, FIRMWARE_PATH, BOOT_IMAGE_PATH].into_iter().flat_map(str::parse).collect();
        let mut root = RootFs::read(source, manifest.layers(), &diff_ids, &keep);
        if let Some(problem) = root.take_problem() {
            return Err(problem.into());
        }
        let mut contents = ImageContents { descriptor, manifest, config, root, client_conf: None };
        contents.client_conf = match contents.file(CLIENT_CONF_PATH) {
            Ok(file) => {
                let bytes = source::bytes(file.as_ref(), 0, ClientConf::MAX_BYTES as u64 + 1)?;
                Some(ClientConf::from_bytes(&bytes)?)
            }
            Err(ContentsError::Path(PathError::Missing(_))) => None,
            Err(error) => return Err(error),
        };
        Ok(contents)
    }

    /// A file's contents.
    ///
    /// # Errors
    /// If there is none at this path.
    pub fn file(&self, path: &str) -> Result<Arc<Spool>, ContentsError> {
        Ok(self.root.open(self.root.find(&path.parse()?)?)?)
    }

    /// MicRun's own annotations of the manifest, by their names without prefix.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        own_annotations(self.manifest.annotations().iter().flatten())
    }

    /// The firmware ELF.
    ///
    /// # Errors
    /// If it is not where the image says.
    pub fn firmware(&self) -> Result<Arc<Spool>, ContentsError> {
        self.file(&firmware_path(self.client_conf.as_ref(), &self.annotations(), &self.config))
    }

    /// The boot image; None on pedestals that boot the ELF.
    ///
    /// # Errors
    /// If it is not where client.conf says.
    pub fn boot_image(&self) -> Result<Option<Arc<Spool>>, ContentsError> {
        let conf = self.client_conf.as_ref();
        let boots_one = conf.map(ClientConf::pedestal).is_some_and(Pedestal::boots_raw_image);
        match conf.and_then(ClientConf::pedestal_conf).filter(|_| boots_one) {
            Some(path) => self.file(path.as_str()).map(Some),
            None => Ok(None),
        }
    }
}

fn document(what: &'static str) -> impl FnOnce(OciSpecError) -> ContentsError {
    move |source| ContentsError::Document { what, source }
}

/// The manifest below a root.
fn choose(
    source: &dyn Source,
    root: Descriptor,
    wanted: Option<&Platform>,
    depth: usize,
) -> Result<Descriptor, ContentsError> {
    if is_manifest(root.media_type()) {
        return Ok(root);
    }
    if !is_index(root.media_type()) || depth > MAX_DEPTH {
        return Err(ContentsError::NoImage(root.media_type().to_string()));
    }
    let index = read_document(source, &root)?;
    let index = ImageIndex::from_reader(&index[..]).map_err(document("index"))?;
    let images: Vec<&Descriptor> = index.manifests().iter().filter(|entry| !is_attestation(entry)).collect();
    let own = Platform::of_this_machine();
    let matching = images.iter().find(|entry| is_for(entry, wanted.unwrap_or(&own)));
    match (matching, images.as_slice(), wanted) {
        (Some(image), _, _) | (None, [image], None) => choose(source, (*image).clone(), wanted, depth + 1),
        (None, images, _) => Err(ContentsError::Platform {
            wanted: wanted.unwrap_or(&own).clone(),
            has: images
                .iter()
                .map(|image| platform(image).unwrap_or_else(|| "no platform".to_owned()))
                .collect(),
        }),
    }
}

/// Docker's build tool keeps attestations in the index, for no platform that there is.
pub(crate) fn is_attestation(entry: &Descriptor) -> bool {
    platform(entry).as_deref() == Some("unknown/unknown")
}

/// The platform of an index's entry: `linux/arm64`, `linux/arm/v7`. Of `linux/arm64/v8` the shorter form, since
/// containerd holds both for one.
pub(crate) fn platform(descriptor: &Descriptor) -> Option<String> {
    let platform = descriptor.platform().as_ref()?;
    let variant = platform.variant().as_ref().map(|variant| format!("/{variant}")).unwrap_or_default();
    Some(shortest(format!("{}/{}{variant}", platform.os(), platform.architecture())))
}

/// True if an index's entry is for this platform.
pub(crate) fn is_for(entry: &Descriptor, wanted: &Platform) -> bool {
    platform(entry) == Some(shortest(wanted.to_string()))
}

fn shortest(platform: String) -> String {
    if platform == "linux/arm64/v8" { "linux/arm64".to_owned() } else { platform }
}

/// Of all annotations MicRun's own, by their names without prefix. Of two spellings of one, today's counts.
pub(crate) fn own_annotations<'k>(
    annotations: impl IntoIterator<Item = (&'k String, &'k String)>,
) -> BTreeMap<String, String> {
    let mut own = BTreeMap::new();
    let found = annotations.into_iter().filter_map(|(key, value)| Some((annotation::strip(key)?, value)));
    for (key, value) in found {
        let name = key.name.to_ascii_lowercase();
        if !key.legacy || !own.contains_key(&name) {
            own.insert(name, value.clone());
        }
    }
    own
}

/// Where the firmware is, by whoever says so: client.conf as the shim reads it, then annotation and Entrypoint; the
/// builder's own place where nobody does.
pub(crate) fn firmware_path(
    conf: Option<&ClientConf>,
    annotations: &BTreeMap<String, String>,
    config: &ImageConfiguration,
) -> String {
    let by_conf = conf.and_then(|conf| {
        let said = conf.micrun().get(CONTAINER_FIRMWARE_PATH).cloned();
        said.or_else(|| conf.client_path().map(|path: RootfsPath| path.to_string()))
    });
    let said = by_conf.or_else(|| annotations.get(CONTAINER_FIRMWARE_PATH).cloned());
    said.or_else(|| entrypoint(config)).unwrap_or_else(|| FIRMWARE_PATH.to_owned())
}

/// What an engine would run: the first word of Entrypoint, else of Cmd.
pub(crate) fn entrypoint(config: &ImageConfiguration) -> Option<String> {
    let process = config.config().as_ref()?;
    let first = |words: &Option<Vec<String>>| words.as_ref().and_then(|words| words.first().cloned());
    first(process.entrypoint()).or_else(|| first(process.cmd()))
}
