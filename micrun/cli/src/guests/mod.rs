//! `guests`: firmware that a node runs without Kubernetes, as its files declare.
//!
//! - [`model`]: declarations, versions, and what is remembered of them
//! - [`folder`]: where all that is; [`mark`]: whether a file has changed since it was looked at
//! - [`node`](mod@node): containerd
//! - [`guest`]: one guest, brought to what is declared; [`health`]: whether it is healthy; [`step`]: where it may be
//!   interrupted
//! - [`archive`]: which image an OCI archive holds
//! - [`show`]: `list` and `check`
//!
//! Nothing here stays: containerd's restart monitor keeps guests running, and starts them when the node boots
//! (docs/decisions/0013-declared-guests.md).

mod archive;
mod folder;
mod guest;
mod health;
mod mark;
mod model;
mod node;
mod show;
mod step;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use micrun_image_spec::digest::Sha256Digest;
use serde::Serialize;

use super::CliError;
use super::print::{self, Format, Style, Table};
use folder::{Declared, Places};
use guest::{Did, Guest};
use model::{Declaration, DeclarationError, Image, State, StateError};
use node::{Node, NodeError};

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct GuestsArgs {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  micrun guests apply
  micrun guests list
  micrun guests update motor registry.example/plant/motor@sha256:DIGEST
  micrun guests rollback motor

A guest is a file in /etc/mica/micrun/guests.d (or the product's own /usr/share/micrun/guests.d), NAME.toml; a link to \
/dev/null there switches the product's guest of that name off.";

#[derive(Subcommand)]
enum Command {
    /// Bring the node to what is declared: start, update with rollback, remove
    #[command(after_help = APPLY_EXAMPLES)]
    Apply(ApplyArgs),
    /// Show every declared guest and its versions
    #[command(after_help = LIST_EXAMPLES)]
    List(ShowArgs),
    /// Say of each declared guest that does not run or is not healthy why
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Try another image than the declared one
    #[command(after_help = UPDATE_EXAMPLES)]
    Update(UpdateArgs),
    /// Go back to the version before
    #[command(after_help = ROLLBACK_EXAMPLES)]
    Rollback(RollbackArgs),
}

const APPLY_EXAMPLES: &str = "\
Examples:
  micrun guests apply
  micrun guests apply motor --retry
  micrun guests apply --format json

A new image is brought and prepared before the old guest stops. One that is not healthy is taken back, and not tried again \
until its image or its declaration changes.

Exit status: 0 every guest is as declared, 1 something is wrong with one of them.";

const LIST_EXAMPLES: &str = "\
Examples:
  micrun guests list
  micrun guests list --format json | jq -r '.[] | select(.state != \"running\") | .name'";

const CHECK_EXAMPLES: &str = "\
Examples:
  micrun guests check
  micrun guests check --wait 60

It changes nothing. A guest whose update was taken back is healthy if its version before is; a note says so.

Exit status: 0 every declared guest runs and is healthy, 1 one of them is not.";

const UPDATE_EXAMPLES: &str = "\
Examples:
  micrun guests update motor registry.example/plant/motor@sha256:DIGEST
  micrun guests update motor /media/usb/motor-1.3.oci.tar

It holds until the declaration names another image, or its archive changes.

Exit status: 0 the guest runs with that image, 1 it does not: what ran before runs again.";

const ROLLBACK_EXAMPLES: &str = "\
Examples:
  micrun guests rollback motor

The version that is left is not tried again until its image or its declaration changes; a second rollback goes forward again.";

#[derive(Args)]
struct ApplyArgs {
    /// These guests alone
    names: Vec<String>,
    /// Try again what was not healthy
    #[arg(long)]
    retry: bool,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    places: Places,
}

#[derive(Args)]
struct ShowArgs {
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    places: Places,
}

#[derive(Args)]
struct CheckArgs {
    /// How long guests may take to become healthy
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    wait: u64,
    #[command(flatten)]
    show: ShowArgs,
}

#[derive(Args)]
struct UpdateArgs {
    /// The guest
    name: String,
    /// The image: NAME@sha256:DIGEST, or the absolute path of an OCI archive
    #[arg(value_parser = exact_image)]
    image: Image,
    #[command(flatten)]
    places: Places,
}

#[derive(Args)]
struct RollbackArgs {
    /// The guest
    name: String,
    #[command(flatten)]
    places: Places,
}

fn exact_image(text: &str) -> Result<Image, String> {
    match text.parse() {
        Ok(Image::Named(_)) => {
            Err("write @sha256:DIGEST behind it: a tag may mean another image tomorrow".to_owned())
        }
        Ok(image) => Ok(image),
        Err(_) => Err(format!("write {}", model::image::WANTED)),
    }
}

/// Why guests could not be looked after at all.
#[derive(Debug, thiserror::Error)]
pub(super) enum GuestsError {
    /// A folder cannot be used.
    #[error("{}: {source}; run this as root", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A name that no file declares.
    #[error("no guest {name} is declared: `micrun guests list` shows those that are")]
    Unknown {
        /// The name.
        name: String,
    },
    /// One guest.
    #[error("{name}: {error}")]
    Guest {
        /// Its name.
        name: String,
        /// What is wrong.
        error: Box<GuestError>,
    },
}

/// What is wrong with one guest.
#[derive(Debug, thiserror::Error)]
pub(super) enum GuestError {
    #[error(transparent)]
    Declaration(#[from] DeclarationError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Archive(#[from] archive::ArchiveError),
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error("it is not healthy: {why}")]
    Unhealthy { why: String },
    #[error(
        "{digest} was not healthy ({why}), so {to} runs again; it is tried again when its image or its declaration changes, \
         or with `micrun guests apply --retry`"
    )]
    TakenBack { digest: Sha256Digest, why: String, to: Sha256Digest },
    #[error(
        "{digest} was not healthy ({why}), and {to}, which ran before it, does not run either: {problem}"
    )]
    NeitherRuns { digest: Sha256Digest, why: String, to: Sha256Digest, problem: Box<GuestError> },
    #[error("there is no version before this one")]
    NothingBefore,
    #[error("the image {digest} is gone from containerd: `micrun guests update` brings one again")]
    Lost { digest: Sha256Digest },
    #[error(
        "the container {container} is somebody else's: remove it, or give the declaration's file another name"
    )]
    NotOurs { container: String },
    #[error(
        "containerd's restart monitor is switched off: take io.containerd.internal.v1.restart out of disabled_plugins, or write \
         `restart = \"no\"`"
    )]
    NoMonitor,
    #[error(
        "this containerd starts guests always or never: write `restart = \"always\"` or \"no\", or use containerd 1.7"
    )]
    NoPolicies,
}

