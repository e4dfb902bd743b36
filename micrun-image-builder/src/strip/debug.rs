//! The debug information of an image, stored beside it: the whole ELF file as the linker wrote it, which every debugger
//! takes as it is. docs/design/artifacts.md describes the artifact.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};

use micrun_image_spec::digest::Sha256Digest;
use micrun_image_spec::text::hex;
use oci_spec::image::{Descriptor, MediaType};
use serde::Serialize;
use serde_json::Value;

use crate::elf::Elf;
use crate::image::{self, Artifact, ArtifactError, Attachment, Epoch};
use crate::source::{self, ReadAt};
use crate::store::{Data, Source, StoreError, digest_of, read_document};

/// The type of the artifact and of its one file.
pub const MEDIA_TYPE: &str = "application/vnd.openeuler.micrun.debug.v1+elf";
/// The build ID, in hexadecimal digits, where the firmware has one.
pub const BUILD_ID: &str = "org.openeuler.micrun.debug.build_id";
/// The digest of the firmware in the image, to which the debug information belongs.
pub const FIRMWARE_HASH: &str = "org.openeuler.micrun.debug.firmware_hash";
/// The file name under which tools save it (image-spec, "Pre-Defined Annotation Keys").
const TITLE: &str = "org.opencontainers.image.title";

/// What is to be known of a file with debug information before it is attached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DebugFacts {
    /// The whole file's digest.
    pub digest: Sha256Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Its build ID.
    pub build_id: Option<String>,
}

impl DebugFacts {
    /// Reads the file once.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(elf: &Elf<'_>) -> io::Result<Self> {
        let digest = source::digest(elf.file())?;
        let build_id = elf.build_id()?.map(|id| hex(&id));
        Ok(DebugFacts { digest, size: elf.file_len(), build_id })
    }

    /// The artifact that brings the file to an image whose firmware has the digest `firmware`. `title` is the name under
    /// which tools save it.
    ///
    /// # Errors
    /// If the image's digest is no sha256.
    pub fn attach<'a>(
        &self,
        subject: &Descriptor,
        firmware: Sha256Digest,
        title: &str,
        file: &'a dyn ReadAt,
        epoch: Option<Epoch>,
    ) -> Result<Artifact<'a>, ArtifactError> {
        let mut annotations = BTreeMap::from([(FIRMWARE_HASH.to_owned(), firmware.to_string())]);
        annotations.extend(self.build_id.clone().map(|id| (BUILD_ID.to_owned(), id)));
        let mut descriptor = image::descriptor(MediaType::from(MEDIA_TYPE), self.digest, self.size)?;
        descriptor.set_annotations(Some(HashMap::from([(TITLE.to_owned(), title.to_owned())])));
        let file = Attachment::described(descriptor, Box::new(Whole(file)));
        Artifact::new(subject, MEDIA_TYPE, vec![file], annotations, epoch)
    }
}

/// A file from its first byte to its last.
struct Whole<'a>(&'a dyn ReadAt);

impl Data for Whole<'_> {
    fn open(&self, offset: u64) -> Result<Box<dyn Read + Send + '_>, StoreError> {
        let size = self.0.size();
        Ok(Box::new(source::reader(self.0, offset.min(size)..size)))
    }
}

/// Debug information that was found beside an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DebugFile {
    /// The file, to be read with [`Source::open`].
    pub file: Descriptor,
    /// The name under which it was attached: `zephyr.elf`.
    pub title: Option<String>,
    /// The firmware's build ID.
    pub build_id: Option<String>,
    /// The digest of the firmware in the image.
    pub firmware: Option<Sha256Digest>,
}

/// Looks for the debug information of an image; None if it has none.
///
/// # Errors
/// If the place cannot be read, or what is found there is damaged.
pub fn debug_of(source: &dyn Source, root: &Descriptor) -> Result<Option<DebugFile>, StoreError> {
    let is_ours = |referrer: &Descriptor| {
        referrer.artifact_type().as_ref().is_some_and(|kind| kind.to_string() == MEDIA_TYPE)
    };
    let Some(referrer) = source.referrers(digest_of(root)?)?.into_iter().find(is_ours) else {
        return Ok(None);
    };
    let what = referrer.digest().to_string();
    let malformed = |problem: String| StoreError::Malformed { what: what.clone(), problem };
    let manifest: Value = serde_json::from_slice(&read_document(source, &referrer)?)
        .map_err(|error| malformed(error.to_string()))?;
    let file: Descriptor = serde_json::from_value(manifest["layers"][0].clone())
        .map_err(|error| malformed(format!("its file: {error}")))?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Ok(Some(DebugFile {
        title: file.annotations().as_ref().and_then(|annotations| annotations.get(TITLE).cloned()),
        build_id: text(&manifest["annotations"][BUILD_ID]),
        firmware: text(&manifest["annotations"][FIRMWARE_HASH]).and_then(|hash| hash.parse().ok()),
        file,
    }))
}
