//! `pack`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use micrun_image_spec::board::{BoardProfile, Boards};
use micrun_image_spec::firmware::{Arch, Pedestal, Rtos};

use super::render::printable;
use super::summary::Summary;
use super::{BoardDirs, CliError, Format, places, render};
use crate::boot::raw::{Address, RawOptions};
use crate::check::{self, Code, Report};
use crate::image::{Compression, Epoch, ImageError, Platform, Reference};
use crate::pack::{Request, UserAnnotation, UserKey, UserValue, duplicate_key, pack};
use crate::sbom::{Sbom, SbomError, SbomSource};
use crate::source::{ReadAt, RegularFile};
use crate::store::Location;
use crate::zephyr::Build;

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct PackArgs {
    /// The ELF file that the linker wrote, or a Zephyr build directory; or a raw binary or Intel HEX file, with --arch
    /// and --load-address
    firmware: PathBuf,
    /// Of a Zephyr build with several domains (sysbuild), the one to pack [default: the build's own default]
    #[arg(long, value_name = "NAME")]
    domain: Option<String>,
    /// Name of the image [default: the file's name]
    #[arg(short, long, value_name = "NAME[:TAG]")]
    tag: Option<Reference>,
    /// oci-archive:FILE, oci:DIR, FILE (an archive), or - for an archive on standard output
    /// [default: NAME.oci.tar beside the firmware]
    #[arg(short, long, value_name = "OUTPUT")]
    output: Option<Location>,
    /// Board to run on [default: the usual one for RTOS and architecture]
    #[arg(long)]
    board: Option<String>,
    /// What the guest runs on: qemu, xen, baremetal, jailhouse, hetero, remoteproc [default: the board's first]
    #[arg(long)]
    pedestal: Option<Pedestal>,
    /// Name of the RTOS, a lower-case word [default: as recognised in the file]
    #[arg(long)]
    rtos: Option<Rtos>,
    /// Platform of the nodes; several make one index over images that share their layer [default: this machine's for
    /// qemu, else by the firmware's architecture]
    #[arg(long = "platform", value_name = "linux/ARCH", value_delimiter = ',')]
    platforms: Vec<Platform>,
    /// Compression of the layer: zstd, gzip or none
    #[arg(long, default_value_t, value_name = "METHOD")]
    compression: Compression,
    /// Set a key of client.conf, such as Memory=64; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    keys: Vec<UserKey>,
    /// Add an annotation; may be given several times
    #[arg(long = "annotation", value_name = "KEY=VALUE")]
    annotations: Vec<UserAnnotation>,
    /// Boot image for pedestals xen and hetero [default: made from the ELF file]
    #[arg(long, value_name = "FILE")]
    boot_image: Option<PathBuf>,
    /// Where a raw binary is loaded, such as 0x8000000
    #[arg(long, value_name = "ADDRESS")]
    load_address: Option<Address>,
    /// Architecture of a raw binary or Intel HEX file: aarch64, arm, riscv64, riscv32, x86 or x86_64
    #[arg(long)]
    arch: Option<Arch>,
    /// Entry point of a raw binary or Intel HEX file [default: the reset vector on Cortex-M, else as the file
    /// says, else its first byte]
    #[arg(long, value_name = "ADDRESS")]
    entry: Option<Address>,
    /// Attach a bill of materials: an SPDX file, or `generate` for one that names the image's files and the RTOS; may be
    /// given several times
    #[arg(long = "sbom", value_name = "FILE")]
    sboms: Vec<SbomSource>,
    /// Turn an error with this code into a warning; may be given several times
    #[arg(long, value_name = "CODE", value_parser = allowable_code)]
    allow: Vec<Code>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Print errors only
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    boards: BoardDirs,
}

const EXAMPLES: &str = "\
Examples:
  micrun-image-builder pack zephyr.elf
  micrun-image-builder pack zephyr.elf --tag demo/zephyr:1 --set Memory=64
  micrun-image-builder pack build --sbom build/spdx/zephyr.spdx
  micrun-image-builder pack app.elf --board qemu_arm64 --rtos baremetal -o oci:app
  micrun-image-builder pack app.elf --pedestal xen --set Memory=32
  micrun-image-builder pack app.bin --arch arm --load-address 0x8000000
  micrun-image-builder pack zephyr.elf -o - | ssh node ctr image import -

Time stamps are those of SOURCE_DATE_EPOCH, else 1970: the same inputs give the same image
for the same --platform.";

pub(super) fn allowable_code(text: &str) -> Result<Code, String> {
    let code: Code = text.parse().map_err(|error| format!("{error}"))?;
    if code.can_be_allowed() {
        return Ok(code);
    }
    Err(format!("{code} ({}) cannot be allowed", code.title()))
}

