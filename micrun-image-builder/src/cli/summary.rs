//! What `pack` says when it is done.

use std::io::{self, Write};
use std::path::Path;

use micrun_image_spec::digest::Sha256Digest;
use serde::Serialize;

use super::render::printable;
use crate::check::Report;
use crate::pack::{BootFacts, Choice, Packed};
use crate::store::Location;
use crate::strip::debug::DebugFacts;

/// The result of `pack`, in the form in which programs get it.
#[derive(Serialize)]
pub(super) struct Summary {
    file: String,
    /// None where the findings say why there is none.
    image: Option<ImageSummary>,
    findings: Report,
}

#[derive(Serialize)]
struct ImageSummary {
    output: String,
    name: Choice<String>,
    digest: String,
    diff_id: Sha256Digest,
    firmware_digest: Sha256Digest,
    size: u64,
    rtos: Choice<Option<String>>,
    rtos_version: Option<String>,
    board: Choice<Option<String>>,
    pedestal: Choice<String>,
    platform: Choice<String>,
    boot_image: Option<Choice<BootFacts>>,
    /// What was taken out of the firmware and stands beside the image.
    debug: Option<DebugFacts>,
    next: String,
}

impl Summary {
    pub(super) fn refused(firmware: &Path, findings: Report) -> Self {
        Summary { file: firmware.display().to_string(), image: None, findings }
    }

    pub(super) fn packed(firmware: &Path, packed: &Packed, destination: &Location, findings: Report) -> Self {
        let decisions = &packed.decisions;
        let reference = &decisions.reference.value;
        let image = ImageSummary {
            output: destination.to_string(),
            next: next_command(destination, &reference.to_string(), &reference.container_id()),
            name: decisions.reference.map(ToString::to_string),
            digest: packed.image.descriptor().digest().to_string(),
            diff_id: packed.image.diff_id(),
            firmware_digest: packed.firmware_digest,
            size: packed.image.size(),
            rtos: decisions.rtos.map(|rtos| rtos.as_ref().map(ToString::to_string)),
            rtos_version: decisions.rtos_version.clone(),
            board: decisions.board.clone(),
            pedestal: decisions.pedestal.map(ToString::to_string),
            boot_image: packed.boot_image.clone(),
            debug: packed.debug.clone(),
            platform: decisions
                .platforms
                .map(|platforms| platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")),
        };
        Summary { file: firmware.display().to_string(), image: Some(image), findings }
    }

    pub(super) fn print_text(&self, destination: &Location) -> io::Result<()> {
        let Some(image) = &self.image else { return Ok(()) };
        let unknown = || "unknown".to_owned();
        let mut rtos = image.rtos.value.clone().unwrap_or_else(unknown);
        if let Some(version) = &image.rtos_version {
            rtos += &format!(" {version}");
        }
        let board = image.board.value.clone().unwrap_or_else(unknown);
        let mut text =
            format!("packed {} into {}\n", printable(&self.file), printable(&shown(&image.output)));
        text += &line("image", &image.name.value, &image.name);
        text += &format!("  {:<9} {}\n", "digest", image.digest);
        text += &format!("  {:<9} {} bytes\n", "size", image.size);
        text += &line("rtos", &rtos, &image.rtos);
        text += &line("board", &board, &image.board);
        text += &line("pedestal", &image.pedestal.value, &image.pedestal);
        text += &line("platform", &image.platform.value, &image.platform);
        if let Some(boot) = &image.boot_image {
            let BootFacts { size, load_address } = boot.value;
            let at = load_address.map_or(String::new(), |address| format!(" at {address:#x}"));
            text += &line("boot", &format!("{size} bytes{at}"), boot);
        }
        if let Some(debug) = &image.debug {
            text += &format!("  {:<9} {} bytes beside the image, for the debugger\n", "debug", debug.size);
        }
        text += &format!("run it:\n  {}\n", printable(&image.next));
        print(destination, text.as_bytes())
    }
}

fn line<T>(title: &str, value: &str, choice: &Choice<T>) -> String {
    format!("  {title:<9} {value:<24} ({choice})\n")
}

/// For programs; to standard error where the image itself is on standard output.
pub(super) fn print_json(value: &impl Serialize, to_stderr: bool) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    if to_stderr { io::stderr().write_all(&text) } else { io::stdout().write_all(&text) }
}

/// To standard output, unless the image itself goes there.
pub(super) fn print(destination: &Location, text: &[u8]) -> io::Result<()> {
    match destination {
        Location::Stdout => io::stderr().write_all(text),
        _ => io::stdout().write_all(text),
    }
}

/// A place in a sentence.
pub(super) fn shown(output: &str) -> String {
    if output == "-" { "standard output".to_owned() } else { output.to_owned() }
}

fn next_command(destination: &Location, image: &str, container: &str) -> String {
    let import = match destination {
        Location::Path(path) => format!("ctr image import {}", quote(path)),
        Location::Archive(image) => format!("ctr image import {}", quote(&image.path)),
        Location::Layout(image) => format!("tar -cf - -C {} . | ctr image import -", quote(&image.path)),
        Location::Registry(name) => {
            format!("ctr image pull {}", name.to_string().trim_start_matches("docker://"))
        }
        Location::Stdout => "ctr image import FILE".to_owned(),
    };
    format!("{import} && ctr run --rm -t --runtime io.containerd.mica.v2 {image} {container}")
}

/// For a POSIX shell.
fn quote(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+=:,@".contains(&b);
    let text = if text.starts_with('-') { format!("./{text}") } else { text };
    if text.bytes().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
