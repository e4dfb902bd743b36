//! Writes SPDX 2.3: the image, the files in it with their digests, and the RTOS that the firmware was built from. The
//! same facts give the same bytes.
//!
//! What the builder cannot know, licences above all, is NOASSERTION, as SPDX has it. A firmware's own build knows more
//! (`west spdx` for Zephyr): its document is the better one to attach.

use std::io::{self, Read};

use micrun_image_spec::digest::Sha256Digest;
use micrun_image_spec::firmware::Rtos;
use micrun_image_spec::text::hex;
use serde::Serialize;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::{Format, Sbom};
use crate::image::{Epoch, Reference};

const NO_ASSERTION: &str = "NOASSERTION";
const DOCUMENT: &str = "SPDXRef-DOCUMENT";
const IMAGE: &str = "SPDXRef-Image";
const RTOS: &str = "SPDXRef-RTOS";

/// What is known about an image.
#[derive(Debug)]
pub struct Facts<'a> {
    /// Its name.
    pub reference: &'a Reference,
    /// The RTOS in the firmware; None for unknown, and for none at all.
    pub rtos: Option<&'a Rtos>,
    /// Its version.
    pub rtos_version: Option<&'a str>,
    /// The firmware's path in the image.
    pub firmware: &'a str,
    /// The files in the image.
    pub files: &'a [PackedFile],
    /// When the document says that it was made; None for 1970.
    pub epoch: Option<Epoch>,
}

/// A file in the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedFile {
    /// Absolute in the image: `/firmware.elf`.
    pub path: String,
    /// Of its bytes.
    pub digests: FileDigests,
}

/// The digests that SPDX wants of a file. SHA1 is for looking files up and mandatory there ("File checksum field");
/// nothing relies on its strength.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDigests {
    sha1: [u8; 20],
    sha256: [u8; 32],
}

