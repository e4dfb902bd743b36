//! From a firmware and a few options to an image: reads, checks, recognises, decides, packs.

use std::collections::BTreeMap;
use std::io;
use std::thread;

use micrun_image_spec::board::{BoardProfile, Boards};
use micrun_image_spec::digest::Sha256Digest;
use micrun_image_spec::firmware::{Pedestal, Rtos};
use micrun_image_spec::{BOOT_IMAGE_PATH, CLIENT_CONF_PATH, FIRMWARE_PATH};

mod boot_image;
mod choice;
mod client_conf;
mod decide;
mod metadata;
mod user;

pub use boot_image::BootFacts;
pub use choice::{Choice, Source};
pub use client_conf::UserConf;
pub use decide::Decisions;
pub use user::{AnnotationError, UserAnnotation, UserKey, UserKeyError, UserValue, duplicate_key};

use crate::boot::raw::{self, RawOptions, WrappedElf};
use crate::check::{self, Code, Report};
use crate::detect::{self, Identity};
use crate::elf::Elf;
use crate::image::{self, Compression, Contents, Epoch, Image, ImageError, LayerFile, Platform, Reference};
use crate::sbom::{self, FileDigests, PackedFile, Sbom};
use crate::source::{self, ReadAt};
use crate::strip::debug::DebugFacts;
use crate::strip::{StripError, Stripped};
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
    /// The user's client.conf.
    pub client_conf: Option<&'a UserConf>,
    /// Values for client.conf, which outweigh those.
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
    /// Whether debug information is left out of the image.
    pub strip: bool,
}

impl<'a> Request<'a> {
    /// Asks for nothing in particular.
    pub fn new(boards: &'a Boards) -> Self {
        Request {
            file_stem: "",
            tag: None,
            board: None,
            pedestal: None,
            rtos: None,
            platforms: Vec::new(),
            compression: Compression::default(),
            client_conf: None,
            keys: Vec::new(),
            annotations: Vec::new(),
            allow: Vec::new(),
            epoch: None,
            boards,
            boot_image: None,
            raw: RawOptions::default(),
            build: None,
            generate_sbom: false,
            strip: false,
        }
    }
}

/// An image that is ready to be written.
pub struct Packed {
    /// What stands in it.
    pub decisions: Decisions,
    /// The boot image in it, on pedestals that boot one.
    pub boot_image: Option<Choice<BootFacts>>,
    /// The firmware's digest.
    pub firmware_digest: Sha256Digest,
    /// The firmware as it was given, if debug information was taken out of it.
    pub debug: Option<DebugFacts>,
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
    let Some(wrapped) = wrap(request, firmware, report) else { return Ok(None) };
    let firmware = wrapped.as_ref().map_or(firmware, |elf| elf as &dyn ReadAt);
    let Some(stripped) = strip(request, firmware, report) else { return Ok(None) };
    let (firmware, debug) = match &stripped {
        Some((stripped, debug)) => (stripped as &dyn ReadAt, Some(debug.clone())),
        None => (firmware, None),
    };
    let Some(judged) = judge(request, firmware, identify_and_hash, report) else { return Ok(None) };
    let Judged { elf, decisions, boot, beside: firmware_digest } = judged;
    let memory_need = boot_image::memory_need(&elf, boot.as_ref(), decisions.pedestal.value);
    let metadata = metadata::assemble(request, &decisions, firmware_digest, memory_need, report);
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
    let boot_image = boot.map(|boot| boot.facts());
    Ok(Some(Packed { decisions, firmware_digest, debug, boot_image, image, sbom }))
}

/// A firmware that could be packed, as far as that was looked at.
pub struct Checked {
    /// What would stand in its image.
    pub decisions: Decisions,
    /// Bytes of memory without which the guest cannot run.
    pub memory_need: u64,
}

/// Checks a firmware as [`pack`] does, and makes no image. None where it did not come to decisions about one.
pub fn check(request: &Request<'_>, firmware: &dyn ReadAt, report: &mut Report) -> Option<Checked> {
    let wrapped = wrap(request, firmware, report)?;
    let firmware = wrapped.as_ref().map_or(firmware, |elf| elf as &dyn ReadAt);
    let identify = |elf: &Elf<'_>| Ok((detect::identify(elf)?, ()));
    let Judged { elf, decisions, boot, .. } = judge(request, firmware, identify, report)?;
    let memory_need = boot_image::memory_need(&elf, boot.as_ref(), decisions.pedestal.value);
    Some(Checked { decisions, memory_need })
}

