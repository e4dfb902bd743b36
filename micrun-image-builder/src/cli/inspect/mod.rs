//! `inspect`.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use micrun_image_spec::board::{BoardProfile, Boards};
use serde::Serialize;

use super::input::{Input, RawArgs, refuse_for_image};
use super::job::board;
use super::places::Places;
use super::registry::RegistryArgs;
use super::subject::{Opened, Subject};
use super::{BoardDirs, CliError, Format, render};
use crate::audit;
use crate::boot::raw;
use crate::check::{self, Report};
use crate::image::Platform;
use crate::inspect::Facts;
use crate::inspect::image::{ImageFacts, Inspection, Options, inspect};
use crate::source::{ReadAt, RegularFile};

mod firmware;
mod image;
mod table;

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct InspectArgs {
    /// The ELF file that the linker wrote, or a Zephyr build directory; or an image: docker://NAME[:TAG], oci:DIR[:TAG],
    /// oci-archive:FILE, or the path of a layout or archive
    subject: Subject,
    /// Board whose memory the map is compared with [default: as the image says, else the usual one for RTOS and
    /// architecture, if it fits]
    #[arg(long)]
    board: Option<String>,
    /// Of an image for several platforms, the one to look at [default: this machine's, else the first]
    #[arg(long, value_name = "linux/ARCH")]
    platform: Option<Platform>,
    #[command(flatten)]
    raw: RawArgs,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    boards: BoardDirs,
    #[command(flatten)]
    registry: RegistryArgs,
}

const EXAMPLES: &str = "\
Examples:
  micrun-image-builder inspect zephyr.elf
  micrun-image-builder inspect app.elf --board qemu_cortex_m3
  micrun-image-builder inspect app.elf --format json | jq .firmware.memory
  micrun-image-builder inspect zephyr.oci.tar
  micrun-image-builder inspect docker://registry.example/demo/zephyr:1 --platform linux/arm64

Sizes are rounded for people; --format json has them in bytes. Errors in the firmware are reported, but do not hide its
facts. Of a damaged image, what can be read is shown, and the exit status is 1.";

/// What `--format json` prints. The names of its parts stay; more may come.
#[derive(Serialize)]
struct Inspected<'a> {
    file: String,
    /// None of a firmware outside of any.
    image: Option<&'a ImageFacts>,
    /// None where the file cannot be read as firmware; the findings say why.
    firmware: Option<&'a Facts>,
    findings: &'a Report,
}

pub(super) fn run(args: &InspectArgs) -> Result<ExitCode, CliError> {
    let boards = args.boards.load()?;
    let given = args.board.as_deref().map(|name| board(&boards, name)).transpose()?;
    let mut report = Report::default();
    let (image, firmware) = match args.subject.open(&Places::new(&args.registry, true)) {
        Ok(Opened::Firmware(path)) => (None, args.firmware(&path, given, &boards, &mut report)),
        Ok(Opened::Image(source)) => {
            refuse_for_image(&args.raw)?;
            let options = Options { boards: &boards, board: given, platform: args.platform.clone() };
            let Inspection { image, firmware } = inspect(source.as_ref(), &options, &mut report);
            (Some(image), firmware)
        }
        Err(CliError::Store(error)) => {
            audit::unreadable(&error, &mut report);
            (None, None)
        }
        Err(error) => return Err(error),
    };
    let complete = match &image {
        Some(image) => image.whole && (firmware.is_some() || !image.has_firmware()),
        None => firmware.is_some(),
    };
    args.print(image.as_ref(), firmware.as_ref(), &report)?;
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl InspectArgs {
    /// The facts of a file; None where the report says why there are none.
    fn firmware(
        &self,
        path: &Path,
        board: Option<&BoardProfile>,
        boards: &Boards,
        report: &mut Report,
    ) -> Option<Facts> {
        let input = Input::find(path, None, report);
        if report.has_errors() {
            return None;
        }
        let facts = RegularFile::open(&input.path).and_then(|file| {
            let wrapped = raw::wrap(&file, &self.raw.options(), report)?;
            if report.has_errors() {
                return Ok(None);
            }
            let file = wrapped.as_ref().map_or(&file as &dyn ReadAt, |elf| elf);
            check::examine(file, report).map(|elf| Facts::of(&elf, board, boards)).transpose()
        });
        facts.unwrap_or_else(|error| {
            check::unreadable(&error, report);
            None
        })
    }

    fn print(
        &self,
        image: Option<&ImageFacts>,
        firmware: Option<&Facts>,
        findings: &Report,
    ) -> Result<(), CliError> {
        let file = self.subject.to_string();
        if self.format == Format::Json {
            return Ok(super::print_json(&Inspected { file, image, firmware, findings })?);
        }
        // Facts of what is broken are worth less than they look.
        render::report(findings, Path::new(&file), true);
        let mut text = image.map(|image| image::text(&file, image)).unwrap_or_default();
        if let Some(facts) = firmware {
            let inside = image.and_then(|image| image.firmware_file.as_ref());
            if inside.is_some() {
                text.push('\n');
            }
            text += &firmware::text(inside.map_or(&file, |inside| &inside.path), facts);
        }
        Ok(io::stdout().write_all(text.as_bytes())?)
    }
}
