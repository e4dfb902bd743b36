//! From a project file to its jobs.
//!
//! An OCI index holds one image per platform, and containerd picks by platform alone. So firmwares for several boards
//! are several images, which share a name and differ in their tags.

use std::path::{Path, PathBuf};

use super::Job;
use super::fields::{AllowedCode, FilePath, Parsed};
use super::schema::{Details, File, Firmware};
use crate::boot::raw::RawOptions;
use crate::check::Code;
use crate::image::Reference;
use crate::sbom::SbomSource;
use crate::store::Location;
use crate::store::location::LocalImage;
use crate::yaml::{List, Text};

/// Makes the jobs, or says why there are none.
pub(super) fn expand(file: &File, dir: &Path, over: &Job) -> Result<Vec<Job>, String> {
    let firmwares = firmwares(file)?;
    let platforms = &file.image.platforms.0;
    if let Some((_, Parsed(twice))) =
        platforms.iter().enumerate().find(|(i, p)| platforms[..*i].iter().any(|other| other.0 == p.0))
    {
        return Err(format!("image.platforms has {twice} twice"));
    }
    let several = firmwares.len() > 1;
    let name = over.tag.clone().or_else(|| value(&file.image.name));
    let output = over.output.clone().or_else(|| value(&file.image.output).map(|at| below(dir, at)));
    let mut jobs: Vec<Job> = Vec::new();
    for (index, firmware) in firmwares.iter().enumerate() {
        let said = shared(file, dir).overridden_by(&own(firmware, dir));
        let mut job = said.overridden_by(&Job { tag: None, output: None, ..over.clone() });
        let context = |problem: String| match several {
            true => format!("firmware {} ({}): {problem}", index + 1, firmware.path.0.display()),
            false => problem,
        };
        job.tag = tag(name.as_ref(), &firmware.details, &job, several).map_err(context)?;
        job.output = place(output.as_ref(), dir, job.tag.as_ref(), several)?;
        if let Some(twin) = jobs.iter().position(|other| several && other.tag == job.tag) {
            let tag = job.tag.iter().map(ToString::to_string).collect::<String>();
            return Err(context(format!(
                "it would be called {tag}, as firmware {} is: give it a `tag` of its own",
                twin + 1
            )));
        }
        jobs.push(job);
    }
    Ok(jobs)
}

fn firmwares(file: &File) -> Result<Vec<&Firmware>, String> {
    match (&file.firmware, &file.firmwares) {
        (Some(one), None) => Ok(vec![one]),
        (None, Some(List(several))) if !several.is_empty() => Ok(several.iter().collect()),
        (None, _) => {
            Err("there is nothing to pack: write `firmware: PATH`, or a list `firmwares`".to_owned())
        }
        (Some(_), Some(_)) => Err("there are `firmware` and `firmwares`: write one of them".to_owned()),
    }
}

/// What the file says for all firmwares.
fn shared(file: &File, dir: &Path) -> Job {
    Job {
        board: file.board.as_ref().map(|Parsed(board)| board.to_string()),
        pedestal: value(&file.pedestal),
        rtos: value(&file.rtos),
        platforms: file.image.platforms.0.iter().map(|Parsed(platform)| platform.clone()).collect(),
        compression: value(&file.image.compression),
        client_conf: file_path(&file.client_conf, dir),
        keys: file.resources.0.clone(),
        strip: file.strip,
        annotations: file.image.annotations.0.clone(),
        sboms: sboms(&file.image.sbom, dir),
        allow: allowed(&file.allow),
        ..Job::default()
    }
}