/// Makes an ELF file of raw firmware. Some(None) for what needs no wrapping; None where the report says why not.
fn wrap<'a>(
    request: &Request<'_>,
    firmware: &'a dyn ReadAt,
    report: &mut Report,
) -> Option<Option<WrappedElf<'a>>> {
    match raw::wrap(firmware, &request.raw, report) {
        Ok(wrapped) => Some(wrapped).filter(|_| !report.has_errors()),
        Err(error) => {
            check::unreadable(&error, report);
            None
        }
    }
}

/// Takes the debug information out, if that was asked for. Some(None) where nothing is taken out: what is no firmware is
/// told of later. None where the report says why it cannot be done.
fn strip<'a>(
    request: &Request<'_>,
    firmware: &'a dyn ReadAt,
    report: &mut Report,
) -> Option<Option<(Stripped<'a>, DebugFacts)>> {
    let elf = if request.strip { Elf::read(firmware).ok() } else { None };
    let Some(elf) = elf else { return Some(None) };
    let stripped = Stripped::new(&elf).and_then(|stripped| match stripped {
        Some(stripped) => Ok(Some((stripped, DebugFacts::read(&elf)?))),
        None => Ok(None),
    });
    match stripped {
        Ok(stripped) => Some(stripped),
        Err(StripError::Io(error)) => {
            check::unreadable(&error, report);
            None
        }
        Err(error @ StripError::Unusual(_)) => {
            let remedy = "pack it without --strip, or give a file made with: objcopy --strip-debug";
            report.add(Code::CannotStrip, None, error.to_string(), remedy);
            None
        }
    }
}

/// A firmware that was looked at, and what was decided for it.
struct Judged<'a, T> {
    elf: Elf<'a>,
    decisions: Decisions,
    boot: Option<Boot<'a>>,
    /// What was found out beside the RTOS.
    beside: T,
}

/// Looks at a firmware for a board and a pedestal, and quotes it where there is something to say.
fn judge<'a, T>(
    request: &Request<'a>,
    firmware: &'a dyn ReadAt,
    identify: impl FnOnce(&Elf<'_>) -> io::Result<(Option<Identity>, T)>,
    report: &mut Report,
) -> Option<Judged<'a, T>> {
    let judged = look_at(request, firmware, identify, report);
    let judged = judged.unwrap_or_else(|error| {
        check::unreadable(&error, report);
        None
    });
    report.allow(&request.allow);
    report.quote(firmware);
    judged
}

/// None where it is no firmware: what is wrong with the file comes first, and guesses about such a file would only be
/// noise.
fn look_at<'a, T>(
    request: &Request<'a>,
    firmware: &'a dyn ReadAt,
    identify: impl FnOnce(&Elf<'_>) -> io::Result<(Option<Identity>, T)>,
    report: &mut Report,
) -> io::Result<Option<Judged<'a, T>>> {
    let elf = check::examine(firmware, report);
    report.allow(&request.allow);
    let Some(elf) = elf.filter(|_| !report.has_errors()) else { return Ok(None) };
    let (identity, beside) = identify(&elf)?;
    client_conf::compare(request, identity.as_ref(), report);
    let identity = match request.wanted_rtos() {
        Some(rtos) => Some(given(rtos.value, identity)),
        None => identity.or_else(|| request.build.map(|_| built())),
    };
    let identity = identity.map(|identity| with_version(identity, request.build));
    check::advise(&elf, identity.as_ref(), report);
    let decisions = decide::decide(request, &elf, identity, report);
    let boot = Boot::choose(request, &elf, decisions.pedestal.value, report)?;
    Ok(Some(Judged { elf, decisions, boot, beside }))
}

/// What runs in the firmware, and the digest of the whole file: two passes that know nothing of each other.
fn identify_and_hash(elf: &Elf<'_>) -> io::Result<(Option<Identity>, Sha256Digest)> {
    let file = elf.file();
    if file.size() < image::WORTH_A_THREAD {
        return Ok((detect::identify(elf)?, source::digest(file)?));
    }
    thread::scope(|scope| {
        let digest = scope.spawn(|| source::digest(file));
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