pub(super) fn run(args: &GuestsArgs) -> Result<ExitCode, CliError> {
    #[cfg(feature = "crash-points")]
    if std::env::var("MICRUN_GUESTS_DIE_AFTER").is_ok_and(|wanted| wanted == "?") {
        print::json(&step::ALL)?;
        return Ok(ExitCode::SUCCESS);
    }
    let done = match &args.command {
        Command::Apply(args) => return apply(args),
        Command::List(args) => return show::list(args),
        Command::Check(args) => return show::check(args),
        Command::Update(UpdateArgs { name, image, places }) => one(name, places, |guest| guest.update(image)),
        Command::Rollback(RollbackArgs { name, places }) => one(name, places, |guest| guest.roll_back()),
    };
    done.map(|()| ExitCode::SUCCESS).map_err(CliError::from)
}

/// Says what is being done: some steps take their time.
fn say(name: &str, what: fmt::Arguments<'_>) {
    // Nobody is left to tell if standard error is closed.
    let _ = writeln!(io::stderr(), "{name}: {}", print::printable(&what.to_string()));
}

/// The connection for a guest.
fn connect(places: &Places, namespace: &str) -> Result<Node, NodeError> {
    let snapshotter = std::env::var("CONTAINERD_SNAPSHOTTER").ok().filter(|name| !name.is_empty());
    Node::connect(&places.address(), namespace, snapshotter.as_deref().unwrap_or("overlayfs"))
}

/// What a guest's apply came to, for `--format json`.
#[derive(Serialize)]
struct Applied {
    name: String,
    /// `kept`, `started`, `updated`, `removed`, or `failed`.
    result: &'static str,
    /// The digest that runs, or should.
    digest: Option<Sha256Digest>,
    problem: Option<String>,
    note: Option<String>,
}