impl FileDigests {
    /// Reads a file to its end, once for both.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(mut file: impl Read) -> io::Result<Self> {
        let (mut sha1, mut sha256) = (Sha1::new(), Sha256::new());
        let mut buffer = vec![0; 64 << 10];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => {
                    return Ok(FileDigests {
                        sha1: sha1.finalize().into(),
                        sha256: sha256.finalize().into(),
                    });
                }
                Ok(length) => {
                    sha1.update(&buffer[..length]);
                    sha256.update(&buffer[..length]);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Writes the document.
pub fn generate(facts: &Facts<'_>) -> Sbom {
    let mut document = document(facts);
    // Two documents that differ in anything need two names ("SPDX document namespace field").
    let digest = Sha256Digest::of(&json(&document)).hex();
    let name = facts.reference.short_name();
    document.document_namespace = format!("https://spdx.org/spdxdocs/{name}-{digest}");
    Sbom { format: Format::Json, version: "2.3".to_owned(), bytes: json(&document) }
}

fn json(document: &Document) -> Vec<u8> {
    // Strings, lists and booleans into memory: there is nothing that could fail.
    let mut text = serde_json::to_vec_pretty(document).unwrap_or_default();
    text.push(b'\n');
    text
}

fn document(facts: &Facts<'_>) -> Document {
    let files: Vec<_> = facts.files.iter().enumerate().map(|(index, file)| describe(index, file)).collect();
    let rtos = facts.rtos.filter(|rtos| **rtos != Rtos::Baremetal);
    let mut packages = vec![image(facts)];
    let mut relationships = vec![Relationship::new(DOCUMENT, "DESCRIBES", IMAGE)];
    relationships.extend(files.iter().map(|file| Relationship::new(IMAGE, "CONTAINS", &file.id)));
    if let Some(rtos) = rtos {
        packages.push(Package {
            version: facts.rtos_version.map(str::to_owned),
            primary_package_purpose: purpose(rtos),
            ..Package::new(RTOS, rtos.as_str())
        });
        let firmware = facts.files.iter().zip(&files).find(|(file, _)| file.path == facts.firmware);
        relationships.extend(firmware.map(|(_, file)| Relationship::new(&file.id, "GENERATED_FROM", RTOS)));
    }
    Document {
        spdx_version: "SPDX-2.3",
        data_license: "CC0-1.0",
        id: DOCUMENT,
        name: facts.reference.to_string(),
        document_namespace: String::new(),
        creation_info: CreationInfo {
            created: facts.epoch.unwrap_or_default().to_string(),
            creators: [concat!("Tool: ", env!("CARGO_PKG_NAME"), "-", env!("CARGO_PKG_VERSION"))],
        },
        packages,
        files,
        relationships,
    }
}

fn image(facts: &Facts<'_>) -> Package {
    Package {
        version: Some(facts.reference.tag().to_owned()),
        files_analyzed: true,
        verification_code: Some(VerificationCode { value: verification_code(facts.files) }),
        license_info_from_files: Some([NO_ASSERTION]),
        primary_package_purpose: "CONTAINER",
        ..Package::new(IMAGE, facts.reference.short_name())
    }
}

fn describe(index: usize, file: &PackedFile) -> File {
    File {
        name: format!(".{}", file.path),
        id: format!("SPDXRef-File-{}", index + 1),
        checksums: [
            Checksum { algorithm: "SHA1", value: hex(&file.digests.sha1) },
            Checksum { algorithm: "SHA256", value: hex(&file.digests.sha256) },
        ],
        license_concluded: NO_ASSERTION,
        license_info_in_files: [NO_ASSERTION],
        copyright_text: NO_ASSERTION,
    }
}

fn purpose(rtos: &Rtos) -> &'static str {
    if [Rtos::U_BOOT, Rtos::OPENSBI].contains(rtos) { "FIRMWARE" } else { "OPERATING_SYSTEM" }
}

/// The SHA1 of all files' SHA1 in hexadecimal, sorted, without anything between ("Package verification code field").
fn verification_code(files: &[PackedFile]) -> String {
    let mut digests: Vec<_> = files.iter().map(|file| hex(&file.digests.sha1)).collect();
    digests.sort();
    hex(&Sha1::digest(digests.concat()))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    spdx_version: &'static str,
    data_license: &'static str,
    #[serde(rename = "SPDXID")]
    id: &'static str,
    name: String,
    document_namespace: String,
    creation_info: CreationInfo,
    packages: Vec<Package>,
    files: Vec<File>,
    relationships: Vec<Relationship>,
}

#[derive(Serialize)]
struct CreationInfo {
    created: String,
    creators: [&'static str; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Package {
    name: String,
    #[serde(rename = "SPDXID")]
    id: &'static str,
    #[serde(rename = "versionInfo", skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    download_location: &'static str,
    files_analyzed: bool,
    #[serde(rename = "packageVerificationCode", skip_serializing_if = "Option::is_none")]
    verification_code: Option<VerificationCode>,
    license_concluded: &'static str,
    license_declared: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    license_info_from_files: Option<[&'static str; 1]>,
    copyright_text: &'static str,
    primary_package_purpose: &'static str,
}

impl Package {
    /// One of which only the name is known.
    fn new(id: &'static str, name: &str) -> Self {
        Package {
            name: name.to_owned(),
            id,
            version: None,
            download_location: NO_ASSERTION,
            files_analyzed: false,
            verification_code: None,
            license_concluded: NO_ASSERTION,
            license_declared: NO_ASSERTION,
            license_info_from_files: None,
            copyright_text: NO_ASSERTION,
            primary_package_purpose: "OTHER",
        }
    }
}

#[derive(Serialize)]
struct VerificationCode {
    #[serde(rename = "packageVerificationCodeValue")]
    value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(rename = "fileName")]
    name: String,
    #[serde(rename = "SPDXID")]
    id: String,
    checksums: [Checksum; 2],
    license_concluded: &'static str,
    license_info_in_files: [&'static str; 1],
    copyright_text: &'static str,
}

#[derive(Serialize)]
struct Checksum {
    algorithm: &'static str,
    #[serde(rename = "checksumValue")]
    value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Relationship {
    spdx_element_id: String,
    relationship_type: &'static str,
    related_spdx_element: String,
}

impl Relationship {
    fn new(from: &str, kind: &'static str, to: &str) -> Self {
        Relationship {
            spdx_element_id: from.to_owned(),
            relationship_type: kind,
            related_spdx_element: to.to_owned(),
        }
    }
}