/// What it says for one.
fn own(firmware: &Firmware, dir: &Path) -> Job {
    let Firmware { path, details } = firmware;
    let raw = RawOptions {
        load_address: value(&details.load_address),
        arch: value(&details.arch),
        entry: value(&details.entry),
    };
    Job {
        firmware: dir.join(&path.0),
        domain: details.domain.clone().map(|Text(name)| name),
        board: details.board.as_ref().map(|Parsed(board)| board.to_string()),
        pedestal: value(&details.pedestal),
        rtos: value(&details.rtos),
        boot_image: file_path(&details.boot_image, dir),
        client_conf: file_path(&details.client_conf, dir),
        strip: details.strip,
        raw,
        keys: details.resources.0.clone(),
        annotations: details.annotations.0.clone(),
        sboms: details.sbom.as_ref().map(|list| sboms(list, dir)).unwrap_or_default(),
        allow: allowed(&details.allow),
        ..Job::default()
    }
}

fn file_path(path: &Option<FilePath>, dir: &Path) -> Option<PathBuf> {
    path.as_ref().map(|FilePath(path)| dir.join(path))
}

fn value<T: Clone>(parsed: &Option<Parsed<T>>) -> Option<T> {
    parsed.as_ref().map(|Parsed(value)| value.clone())
}

fn allowed(codes: &List<Parsed<AllowedCode>, 64>) -> Vec<Code> {
    codes.0.iter().map(|Parsed(AllowedCode(code))| *code).collect()
}

fn sboms(sources: &List<Parsed<SbomSource>, 16>, dir: &Path) -> Vec<SbomSource> {
    let source = |Parsed(source): &Parsed<SbomSource>| match source {
        SbomSource::Generate => SbomSource::Generate,
        SbomSource::File(path) => SbomSource::File(dir.join(path)),
    };
    sources.0.iter().map(source).collect()
}

/// The image's name. Of several images, the tag tells them apart: it ends with the board unless it is given.
fn tag(
    name: Option<&Reference>,
    details: &Details,
    job: &Job,
    several: bool,
) -> Result<Option<Reference>, String> {
    let Some(name) = name else {
        return match several || details.tag.is_some() {
            true => Err("the image has no name: write `image: { name: NAME }`".to_owned()),
            false => Ok(None),
        };
    };
    let tag = match (&details.tag, &job.board) {
        (Some(Text(tag)), _) => tag.clone(),
        (None, _) if !several => return Ok(Some(name.clone())),
        (None, Some(board)) => format!("{}-{}", name.tag(), board.replace(['/', '@'], "-")),
        (None, None) => {
            return Err(
                "several firmwares make several images: give this one a `board` or a `tag`, to tell \
                        them apart"
                    .to_owned(),
            );
        }
    };
    name.with_tag(&tag).map(Some).map_err(|error| error.to_string())
}

/// Where the image goes. A path that ends with a slash is a directory of archives.
fn place(
    output: Option<&Location>,
    dir: &Path,
    tag: Option<&Reference>,
    several: bool,
) -> Result<Option<Location>, String> {
    let archive_in = |folder: PathBuf, tag: &Reference| {
        Location::Path(folder.join(format!("{}-{}.oci.tar", tag.short_name(), tag.tag())))
    };
    match (output, tag) {
        (Some(Location::Path(folder)), Some(tag)) if is_folder(folder) => {
            Ok(Some(archive_in(folder.clone(), tag)))
        }
        (None, Some(tag)) if several => Ok(Some(archive_in(dir.to_owned(), tag))),
        (Some(Location::Layout(_)) | None, _) => Ok(output.cloned()),
        (Some(_), _) if !several => Ok(output.cloned()),
        (Some(output), _) => Err(format!(
            "several images do not fit into `{output}`: write oci:DIR for a layout, or DIR/ for a directory of archives"
        )),
    }
}

fn is_folder(path: &Path) -> bool {
    path.to_string_lossy().ends_with(['/', std::path::MAIN_SEPARATOR])
}

/// A place on this machine, relative to a directory.
fn below(dir: &Path, location: Location) -> Location {
    let local = |image: LocalImage| LocalImage { path: dir.join(image.path), ..image };
    match location {
        Location::Archive(image) => Location::Archive(local(image)),
        Location::Layout(image) => Location::Layout(local(image)),
        Location::Path(path) => Location::Path(dir.join(path)),
        other => other,
    }
}
