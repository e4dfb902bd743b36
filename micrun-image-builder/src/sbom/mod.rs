//! Bills of materials, stored beside the image as an artifact that refers to it: one that the user brings, attached as
//! it is, or one that says what the builder itself knows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use oci_spec::image::Descriptor;

use crate::image::{Artifact, ArtifactError, Attachment, Epoch};
use crate::small_file::{self, SmallFileError};

mod generate;
mod recognise;
mod tag_value;

pub use generate::{Facts, FileDigests, PackedFile, generate};

/// Largest bill of materials that is attached, bytes. Those of whole Linux systems have some ten million.
const MAX_BYTES: u64 = 64 << 20;

/// Where a bill of materials comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SbomSource {
    /// `generate`: the builder writes it.
    Generate,
    /// It is this file.
    File(PathBuf),
}

impl FromStr for SbomSource {
    type Err = EmptySource;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "" => Err(EmptySource),
            "generate" => Ok(SbomSource::Generate),
            file => Ok(SbomSource::File(file.into())),
        }
    }
}

/// An empty text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write generate, or the path of an SPDX file (./generate for a file of that name)")]
pub struct EmptySource;

/// How a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// SPDX 2.x in JSON.
    Json,
    /// SPDX 2.x in lines `Tag: value`, as `west spdx` writes it.
    TagValue,
    /// SPDX 3.x in JSON-LD.
    JsonLd,
}

impl Format {
    /// The media type that is registered for it (IANA, "Media Types").
    pub const fn media_type(self) -> &'static str {
        match self {
            Format::Json => "application/spdx+json",
            Format::TagValue => "text/spdx",
            Format::JsonLd => "application/spdx3+json",
        }
    }

    /// The name under which the document is saved from the registry.
    const fn file_name(self) -> &'static str {
        match self {
            Format::Json => "sbom.spdx.json",
            Format::TagValue => "sbom.spdx",
            Format::JsonLd => "sbom.spdx3.json",
        }
    }
}

/// A bill of materials in SPDX.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sbom {
    format: Format,
    version: String,
    bytes: Vec<u8>,
}

impl Sbom {
    /// Reads a document that somebody else wrote.
    ///
    /// # Errors
    /// If it cannot be read, or is no SPDX document of a kind that is known here.
    pub fn read(path: &Path) -> Result<Sbom, SbomError> {
        let bytes = small_file::read(path, MAX_BYTES)?;
        Sbom::parse(bytes).map_err(|problem| SbomError::Unknown { path: path.to_owned(), problem })
    }

    /// Takes a document as it is. It has to parse, to be SPDX, and to say which version; nothing else is judged.
    ///
    /// # Errors
    /// What it is instead, as far as that can be seen.
    pub fn parse(bytes: Vec<u8>) -> Result<Sbom, Problem> {
        let (format, version) = recognise::recognise(&bytes)?;
        Ok(Sbom { format, version, bytes })
    }

    /// How it is written.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The version of SPDX: `2.3`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The document.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The artifact that brings the document to the image.
    ///
    /// # Errors
    /// If the image's digest is no sha256.
    pub fn attach(
        self,
        image: &Descriptor,
        epoch: Option<Epoch>,
    ) -> Result<Artifact<'static>, ArtifactError> {
        let media_type = self.format.media_type();
        let file = Attachment::in_memory(media_type, self.format.file_name(), self.bytes)?;
        Artifact::new(image, media_type, vec![file], BTreeMap::new(), epoch)
    }
}

/// Why a file is not attached.
#[derive(Debug, thiserror::Error)]
pub enum SbomError {
    /// It cannot be read.
    #[error("cannot attach the bill of materials: {0}")]
    Read(#[from] SmallFileError),
    /// It is something else.
    #[error("cannot attach the bill of materials {}: {problem}", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What it is.
        problem: Problem,
    },
    /// What goes into the image could not be read for its digests.
    #[error("cannot write the bill of materials: {0}")]
    Generate(#[from] std::io::Error),
}

/// Why a text is no SPDX document for us.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Broken JSON.
    #[error("it begins like JSON, but {0}")]
    BadJson(String),
    /// JSON of another kind.
    #[error(
        "it is JSON, but neither SPDX 2.x (which has a key spdxVersion) nor SPDX 3 (which has a key @context): give an SPDX document"
    )]
    OtherJson,
    /// Another kind of bill of materials.
    #[error("it is CycloneDX: have your tool write SPDX, or convert it")]
    CycloneDx,
    /// SPDX in a form that registries' tools do not read.
    #[error("it is SPDX as {0}: have your tool write JSON or tag-value, or convert it with pyspdxtools")]
    OtherForm(&'static str),
    /// A version that is none of ours.
    #[error("it says `{0}`: SPDX 2.0 to 2.3 and SPDX 3 are known here")]
    Version(String),
    /// Something that every SPDX document has is missing.
    #[error("it is SPDX {version} without {what}, which every document has: write it again with your tool")]
    Incomplete {
        /// The version that it says.
        version: String,
        /// What is missing.
        what: &'static str,
    },
    /// Not even text.
    #[error("it is no SPDX document: neither JSON nor lines of `Tag: value` with an SPDXVersion")]
    NotSpdx,
}
