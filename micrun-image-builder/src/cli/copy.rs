//! `copy`, with its other names `push` and `pull`.

use std::process::ExitCode;

use clap::Args;
use oci_spec::image::Descriptor;
use serde::Serialize;

use super::places::Places;
use super::registry::RegistryArgs;
use super::render::printable;
use super::summary::{print, print_json, shown};
use super::{CliError, Format, Printing, places};
use crate::image::Epoch;
use crate::store::Location;
use crate::store::copy::copy;
use crate::store::layout::ImageName;

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CopyArgs {
    /// The image: docker://NAME[:TAG][@DIGEST], oci-archive:FILE[:TAG], oci:DIR[:TAG], or the path of an archive or layout
    source: Location,
    /// Where it goes: docker://NAME[:TAG], oci-archive:FILE[:TAG], oci:DIR[:TAG], FILE (an archive), or - for an archive
    /// on standard output
    destination: Location,
    /// Leave behind what refers to the image: signatures, bills of materials, debug information
    #[arg(long)]
    no_referrers: bool,
    #[command(flatten)]
    printing: Printing,
    #[command(flatten)]
    registry: RegistryArgs,
}

const EXAMPLES: &str = "\
Examples:
  micrun-image-builder push zephyr.oci.tar docker://registry.example/demo/zephyr:1
  micrun-image-builder pull docker://registry.example/demo/zephyr:1 zephyr.oci.tar
  micrun-image-builder copy zephyr.oci.tar oci:images:v1
  micrun-image-builder copy oci:images:v1 - | ssh node ctr image import -

Bytes that are there already are not copied again, and every one that is copied is checked against its digest.";

/// The result of `copy`.
#[derive(Serialize)]
struct Summary {
    source: String,
    output: String,
    digest: String,
    blobs_copied: usize,
    bytes_copied: u64,
    blobs_present: usize,
    referrers: usize,
}

pub(super) fn run(args: &CopyArgs) -> Result<ExitCode, CliError> {
    let places = Places::new(&args.registry, args.printing.quiet);
    let source = places.source(&args.source)?;
    let root = source.resolve()?;
    let sink = places.sink(&args.destination, name(&args.source, &root), Epoch::default())?;
    let copied = copy(source.as_ref(), sink, &root, !args.no_referrers, places.progress())?;
    let summary = Summary {
        source: args.source.to_string(),
        output: args.destination.to_string(),
        digest: root.digest().to_string(),
        blobs_copied: copied.blobs,
        bytes_copied: copied.bytes,
        blobs_present: copied.present,
        referrers: copied.referrers,
    };
    match args.printing.format {
        Format::Json => print_json(&summary, args.destination == Location::Stdout)?,
        Format::Text if args.printing.quiet => {}
        Format::Text => print(&args.destination, text(&summary).as_bytes())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What the image is called where it comes from.
fn name(source: &Location, root: &Descriptor) -> ImageName {
    match source {
        Location::Registry(name) => name.reference().map(places::named).unwrap_or_default(),
        _ => ImageName::of(root),
    }
}

fn text(summary: &Summary) -> String {
    let Summary { blobs_copied, bytes_copied, blobs_present, referrers, .. } = summary;
    let referrers = match referrers {
        0 => String::new(),
        n => format!(", with {n} that refer to it"),
    };
    format!(
        "copied {} to {}{referrers}\n  digest    {}\n  blobs     {blobs_copied} copied ({bytes_copied} bytes), \
         {blobs_present} were there already\n",
        printable(&summary.source),
        printable(&shown(&summary.output)),
        summary.digest
    )
}