fn apply(args: &ApplyArgs) -> Result<ExitCode, CliError> {
    let _lock = args.places.lock()?;
    let mut declared = args.places.settled()?;
    if let Some(name) = args.names.iter().find(|name| !declared.guests.contains_key(*name)) {
        return Err(GuestsError::Unknown { name: name.clone() }.into());
    }
    let mut results = BTreeMap::new();
    let mut before = Declared::default();
    loop {
        round(&declared, &before, args, &mut results)?;
        // systemd forgets what changes while the unit runs that a change has started.
        let now = args.places.settled()?;
        before = std::mem::replace(&mut declared, now);
        if declared.is_as(&before) {
            break;
        }
    }
    let mut results: Vec<Applied> = results.into_values().collect();
    let good = declared.nameless.is_empty() && results.iter().all(|result| result.problem.is_none());
    for error in &declared.nameless {
        print::error(&error);
    }
    match args.format {
        Format::Json => {
            let nameless = declared.nameless.iter();
            results.extend(nameless.map(|error| Applied::failed(&error.file.display().to_string(), error)));
            print::json(&results)?;
        }
        Format::Text => io::stdout().write_all(text(&results).as_bytes())?,
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Brings the node to what is declared, as far as it is not what was declared before.
fn round(
    declared: &Declared,
    before: &Declared,
    args: &ApplyArgs,
    results: &mut BTreeMap<String, Applied>,
) -> Result<(), GuestsError> {
    let is_meant = |name: &String| args.names.is_empty() || args.names.contains(name);
    for name in args.places.known()?.iter().filter(|name| !declared.guests.contains_key(*name)) {
        if args.names.is_empty() {
            results.insert(name.clone(), removed(name, declared, &args.places));
        }
    }
    for (name, entry) in declared.guests.iter().filter(|(name, _)| is_meant(name)) {
        if before.guests.get(name).is_none_or(|before| before.marks != entry.marks) {
            let mut result = applied(name, &entry.declaration, args);
            // What was done to it counts, even if nothing was left to do at last.
            match results.get(name) {
                Some(earlier) if result.result == "kept" && earlier.problem.is_none() => {
                    result.result = earlier.result;
                }
                _ => {}
            }
            results.insert(name.clone(), result);
        }
    }
    Ok(())
}

fn text(results: &[Applied]) -> String {
    let mut table = Table::with_header(["guest", "result", "digest"]);
    for result in results {
        if let Some(problem) = &result.problem {
            print::error(&format_args!("{}: {problem}", result.name));
        }
        if let Some(note) = &result.note {
            say(&result.name, format_args!("{note}"));
        }
        let digest = result.digest.map(|digest| digest.to_string()).unwrap_or_default();
        table.row([result.name.clone(), result.result.to_owned(), digest]);
    }
    if results.is_empty() { String::new() } else { table.text(Style::of(&io::stdout())) }
}

impl Applied {
    fn failed(name: &str, problem: impl fmt::Display) -> Applied {
        let problem = Some(problem.to_string());
        Applied { name: name.to_owned(), result: "failed", digest: None, problem, note: None }
    }
}

fn applied(name: &str, declaration: &Result<Declaration, DeclarationError>, args: &ApplyArgs) -> Applied {
    let work = || {
        let declaration = declaration.as_ref().map_err(|error| error.to_string())?;
        try_apply(name, declaration, args).map_err(|error| error.to_string())
    };
    let done = work();
    let state = State::load(&args.places.state_of(name)).ok().flatten();
    let note = if done.is_ok() { state.as_ref().and_then(show::note) } else { None };
    let digest = state.and_then(|state| state.current).map(|current| current.digest);
    match done {
        Ok(did) => Applied { name: name.to_owned(), result: did.word(), digest, problem: None, note },
        Err(problem) => Applied { digest, ..Applied::failed(name, problem) },
    }
}

fn try_apply(name: &str, declaration: &Declaration, args: &ApplyArgs) -> Result<Did, GuestError> {
    move_out(name, declaration, &args.places)?;
    let node = connect(&args.places, &declaration.namespace)?;
    Guest::open(name, declaration, &args.places, &node)?.apply(args.retry)
}

/// A guest that is declared for another namespace leaves the one where it is.
fn move_out(name: &str, declaration: &Declaration, places: &Places) -> Result<(), GuestError> {
    match State::load(&places.state_of(name)) {
        Ok(Some(state)) if state.namespace != declaration.namespace => {
            say(name, format_args!("leaving the namespace {}", state.namespace));
            forget(name, state, places)
        }
        _ => Ok(()),
    }
}

fn removed(name: &str, declared: &Declared, places: &Places) -> Applied {
    let kept = Applied { name: name.to_owned(), result: "kept", digest: None, problem: None, note: None };
    let work = || {
        let Some(state) = State::load(&places.state_of(name))? else { return Ok(kept) };
        if let Some(doubt) = declared.doubt(name, state.folder.as_deref()) {
            let digest = state.current.map(|current| current.digest);
            return Ok(Applied { digest, note: Some(format!("it stays: {doubt}")), ..kept });
        }
        say(name, format_args!("is declared no longer, and removed"));
        forget(name, state, places)?;
        Ok(Applied { result: "removed", ..kept })
    };
    work().unwrap_or_else(|error: GuestError| Applied::failed(name, error))
}

fn forget(name: &str, state: State, places: &Places) -> Result<(), GuestError> {
    // It has no declaration any more: what an empty one says is enough to end it.
    let last = Declaration::parse(std::path::Path::new(name), "image = \"/\"")?;
    let node = connect(places, &state.namespace)?;
    Guest { name, declaration: &last, places, node: &node, state }.remove()
}

/// A command about one guest.
fn one(
    name: &str,
    places: &Places,
    job: impl FnOnce(&mut Guest<'_>) -> Result<Did, GuestError>,
) -> Result<(), GuestsError> {
    let _lock = places.lock()?;
    let entry = places.settled()?.guests.remove(name);
    let entry = entry.ok_or_else(|| GuestsError::Unknown { name: name.to_owned() })?;
    let work = || {
        let declaration = entry.declaration?;
        move_out(name, &declaration, places)?;
        let node = connect(places, &declaration.namespace)?;
        let mut guest = Guest::open(name, &declaration, places, &node)?;
        job(&mut guest)?;
        if let Some(current) = &guest.state.current {
            say(name, format_args!("{} runs", current.digest));
        }
        Ok(())
    };
    work().map_err(|error: GuestError| GuestsError::Guest { name: name.to_owned(), error: Box::new(error) })
}
