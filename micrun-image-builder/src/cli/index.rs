//! `index create`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::places::Places;
use super::registry::RegistryArgs;
use super::render::printable;
use super::summary::{print, print_json, shown};
use super::{CliError, Format, Printing, places};
use crate::image::{Epoch, Reference};
use crate::store::Location;
use crate::store::join::{Part, join};

#[derive(Args)]
#[command(arg_required_else_help = true, after_help = EXAMPLES)]
pub(super) struct IndexArgs {
    #[command(subcommand)]
    command: IndexCommand,
}

#[derive(Subcommand)]
enum IndexCommand {
    /// Put images for several node platforms under one name
    Create(CreateArgs),
}

#[derive(Args)]
#[command(after_help = EXAMPLES)]
struct CreateArgs {
    /// The images, one for each platform: docker://NAME, oci-archive:FILE[:TAG], oci:DIR[:TAG], or the path of an archive
    /// or layout
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<Location>,
    /// Name of the index; a registry's place has it already
    #[arg(short, long, value_name = "NAME[:TAG]")]
    tag: Option<Reference>,
    /// Where it goes: docker://NAME[:TAG], oci-archive:FILE, oci:DIR, FILE (an archive), or - for an archive on standard
    /// output
    #[arg(short, long, value_name = "OUTPUT")]
    output: Location,
    #[command(flatten)]
    printing: Printing,
    #[command(flatten)]
    registry: RegistryArgs,
}

const EXAMPLES: &str = "\
Examples:
  micrun-image-builder index create --tag demo/zephyr:1 -o all.tar arm64.tar amd64.tar

A node picks an image out of an index by its own platform alone, so boards cannot share an index: give each a tag. \
To pack one firmware for several platforms, `pack --platform A,B` does it in one step.";

/// The result of `index create`.
#[derive(Serialize)]
struct Summary {
    output: String,
    name: String,
    digest: String,
    platforms: Vec<String>,
}

impl Summary {
    fn text(&self) -> String {
        format!(
            "wrote {} to {}\n  digest    {}\n  platforms {}\n",
            self.name,
            printable(&shown(&self.output)),
            self.digest,
            printable(&self.platforms.join(", "))
        )
    }
}

pub(super) fn run(args: &IndexArgs) -> Result<ExitCode, CliError> {
    let IndexCommand::Create(args) = &args.command;
    let places = Places::new(&args.registry, args.printing.quiet);
    let mut parts = Vec::new();
    for image in &args.images {
        parts.push(Part { name: image.to_string(), source: places.source(image)? });
    }
    let joined = join(parts)?;
    let name = name(args)?;
    let sink = places.sink(&args.output, places::named(&name), Epoch::default())?;
    joined.write(sink, places.progress())?;
    let summary = Summary {
        output: args.output.to_string(),
        name: name.to_string(),
        digest: joined.descriptor().digest().to_string(),
        platforms: joined.platforms().collect(),
    };
    match args.printing.format {
        Format::Json => print_json(&summary, args.output == Location::Stdout)?,
        Format::Text if args.printing.quiet => {}
        Format::Text => print(&args.output, summary.text().as_bytes())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The name that was given, or that the place has.
fn name(args: &CreateArgs) -> Result<Reference, CliError> {
    let of_the_place = match &args.output {
        Location::Registry(name) => name.reference(),
        _ => None,
    };
    let name = args.tag.as_ref().or(of_the_place);
    name.cloned().ok_or_else(|| CliError::Usage("the index needs a name: give it with --tag".to_owned()))
}
