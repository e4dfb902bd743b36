//! `pack`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use micrun_image_spec::firmware::{Pedestal, Rtos};

use super::input::RawArgs;
use super::job::{self, Settings};
use super::places::Places;
use super::registry::RegistryArgs;
use super::{BoardDirs, CliError, Format, summary};
use crate::check::Code;
use crate::image::{Compression, Epoch, Platform, Reference};
use crate::pack::{UserAnnotation, UserKey, UserValue, duplicate_key};
use crate::project::{Job, Project};
use crate::sbom::SbomSource;
use crate::store::Location;

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct PackArgs {
    /// The ELF file that the linker wrote, or a Zephyr build directory; or a raw binary or Intel HEX file, with --arch
    /// and --load-address
    #[arg(required_unless_present = "file")]
    firmware: Option<PathBuf>,
    /// Project file that says which firmwares become which images; other options outweigh what it says
    #[arg(short, long, value_name = "FILE.yaml", conflicts_with = "firmware")]
    file: Option<PathBuf>,
    /// Of a Zephyr build with several domains (sysbuild), the one to pack [default: the build's own default]
    #[arg(long, value_name = "NAME")]
    domain: Option<String>,
    /// Name of the image [default: the file's name]
    #[arg(short, long, value_name = "NAME[:TAG]")]
    tag: Option<Reference>,
    /// docker://NAME[:TAG], oci-archive:FILE, oci:DIR, FILE (an archive), or - for an archive on standard output
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
    /// Compression of the layer: zstd, gzip or none [default: zstd]
    #[arg(long, value_name = "METHOD")]
    compression: Option<Compression>,
    /// A client.conf whose values outweigh what is assumed, and are outweighed by options
    #[arg(long, value_name = "FILE")]
    client_conf: Option<PathBuf>,
    /// Set a key of client.conf, such as Memory=64; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    keys: Vec<UserKey>,
    /// Add an annotation; may be given several times
    #[arg(long = "annotation", value_name = "KEY=VALUE")]
    annotations: Vec<UserAnnotation>,
    /// Boot image for pedestals xen and hetero [default: made from the ELF file]
    #[arg(long, value_name = "FILE")]
    boot_image: Option<PathBuf>,
    #[command(flatten)]
    raw: RawArgs,
    /// Attach a bill of materials: an SPDX file, or `generate` for one that names the image's files and the RTOS;
    /// may be given several times
    #[arg(long = "sbom", value_name = "FILE")]
    sboms: Vec<SbomSource>,
    /// Leave debug information out of the image, and keep it beside: as an artifact that refers to the image
    #[arg(long)]
    strip: bool,
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
    #[command(flatten)]
    registry: RegistryArgs,
}

const EXAMPLES: &str = "\
Examples:
  micrun-image-builder pack zephyr.elf
  micrun-image-builder pack zephyr.elf --tag demo/zephyr:1 --set Memory=64
  micrun-image-builder pack build --sbom build/spdx/zephyr.spdx
  micrun-image-builder pack zephyr.elf --strip
  micrun-image-builder pack app.elf --board qemu_arm64 --rtos baremetal -o oci:app
  micrun-image-builder pack app.elf --pedestal xen --set Memory=32
  micrun-image-builder pack app.elf --client-conf app.conf
  micrun-image-builder pack app.bin --arch arm --load-address 0x8000000
  micrun-image-builder pack -f firmware.yaml -o oci:images
  micrun-image-builder pack zephyr.elf -o - | ssh node ctr image import -

Time stamps are those of SOURCE_DATE_EPOCH, else 1970: the same inputs give the same image \
for the same --platform.";

pub(super) fn allowable_code(text: &str) -> Result<Code, String> {
    let code: Code = text.parse().map_err(|error| format!("{error}"))?;
    if code.can_be_allowed() {
        return Ok(code);
    }
    Err(format!("{code} ({}) cannot be allowed", code.title()))
}

pub(super) fn run(args: &PackArgs) -> Result<ExitCode, CliError> {
    refuse_duplicates("--set", &args.keys)?;
    refuse_duplicates("--annotation", &args.annotations)?;
    let jobs = args.jobs()?;
    let boards = args.boards.load()?;
    let settings = Settings {
        boards: &boards,
        epoch: source_date_epoch()?,
        places: &Places::new(&args.registry, args.quiet),
        format: args.format,
        quiet: args.quiet,
    };
    let mut outcomes = Vec::new();
    for job in &jobs {
        outcomes.push(job::run(job, &settings)?);
    }
    if args.format == Format::Json {
        let to_stderr = outcomes.iter().any(|outcome| outcome.image_on_stdout);
        let mut summaries: Vec<_> = outcomes.iter().map(|outcome| &outcome.summary).collect();
        match summaries.pop() {
            Some(only) if args.file.is_none() => summary::print_json(only, to_stderr)?,
            last => {
                summaries.extend(last);
                summary::print_json(&summaries, to_stderr)?;
            }
        }
    }
    let packed = outcomes.iter().all(|outcome| outcome.packed);
    Ok(if packed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl PackArgs {
    /// One job for the firmware of the command line, or those of the project file.
    fn jobs(&self) -> Result<Vec<Job>, CliError> {
        let said = self.job()?;
        match &self.file {
            Some(file) => Ok(Project::read(file)?.requests_with(&said)?),
            None => Ok(vec![said]),
        }
    }

    /// What the command line alone says.
    fn job(&self) -> Result<Job, CliError> {
        Ok(Job {
            firmware: self.firmware.clone().unwrap_or_default(),
            domain: self.domain.clone(),
            tag: self.tag.clone(),
            output: self.output.clone(),
            board: self.board.clone(),
            pedestal: self.pedestal,
            rtos: self.rtos.clone(),
            platforms: distinct(&self.platforms)?,
            compression: self.compression,
            boot_image: self.boot_image.clone(),
            raw: self.raw.options(),
            client_conf: self.client_conf.clone(),
            keys: self.keys.clone(),
            annotations: self.annotations.clone(),
            sboms: self.sboms.clone(),
            strip: self.strip.then_some(true),
            allow: self.allow.clone(),
        })
    }
}

fn distinct(platforms: &[Platform]) -> Result<Vec<Platform>, CliError> {
    match platforms.iter().enumerate().find(|(i, platform)| platforms[..*i].contains(platform)) {
        Some((_, twice)) => Err(CliError::Usage(format!("--platform {twice} is given twice"))),
        None => Ok(platforms.to_vec()),
    }
}

fn refuse_duplicates(option: &str, values: &[impl UserValue]) -> Result<(), CliError> {
    match duplicate_key(values) {
        Some(key) => Err(CliError::Usage(format!("{option} {key} is given twice: leave one of them out"))),
        None => Ok(()),
    }
}

fn source_date_epoch() -> Result<Option<Epoch>, CliError> {
    // An empty variable is one that somebody wanted to unset.
    match std::env::var_os("SOURCE_DATE_EPOCH").filter(|text| !text.is_empty()) {
        Some(text) => Ok(Some(text.to_string_lossy().parse()?)),
        None => Ok(None),
    }
}
