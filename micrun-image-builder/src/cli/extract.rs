//! `extract`.

use std::fs;
use std::io::{self, IsTerminal, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use micrun_image_spec::digest::{HashingWriter, Sha256Digest};
use micrun_image_spec::{BOOT_IMAGE_PATH, CLIENT_CONF_PATH, FIRMWARE_PATH};
use serde::Serialize;

use super::places::Places;
use super::registry::RegistryArgs;
use super::render::printable;
use super::subject::Subject;
use super::{CliError, Format, Printing};
use crate::contents::ImageContents;
use crate::image::{Platform, Spool};
use crate::source::{self, ReadAt};
use crate::store::place::NewFile;
use crate::store::{Source, StoreError, digest_of};
use crate::strip::debug::debug_of;

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ExtractArgs {
    /// The image: docker://NAME[:TAG], oci:DIR[:TAG], oci-archive:FILE, or the path of a layout or archive
    image: Subject,
    /// Where to put the firmware; - for standard output
    #[arg(long, value_name = "FILE")]
    elf: Option<PathBuf>,
    /// Where to put the boot image, which images for xen and hetero have; - for standard output
    #[arg(long, value_name = "FILE")]
    boot_image: Option<PathBuf>,
    /// Where to put client.conf; - for standard output
    #[arg(long, value_name = "FILE")]
    client_conf: Option<PathBuf>,
    /// Where to put the firmware with its debug information, which pack --strip keeps beside the image; - for standard
    /// output
    #[arg(long, value_name = "FILE")]
    debug: Option<PathBuf>,
    /// Put all of them that the image has into a directory, as firmware.elf, image.bin and client.conf
    #[arg(long, value_name = "DIR", conflicts_with_all = ["elf", "boot_image", "client_conf", "debug"])]
    output_dir: Option<PathBuf>,
    /// Of an image for several platforms, the one to take [default: this machine's]
    #[arg(long, value_name = "linux/ARCH")]
    platform: Option<Platform>,
    #[command(flatten)]
    printing: Printing,
    #[command(flatten)]
    registry: RegistryArgs,
}

const EXAMPLES: &str = "\
Examples:
  micrun-image-builder extract zephyr.oci.tar --elf zephyr.elf
  micrun-image-builder extract docker://registry.example/demo/zephyr:1 --output-dir zephyr
  micrun-image-builder extract zephyr.oci.tar --debug zephyr-debug.elf
  micrun-image-builder extract oci:images:v1 --client-conf - | grep Memory

Every digest is compared before a file takes its place.";

/// Something that was extracted.
#[derive(Serialize)]
struct Extracted {
    what: &'static str,
    file: String,
    size: u64,
    digest: Sha256Digest,
}

pub(super) fn run(args: &ExtractArgs) -> Result<ExitCode, CliError> {
    let inside = [&args.elf, &args.boot_image, &args.client_conf];
    let wanted = inside.into_iter().chain([&args.debug]);
    let to_stdout = wanted.clone().flatten().filter(|path| is_stdout(path)).count();
    if to_stdout > 1 {
        return Err(CliError::Usage("only one file can go to standard output".to_owned()));
    }
    let mut binary = [&args.elf, &args.boot_image, &args.debug].into_iter().flatten();
    if binary.any(|path| is_stdout(path)) && io::stdout().is_terminal() {
        return Err(CliError::Usage("refusing to write a firmware to a terminal: give a file".to_owned()));
    }
    if wanted.flatten().next().is_none() && args.output_dir.is_none() {
        let message = "say what to extract: --elf FILE, --boot-image FILE, --client-conf FILE, --debug FILE, or --output-dir DIR";
        return Err(CliError::Usage(message.to_owned()));
    }
    let source = args.image.open_image(&Places::new(&args.registry, args.printing.quiet))?;
    let mut extracted = Vec::new();
    if inside.into_iter().chain([&args.output_dir]).any(Option::is_some) {
        let contents = ImageContents::open(source.as_ref(), args.platform.as_ref())?;
        extracted = match &args.output_dir {
            Some(dir) => extract_all(&contents, dir)?,
            None => extract_some(&contents, inside)?,
        };
    }
    if let Some(path) = &args.debug {
        extracted.push(extract_debug(source.as_ref(), path)?);
    }
    if args.printing.format == Format::Json || !args.printing.quiet {
        print(&extracted, args.printing.format, to_stdout > 0)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn extract_some(
    contents: &ImageContents<'_>,
    [elf, boot_image, client_conf]: [&Option<PathBuf>; 3],
) -> Result<Vec<Extracted>, CliError> {
    let mut found: Vec<(&'static str, Arc<Spool>, &Path)> = Vec::new();
    if let Some(path) = elf {
        found.push(("firmware", contents.firmware()?, path));
    }
    if let Some(path) = boot_image {
        let data = contents.boot_image()?.ok_or_else(|| {
            StoreError::NotFound(
                "the image has no boot image: its pedestal boots the ELF file, --elf gives it".to_owned(),
            )
        })?;
        found.push(("boot image", data, path));
    }
    if let Some(path) = client_conf {
        found.push(("client.conf", contents.file(CLIENT_CONF_PATH)?, path));
    }
    found.into_iter().map(|(what, data, path)| write(what, data.as_ref(), path)).collect()
}

fn extract_all(contents: &ImageContents<'_>, dir: &Path) -> Result<Vec<Extracted>, CliError> {
    let mut found = vec![("firmware", contents.firmware()?, FIRMWARE_PATH)];
    if let Some(data) = contents.boot_image()? {
        found.push(("boot image", data, BOOT_IMAGE_PATH));
    }
    if contents.client_conf.is_some() {
        found.push(("client.conf", contents.file(CLIENT_CONF_PATH)?, CLIENT_CONF_PATH));
    }
    fs::create_dir_all(dir).map_err(StoreError::write(dir.display().to_string()))?;
    let name = |path: &str| dir.join(path.trim_start_matches('/'));
    found.into_iter().map(|(what, data, path)| write(what, data.as_ref(), &name(path))).collect()
}

/// Takes what stands beside the image, which need not be read for it.
fn extract_debug(source: &dyn Source, path: &Path) -> Result<Extracted, CliError> {
    let found = debug_of(source, &source.resolve()?)?.ok_or_else(|| {
        StoreError::NotFound(
            "no debug information stands beside the image: pack --strip puts it there, and --elf gives the firmware as \
             it is in the image"
                .to_owned(),
        )
    })?;
    write_from("debug info", source.open(&found.file, 0)?, Some(digest_of(&found.file)?), path)
}

fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

fn write(what: &'static str, data: &dyn ReadAt, path: &Path) -> Result<Extracted, CliError> {
    write_from(what, source::reader(data, 0..data.size()), None, path)
}

/// Copies a file to where it is wanted; it appears there when it is whole, and has the digest that is expected.
fn write_from(
    what: &'static str,
    mut reader: impl Read,
    expected: Option<Sha256Digest>,
    path: &Path,
) -> Result<Extracted, CliError> {
    let failed = || StoreError::write(format!("the {what} to {}", path.display()));
    let verify = |size, actual| match expected {
        Some(expected) if actual != expected => Err(StoreError::Corrupt { expected, actual, size }),
        _ => Ok((size, actual)),
    };
    let (size, digest) = if is_stdout(path) {
        let mut output = HashingWriter::new(io::stdout());
        io::copy(&mut reader, &mut output).and_then(|_| output.flush()).map_err(failed())?;
        verify(output.byte_count(), output.finish().1)?
    } else {
        let mut output = HashingWriter::new(NewFile::create(path).map_err(failed())?);
        io::copy(&mut reader, &mut output).map_err(failed())?;
        let size = output.byte_count();
        let (file, digest) = output.finish();
        let verified = verify(size, digest)?;
        file.persist().map_err(failed())?;
        verified
    };
    Ok(Extracted { what, file: path.display().to_string(), size, digest })
}

fn print(extracted: &[Extracted], format: Format, to_stderr: bool) -> io::Result<()> {
    let mut text = match format {
        Format::Json => serde_json::to_string_pretty(extracted)? + "\n",
        Format::Text => String::new(),
    };
    for Extracted { what, file, size, digest } in extracted.iter().filter(|_| format == Format::Text) {
        text += &format!("extracted {what:<11} {}  {size} bytes  {digest}\n", printable(file));
    }
    if to_stderr { io::stderr().write_all(text.as_bytes()) } else { io::stdout().write_all(text.as_bytes()) }
}