pub(super) fn run(args: &PackArgs) -> Result<ExitCode, CliError> {
    let mut report = Report::default();
    let Input { path, build } = Input::find(args, &mut report);
    let destination = destination(args, &path)?;
    refuse_duplicates("--set", &args.keys)?;
    refuse_duplicates("--annotation", &args.annotations)?;
    let sboms = given_sboms(&args.sboms)?;
    let boards = args.boards.load()?;
    let boot_image = args.boot_image.as_deref().map(open_boot_image).transpose()?;
    let request = Request {
        file_stem: &path.file_stem().unwrap_or_default().to_string_lossy(),
        tag: args.tag.clone(),
        board: args.board.as_deref().map(|name| board(&boards, name)).transpose()?,
        pedestal: args.pedestal,
        rtos: args.rtos.clone(),
        platforms: distinct(&args.platforms)?,
        boot_image: boot_image.as_ref().map(|file| file as &dyn ReadAt),
        raw: RawOptions { load_address: args.load_address, arch: args.arch, entry: args.entry },
        compression: args.compression,
        keys: args.keys.clone(),
        annotations: args.annotations.clone(),
        allow: args.allow.clone(),
        epoch: source_date_epoch()?,
        boards: &boards,
        build: build.as_ref(),
        generate_sbom: args.sboms.contains(&SbomSource::Generate),
    };
    let packed = match RegularFile::open(&path) {
        _ if report.has_errors() => None,
        Ok(firmware) => {
            let packed = pack(&request, &firmware, &mut report)?;
            // A build that is still running would leave an image of half of each.
            for file in [&firmware].into_iter().chain(&boot_image) {
                file.check_unchanged().map_err(ImageError::write("the image"))?;
            }
            packed
        }
        Err(error) => {
            check::unreadable(&error, &mut report);
            None
        }
    };
    if args.format == Format::Text {
        render::report(&report, &path, args.quiet);
    }
    let Some(packed) = packed else {
        if args.format == Format::Json {
            Summary::refused(&path, &report).print_json(&destination)?;
        }
        return Ok(ExitCode::FAILURE);
    };
    let reference = &packed.decisions.reference.value;
    let sink = places::sink(&destination, reference, request.epoch.unwrap_or_default())?;
    let root = packed.image.descriptor();
    let attached = sboms.into_iter().chain(packed.sbom.clone()).map(|sbom| sbom.attach(root, request.epoch));
    packed.image.write(sink, &attached.collect::<Result<Vec<_>, _>>()?)?;
    let summary = Summary::packed(&path, &packed, &destination, &report);
    match args.format {
        Format::Json => summary.print_json(&destination)?,
        Format::Text if !args.quiet => summary.print_text(&destination)?,
        Format::Text => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// The firmware: the file that was given, or the one in the build directory that was given.
struct Input {
    path: PathBuf,
    build: Option<Build>,
}

impl Input {
    /// Of a directory that is no build, the report says so.
    fn find(args: &PackArgs, report: &mut Report) -> Self {
        let given = || Input { path: args.firmware.clone(), build: None };
        if !args.firmware.is_dir() && args.domain.is_none() {
            return given();
        }
        match Build::open(&args.firmware, args.domain.as_deref()) {
            Ok(build) => {
                if args.sboms.is_empty() {
                    note_sboms(&build, report);
                }
                Input { path: build.elf.clone(), build: Some(build) }
            }
            Err(error) => {
                let message = format!("cannot read the firmware: {error}");
                report.add(Code::Unreadable, None, message, error.remedy());
                given()
            }
        }
    }
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

fn destination(args: &PackArgs, firmware: &Path) -> Result<Location, CliError> {
    let destination = args.output.clone().unwrap_or_else(|| Location::beside(firmware));
    places::check_output(&destination)?;
    if let Location::Archive(image) | Location::Layout(image) = &destination
        && image.tag.is_some()
    {
        return Err(CliError::Usage(format!(
            "`{destination}` has a tag; give it with --tag and leave it out here"
        )));
    }
    for (input, what) in [(Some(firmware), "firmware"), (args.boot_image.as_deref(), "boot image")] {
        if input.is_some_and(|input| input.is_file() && destination.is_same_file(input)) {
            return Err(CliError::Usage(format!(
                "the output is the {what} itself: give another file with -o"
            )));
        }
    }
    Ok(destination)
}

fn distinct(platforms: &[Platform]) -> Result<Vec<Platform>, CliError> {
    match platforms.iter().enumerate().find(|(i, platform)| platforms[..*i].contains(platform)) {
        Some((_, twice)) => Err(CliError::Usage(format!("--platform {twice} is given twice"))),
        None => Ok(platforms.to_vec()),
    }
}

fn open_boot_image(path: &Path) -> Result<RegularFile, CliError> {
    RegularFile::open(path).map_err(|error| {
        CliError::Usage(format!("--boot-image {}: {error}", printable(&path.display().to_string())))
    })
}

fn refuse_duplicates(option: &str, values: &[impl UserValue]) -> Result<(), CliError> {
    match duplicate_key(values) {
        Some(key) => Err(CliError::Usage(format!("{option} {key} is given twice: leave one of them out"))),
        None => Ok(()),
    }
}

pub(super) fn board<'b>(boards: &'b Boards, name: &str) -> Result<&'b BoardProfile, CliError> {
    boards.get(name).ok_or_else(|| {
        let known: Vec<_> = boards.iter().map(|(board, _)| board.name.as_str()).collect();
        CliError::Usage(format!("board `{}` is unknown; known are {}", name.escape_debug(), known.join(", ")))
    })
}

fn source_date_epoch() -> Result<Option<Epoch>, CliError> {
    // An empty variable is one that somebody wanted to unset.
    match std::env::var_os("SOURCE_DATE_EPOCH").filter(|text| !text.is_empty()) {
        Some(text) => Ok(Some(text.to_string_lossy().parse()?)),
        None => Ok(None),
    }
}
