//! What `pack` says when it is done.

use std::io::{self, Write};
use std::path::Path;

use micrun_image_spec::digest::Sha256Digest;
use serde::Serialize;

use crate::check::Report;
use crate::output::Destination;
use crate::pack::{Choice, Packed};

/// The result of `pack`, in the form in which programs get it.
#[derive(Serialize)]
pub(super) struct Summary<'a> {
    firmware: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<ImageSummary>,
    findings: &'a Report,
}

#[derive(Serialize)]
struct ImageSummary {
    output: String,
    name: Choice<String>,
    digest: Sha256Digest,
    diff_id: Sha256Digest,
    firmware_digest: Sha256Digest,
    size: u64,
    rtos: Choice<String>,
    rtos_version: Option<String>,
    board: Choice<String>,
    pedestal: Choice<String>,
    platform: Choice<String>,
    next: String,
}

impl<'a> Summary<'a> {
    pub(super) fn refused(firmware: &Path, findings: &'a Report) -> Self {
        Summary { firmware: firmware.display().to_string(), image: None, findings }
    }

    pub(super) fn packed(
        firmware: &Path,
        packed: &Packed,
        destination: &Destination,
        findings: &'a Report,
    ) -> Self {
        let decisions = &packed.decisions;
        let container =
            decisions.reference.value.as_ref().map_or("guest", |reference| reference.short_name());
        let name = as_text(&decisions.reference);
        let image = ImageSummary {
            output: destination.path().map_or("-".to_owned(), |path| path.display().to_string()),
            next: next_command(destination, name.value.as_deref().unwrap_or_default(), container),
            name,
            digest: packed.image.digest(),
            diff_id: packed.image.diff_id(),
            firmware_digest: decisions.firmware_digest,
            size: packed.image.size(),
            rtos: as_text(&decisions.rtos),
            rtos_version: decisions.rtos_version.clone(),
            board: decisions.board.clone(),
            pedestal: as_text(&decisions.pedestal),
            platform: as_text(&decisions.platform),
        };
        Summary { firmware: firmware.display().to_string(), image: Some(image), findings }
    }

    pub(super) fn print_json(&self, destination: &Destination) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        print(destination, &text)
    }

    pub(super) fn print_text(&self, destination: &Destination) -> io::Result<()> {
        let Some(image) = &self.image else { return Ok(()) };
        let version = image.rtos_version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
        let mut text = format!("packed {} into {}\n", self.firmware, image.output);
        text += &line("image", &image.name, "");
        text += &format!("  {:<9} {}\n", "digest", image.digest);
        text += &format!("  {:<9} {} bytes\n", "size", image.size);
        text += &line("rtos", &image.rtos, &version);
        text += &line("board", &image.board, "");
        text += &line("pedestal", &image.pedestal, "");
        text += &line("platform", &image.platform, "");
        text += &format!("run it:\n  {}\n", image.next);
        print(destination, text.as_bytes())
    }
}

fn line(title: &str, choice: &Choice<String>, more: &str) -> String {
    let value = choice.value.as_deref().unwrap_or("unknown");
    format!("  {title:<9} {:<24} ({choice})\n", format!("{value}{more}"))
}

fn as_text<T: ToString>(choice: &Choice<T>) -> Choice<String> {
    Choice {
        value: choice.value.as_ref().map(ToString::to_string),
        source: choice.source.clone(),
        option: choice.option,
    }
}

/// To standard output, unless the image itself goes there.
fn print(destination: &Destination, text: &[u8]) -> io::Result<()> {
    match destination {
        Destination::Stdout => io::stderr().write_all(text),
        _ => io::stdout().write_all(text),
    }
}

fn next_command(destination: &Destination, image: &str, container: &str) -> String {
    let import = match destination {
        Destination::Archive(path) => format!("ctr image import {}", quote(path)),
        Destination::Directory(path) => format!("tar -cf - -C {} . | ctr image import -", quote(path)),
        Destination::Stdout => "ctr image import FILE".to_owned(),
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
