//! `diff`.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use micrun_image_spec::board::Boards;
use serde::Serialize;

use super::places::Places;
use super::registry::RegistryArgs;
use super::render::printable;
use super::subject::{Opened, Subject};
use super::{BoardDirs, CliError, Format};
use crate::contents::ImageContents;
use crate::diff::{Change, Difference, PartChange, Side, Statements, SymbolChange, Symbols, diff};
use crate::image::{Platform, Spool};
use crate::source::{ReadAt, RegularFile};
use crate::store::StoreError;

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DiffArgs {
    /// A firmware, or an image wherever it is: docker://NAME[:TAG], oci:DIR[:TAG], oci-archive:FILE, or a path
    before: Subject,
    /// What it is compared with
    after: Subject,
    /// Of images for several platforms, the one to compare [default: this machine's]
    #[arg(long, value_name = "linux/ARCH")]
    platform: Option<Platform>,
    /// End with exit status 1 if there is a difference
    #[arg(long)]
    exit_code: bool,
    /// How many functions to list
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 10)]
    top: usize,
    /// How to print the differences
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    boards: BoardDirs,
    #[command(flatten)]
    registry: RegistryArgs,
}

const EXAMPLES: &str = "\
Examples:
  micrun-image-builder diff old.elf new.elf
  micrun-image-builder diff docker://registry.example/demo/zephyr:1 build/zephyr/zephyr.elf
  micrun-image-builder diff --exit-code a.oci.tar b.oci.tar --format json

Exit status: 0 compared; 1 they differ, with --exit-code, or cannot be compared; 2 wrong usage.";

/// What `--format json` prints.
#[derive(Serialize)]
struct Compared<'a> {
    before: String,
    after: String,
    #[serde(flatten)]
    difference: &'a Difference,
}

/// A firmware and what its image says, kept while they are compared.
struct Loaded {
    firmware: Firmware,
    image: Option<Statements>,
}

enum Firmware {
    File(RegularFile),
    InImage(Arc<Spool>),
}

impl Loaded {
    fn open(subject: &Subject, args: &DiffArgs, places: &Places) -> Result<Self, CliError> {
        match subject.open(places)? {
            Opened::Firmware(path) => {
                let file = RegularFile::open(&path).map_err(StoreError::read(path.display().to_string()))?;
                Ok(Loaded { firmware: Firmware::File(file), image: None })
            }
            Opened::Image(source) => {
                let contents = ImageContents::open(source.as_ref(), args.platform.as_ref())?;
                let image = Some(Statements::of_image(&contents));
                Ok(Loaded { firmware: Firmware::InImage(contents.firmware()?), image })
            }
        }
    }

    fn side(&self) -> Side<'_> {
        let firmware: &dyn ReadAt = match &self.firmware {
            Firmware::File(file) => file,
            Firmware::InImage(data) => data.as_ref(),
        };
        Side { firmware, image: self.image.clone() }
    }
}

pub(super) fn run(args: &DiffArgs) -> Result<ExitCode, CliError> {
    let boards: Boards = args.boards.load()?;
    let places = Places::new(&args.registry, true);
    let before = Loaded::open(&args.before, args, &places)?;
    let after = Loaded::open(&args.after, args, &places)?;
    let difference = diff(&before.side(), &after.side(), &boards)?;
    let text = match args.format {
        Format::Json => {
            let (before, after) = (args.before.to_string(), args.after.to_string());
            serde_json::to_string_pretty(&Compared { before, after, difference: &difference })
                .map_err(io::Error::from)?
                + "\n"
        }
        Format::Text => printed(&difference, args),
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(if args.exit_code && !difference.same { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn printed(difference: &Difference, args: &DiffArgs) -> String {
    let [before, after] = &difference.files;
    let names = printable(&format!("{} and {}", args.before, args.after));
    if difference.same {
        return format!("{names} are the same: {}\n", before.digest);
    }
    // Writing into a string cannot fail.
    let mut text = if before == after {
        format!("{names} hold the same firmware: {}\n", before.digest)
    } else {
        format!("{names} differ: {} and {} bytes\n", before.size, after.size)
    };
    changes(&mut text, "firmware", &difference.facts);
    parts(&mut text, "segments", &difference.segments);
    parts(&mut text, "sections", &difference.sections);
    if let Some(symbols) = &difference.symbols {
        print_symbols(&mut text, symbols, args.top);
    }
    changes(&mut text, "image", difference.image.as_deref().unwrap_or_default());
    text
}

fn changes(text: &mut String, title: &str, changes: &[Change]) {
    if changes.is_empty() {
        return;
    }
    let _ = writeln!(text, "{title}");
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
    for change in changes {
        let line = format!("  {:<32} {} -> {}", change.name, value(&change.before), value(&change.after));
        let _ = writeln!(text, "{}", printable(&line));
    }
}

fn parts(text: &mut String, title: &str, parts: &[PartChange]) {
    if parts.is_empty() {
        return;
    }
    let _ = writeln!(text, "{title}");
    for part in parts {
        let what = match (part.before, part.after, part.changed) {
            (None, after, _) => format!("new, {} bytes", after.unwrap_or_default()),
            (before, None, _) => format!("gone, {} bytes", before.unwrap_or_default()),
            (Some(before), Some(after), changed) => {
                let differ = changed.map_or("not compared".to_owned(), |n| format!("{n} bytes differ"));
                format!("{}, {differ}", sizes(before, after))
            }
        };
        let _ = writeln!(text, "  {:<32} {what}", printable(&part.name));
    }
}

fn sizes(before: u64, after: u64) -> String {
    match (before, after) {
        _ if before == after => format!("{before} bytes"),
        _ if after > before => format!("{before} -> {after} bytes (+{})", after - before),
        _ => format!("{before} -> {after} bytes (-{})", before - after),
    }
}

fn print_symbols(text: &mut String, symbols: &Symbols, top: usize) {
    let Symbols { added, removed, resized } = symbols;
    let counts = format!("{} new, {} gone, {} of another size", added.len(), removed.len(), resized.len());
    let _ = writeln!(text, "functions and data: {counts}");
    for (sign, list) in [('+', added), ('-', removed), ('~', resized)] {
        for SymbolChange { name, before, after, is_code } in list.iter().take(top) {
            let size = match sign {
                '+' => format!("{after} bytes"),
                '-' => format!("{before} bytes"),
                _ => sizes(*before, *after),
            };
            let kind = if *is_code { "" } else { " of data" };
            let _ = writeln!(text, "  {sign} {:<30} {size}{kind}", printable(name));
        }
    }
}
