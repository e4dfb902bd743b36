//! From a firmware and a few options to an image: reads, checks, recognises, decides, packs.

use std::collections::BTreeMap;
use std::io::{self, BufReader};
use std::thread;

use micrun_image_spec::board::{BoardProfile, Boards};
use micrun_image_spec::digest::{HashingWriter, Sha256Digest};
use micrun_image_spec::firmware::{Pedestal, Rtos};
use micrun_image_spec::{BOOT_IMAGE_PATH, CLIENT_CONF_PATH, FIRMWARE_PATH};

mod boot_image;
mod choice;
mod decide;
mod metadata;
mod user;

pub use boot_image::BootFacts;
pub use choice::{Choice, Source};
pub use decide::Decisions;
pub use user::{AnnotationError, UserAnnotation, UserKey, UserKeyError, UserValue, duplicate_key};

use crate::boot::raw::{self, RawOptions};
use crate::check::{self, Code, Report};
use crate::detect::{self, Identity};
use crate::elf::Elf;
use crate::image::{Compression, Contents, Epoch, Image, ImageError, LayerFile, Platform, Reference};
use crate::sbom::{self, FileDigests, PackedFile, Sbom};
use crate::source::{self, ReadAt};
use crate::zephyr::Build;
use boot_image::Boot;

/// What the user asked for. Everything but the firmware has a default.
pub struct Request<'a> {
    /// The firmware's file name without its extension; an image without a tag is called like it.
    pub file_stem: &'a str,
    /// The image's name.
    pub tag: Option<Reference>,
    /// The board.
    pub board: Option<&'a BoardProfile>,
    /// What the guest runs on.
    pub pedestal: Option<Pedestal>,
    /// The RTOS.
    pub rtos: Option<Rtos>,
    /// The nodes' platforms; none for the usual one.
    pub platforms: Vec<Platform>,
    /// The boot image, for pedestals that boot raw bytes; else it is made from the ELF.
    pub boot_image: Option<&'a dyn ReadAt>,
    /// What firmware that is no ELF file does not say.
    pub raw: RawOptions,
    /// How the layer is compressed.
    pub compression: Compression,
    /// Values for client.conf.
    pub keys: Vec<UserKey>,
    /// Annotations.
    pub annotations: Vec<UserAnnotation>,
    /// Errors that shall be warnings.
    pub allow: Vec<Code>,
    /// The time stamp of everything.
    pub epoch: Option<Epoch>,
    /// The boards to guess from.
    pub boards: &'a Boards,
    /// What the build says that the firmware comes from.
    pub build: Option<&'a Build>,
    /// Whether a bill of materials is written.
    pub generate_sbom: bool,
}

/// An image that is ready to be written.
pub struct Packed {
    /// What stands in it.
    pub decisions: Decisions,
    /// The boot image in it, on pedestals that boot one.
    pub boot_image: Option<Choice<BootFacts>>,
    /// The image.
    pub image: Image,
    /// The bill of materials, if one was asked for.
    pub sbom: Option<Sbom>,
}

