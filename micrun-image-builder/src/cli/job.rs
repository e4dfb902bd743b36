//! Does one job of `pack`: one firmware, one image.

use std::path::Path;

use micrun_image_spec::board::{BoardProfile, Boards};
use micrun_image_spec::client_conf::ClientConf;

use super::input::Input;
use super::places::Places;
use super::render::printable;
use super::summary::Summary;
use super::{CliError, Format, places, render};
use crate::check::{self, Code, Place, Report};
use crate::image::{Epoch, ImageError, Reference};
use crate::pack::{Packed, Request, UserConf, pack};
use crate::project::Job;
use crate::sbom::{Sbom, SbomError, SbomSource};
use crate::small_file;
use crate::source::{ReadAt, RegularFile};
use crate::store::Location;
use crate::zephyr::Build;

/// What all jobs of a command have in common.
pub(super) struct Settings<'a> {
    pub(super) boards: &'a Boards,
    pub(super) epoch: Option<Epoch>,
    pub(super) places: &'a Places,
    pub(super) format: Format,
    pub(super) quiet: bool,
}

/// What came of a job.
pub(super) struct Outcome {
    /// True if there is an image; else the findings say why not.
    pub(super) packed: bool,
    /// All of it, for programs.
    pub(super) summary: Summary,
    /// True if the image itself went to standard output.
    pub(super) image_on_stdout: bool,
}

/// Packs, writes, and tells people; programs are for the caller to tell.
pub(super) fn run(job: &Job, settings: &Settings<'_>) -> Result<Outcome, CliError> {
    if job.firmware == Path::new("-") {
        return Err(CliError::Usage(places::NO_PIPE.to_owned()));
    }
    let mut report = Report::default();
    let input = Input::find(&job.firmware, job.domain.as_deref(), &mut report);
    if let Some(build) = input.build.as_ref().filter(|_| job.sboms.is_empty()) {
        note_sboms(build, &mut report);
    }
    let destination = destination(job, &input.path)?;
    let sboms = given_sboms(&job.sboms)?;
    let read = read_and_pack(job, settings, &input, &mut report)?;
    if settings.format == Format::Text {
        render::report(&report, &input.path, settings.quiet);
    }
    let packed = read.is_some();
    let summary = match read {
        Some((packed, firmware)) => {
            write(&packed, &input.path, &firmware, sboms, &destination, settings)?;
            Summary::packed(&input.path, &packed, &destination, report)
        }
        None => Summary::refused(&input.path, report),
    };
    if settings.format == Format::Text && !settings.quiet {
        summary.print_text(&destination)?;
    }
    Ok(Outcome { packed, summary, image_on_stdout: destination == Location::Stdout })
}

fn read_and_pack(
    job: &Job,
    settings: &Settings<'_>,
    input: &Input,
    report: &mut Report,
) -> Result<Option<(Packed, RegularFile)>, CliError> {
    let boot_image = job.boot_image.as_deref().map(open_boot_image).transpose()?;
    let client_conf = match job.client_conf.as_deref().map(|path| read_client_conf(path, report)) {
        Some(read) => read?,
        None => None,
    };
    let request = Request {
        file_stem: &input.path.file_stem().unwrap_or_default().to_string_lossy(),
        tag: job.tag.clone().or_else(|| name_of_output(job)),
        board: job.board.as_deref().map(|name| board(settings.boards, name)).transpose()?,
        pedestal: job.pedestal,
        rtos: job.rtos.clone(),
        platforms: job.platforms.clone(),
        boot_image: boot_image.as_ref().map(|file| file as &dyn ReadAt),
        raw: job.raw.clone(),
        compression: job.compression.unwrap_or_default(),
        client_conf: client_conf.as_ref(),
        keys: job.keys.clone(),
        annotations: job.annotations.clone(),
        allow: job.allow.clone(),
        epoch: settings.epoch,
        boards: settings.boards,
        build: input.build.as_ref(),
        generate_sbom: job.sboms.contains(&SbomSource::Generate),
        strip: job.strip.unwrap_or_default(),
    };
    if report.has_errors() {
        return Ok(None);
    }
    let firmware = match RegularFile::open(&input.path) {
        Ok(firmware) => firmware,
        Err(error) => {
            check::unreadable(&error, report);
            return Ok(None);
        }
    };
    let packed = pack(&request, &firmware, report)?;
    // A build that is still running would leave an image of half of each.
    for file in [&firmware].into_iter().chain(&boot_image) {
        file.check_unchanged().map_err(ImageError::write("the image"))?;
    }
    Ok(packed.map(|packed| (packed, firmware)))
}