/// Packs a firmware. Everything worth saying goes into the report; if it has errors, there is no image.
///
/// # Errors
/// If the image's layer cannot be put into its temporary file.
pub fn pack(
    request: &Request<'_>,
    firmware: &dyn ReadAt,
    report: &mut Report,
) -> Result<Option<Packed>, ImageError> {
    let wrapped = match raw::wrap(firmware, &request.raw, report) {
        Ok(wrapped) => wrapped,
        Err(error) => {
            check::unreadable(&error, report);
            return Ok(None);
        }
    };
    if report.has_errors() {
        return Ok(None);
    }
    let firmware = wrapped.as_ref().map_or(firmware, |elf| elf as &dyn ReadAt);
    let elf = check::examine(firmware, report);
    // What is wrong with the file comes first; guesses about a file that is not firmware would only be noise.
    report.allow(&request.allow);
    let Some(elf) = elf.filter(|_| !report.has_errors()) else { return Ok(None) };

    let (identity, digest) = match recognise(&elf) {
        Ok(found) => found,
        Err(error) => {
            check::unreadable(&error, report);
            return Ok(None);
        }
    };
    let identity = match &request.rtos {
        Some(rtos) => Some(given(rtos.clone(), identity)),
        None => identity.or_else(|| request.build.map(|_| built())),
    };
    let identity = identity.map(|identity| with_version(identity, request.build));
    check::advise(&elf, identity.as_ref(), report);
    let decisions = decide::decide(request, &elf, identity, digest, report);
    let pedestal = decisions.pedestal.value;
    let boot = match Boot::choose(request, &elf, pedestal, report) {
        Ok(boot) => boot,
        Err(error) => {
            check::unreadable(&error, report);
            return Ok(None);
        }
    };
    let memory_need = boot_image::memory_need(&elf, boot.as_ref(), pedestal);
    let metadata = metadata::assemble(request, &decisions, memory_need, report);
    report.allow(&request.allow);
    if report.has_errors() {
        return Ok(None);
    }
    let client_conf = metadata.client_conf.to_string();
    let client_conf = client_conf.as_bytes();
    let mut files = vec![
        LayerFile { path: CLIENT_CONF_PATH, executable: false, data: &client_conf },
        LayerFile { path: FIRMWARE_PATH, executable: true, data: firmware },
    ];
    if let Some(boot) = &boot {
        files.push(LayerFile { path: BOOT_IMAGE_PATH, executable: false, data: boot.data() });
    }
    let sbom = request.generate_sbom.then(|| bill_of_materials(&decisions, &files, request.epoch));
    let image = Image::build(&Contents {
        files: &files,
        annotations: &metadata.annotations,
        platforms: &decisions.platforms.value,
        compression: request.compression,
        epoch: request.epoch,
    })?;
    let sbom = sbom.transpose().map_err(ImageError::write("the bill of materials"))?;
    Ok(Some(Packed { decisions, boot_image: boot.map(|boot| boot.facts()), image, sbom }))
}

/// What runs in the firmware, and the digest of the whole file: two passes that know nothing of each other.
fn recognise(elf: &Elf<'_>) -> io::Result<(Option<Identity>, Sha256Digest)> {
    const WORTH_A_THREAD: u64 = 8 << 20;
    let (file, size) = (elf.file(), elf.file_len());
    let digest = || {
        let mut hasher = HashingWriter::new(io::sink());
        io::copy(&mut BufReader::with_capacity(128 << 10, source::reader(file, 0..size)), &mut hasher)?;
        Ok(hasher.finish().1)
    };
    if size < WORTH_A_THREAD {
        return Ok((detect::identify(elf)?, digest()?));
    }
    thread::scope(|scope| {
        let digest = scope.spawn(digest);
        let identity = detect::identify(elf)?;
        let digest = digest.join().unwrap_or_else(|_| Err(io::Error::other("the hashing thread failed")))?;
        Ok((identity, digest))
    })
}

/// The RTOS that the user named; its version only if the file says the same RTOS.
fn given(rtos: Rtos, found: Option<Identity>) -> Identity {
    let version = found.filter(|identity| identity.rtos == rtos).and_then(|identity| identity.version);
    Identity { rtos, version, evidence: String::new() }
}

/// The RTOS of a build directory, where the file itself says nothing.
fn built() -> Identity {
    Identity { rtos: Rtos::Zephyr, version: None, evidence: "a Zephyr build directory".to_owned() }
}

/// With the version that the build says, where the file does not.
fn with_version(identity: Identity, build: Option<&Build>) -> Identity {
    let said = build.filter(|_| identity.rtos == Rtos::Zephyr).and_then(|build| build.version.as_ref());
    let version = identity.version.or_else(|| said.map(|said| said.value.clone()));
    Identity { version, ..identity }
}

fn bill_of_materials(
    decisions: &Decisions,
    files: &[LayerFile<'_>],
    epoch: Option<Epoch>,
) -> io::Result<Sbom> {
    let mut packed = Vec::new();
    for file in files {
        let digests = FileDigests::read(source::reader(file.data, 0..file.data.size()))?;
        packed.push(PackedFile { path: file.path.to_owned(), digests });
    }
    Ok(sbom::generate(&sbom::Facts {
        reference: &decisions.reference.value,
        firmware: FIRMWARE_PATH,
        rtos: decisions.rtos.value.as_ref(),
        rtos_version: decisions.rtos_version.as_deref(),
        files: &packed,
        epoch,
    }))
}

/// What describes the image: inside it, and in its manifest.
struct Metadata {
    client_conf: micrun_image_spec::client_conf::ClientConf,
    annotations: BTreeMap<String, String>,
}