/// Writes the image, and what is attached to it.
fn write(
    packed: &Packed,
    path: &Path,
    firmware: &RegularFile,
    sboms: Vec<Sbom>,
    destination: &Location,
    settings: &Settings<'_>,
) -> Result<(), CliError> {
    let name = places::named(&packed.decisions.reference.value);
    let sink = settings.places.sink(destination, name, settings.epoch.unwrap_or_default())?;
    let root = packed.image.descriptor();
    let attached = sboms.into_iter().chain(packed.sbom.clone()).map(|sbom| sbom.attach(root, settings.epoch));
    let mut attached = attached.collect::<Result<Vec<_>, _>>()?;
    if let Some(debug) = &packed.debug {
        let title = path.file_name().unwrap_or_default().to_string_lossy();
        attached.push(debug.attach(root, packed.firmware_digest, &title, firmware, settings.epoch)?);
    }
    Ok(packed.image.write(sink, &attached)?)
}

/// Says that a build has bills of materials of its own.
fn note_sboms(build: &Build, report: &mut Report) {
    if build.spdx.is_empty() {
        return;
    }
    let options: Vec<_> = build.spdx.iter().map(|path| format!("--sbom {}", path.display())).collect();
    report.add(
        Code::SbomNotAttached,
        None,
        format!("west spdx left {} documents, which are not attached", build.spdx.len()),
        format!("attach them with {}", options.join(" ")),
    );
}

/// The files that shall be attached.
fn given_sboms(sources: &[SbomSource]) -> Result<Vec<Sbom>, SbomError> {
    let files = sources.iter().filter_map(|source| match source {
        SbomSource::File(path) => Some(path),
        SbomSource::Generate => None,
    });
    files.map(|path| Sbom::read(path)).collect()
}

fn destination(job: &Job, firmware: &Path) -> Result<Location, CliError> {
    let destination = job.output.clone().unwrap_or_else(|| Location::beside(firmware));
    places::check_output(&destination)?;
    if let Location::Archive(image) | Location::Layout(image) = &destination
        && image.tag.is_some()
    {
        return Err(CliError::Usage(format!(
            "`{destination}` has a tag; give it with --tag and leave it out here"
        )));
    }
    for (input, what) in [(Some(firmware), "firmware"), (job.boot_image.as_deref(), "boot image")] {
        if input.is_some_and(|input| input.is_file() && destination.is_same_file(input)) {
            return Err(CliError::Usage(format!(
                "the output is the {what} itself: give another file with -o"
            )));
        }
    }
    Ok(destination)
}

/// A registry's place is a name.
fn name_of_output(job: &Job) -> Option<Reference> {
    match &job.output {
        Some(Location::Registry(name)) => name.reference().cloned(),
        _ => None,
    }
}

fn open_boot_image(path: &Path) -> Result<RegularFile, CliError> {
    RegularFile::open(path).map_err(|error| {
        CliError::Usage(format!("--boot-image {}: {error}", printable(&path.display().to_string())))
    })
}

/// None where the report says what is wrong in it.
fn read_client_conf(path: &Path, report: &mut Report) -> Result<Option<UserConf>, CliError> {
    let name = path.display().to_string();
    let bytes = small_file::read(path, ClientConf::MAX_BYTES as u64)
        .map_err(|error| CliError::Usage(format!("--client-conf: {}", printable(&error.to_string()))))?;
    match ClientConf::from_bytes(&bytes) {
        Ok(conf) => Ok(Some(UserConf { conf, name })),
        Err(error) => {
            let place = Some(Place::Option(format!("--client-conf {name}")));
            report.add(Code::BadClientConf, place, error.to_string(), "correct the file");
            Ok(None)
        }
    }
}

/// The board that a user names.
pub(super) fn board<'b>(boards: &'b Boards, name: &str) -> Result<&'b BoardProfile, CliError> {
    boards.get(name).ok_or_else(|| unknown_board(boards, name))
}

/// A board that none of the profiles describes.
pub(super) fn unknown_board(boards: &Boards, name: &str) -> CliError {
    let known: Vec<_> = boards.iter().map(|(board, _)| board.name.as_str()).collect();
    CliError::Usage(format!("board `{}` is unknown; known are {}", name.escape_debug(), known.join(", ")))
}
