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
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use micrun_image_spec::digest::Sha256Digest;
use serde::Serialize;

use super::CliError;
use super::print::{self, Format, Style, Table};
use folder::{Declared, Entry, Places};
use guest::{Did, Guest};
use model::declaration::DEFAULT_NAMESPACE;
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

Exit status: 0 every guest is as declared, 1 something is wrong with one of them, 75 containerd or a registry did not answer, or \
nothing could be written: the same may succeed in a while.";

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
    #[arg(skip = Instant::now())]
    begun: Instant,
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

/// Exit status: the same may succeed in a while (EX_TEMPFAIL in sysexits.h). The unit goes by it.
const AGAIN: u8 = 75;

/// How long containerd may take to listen, from the beginning of a command on: at boot it is on its way.
const START: Duration = Duration::from_secs(60);

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
    #[error(
        "the folder {} for its log cannot be made: {source}; make it, and where the service is not to write there, allow it with \
         ReadWritePaths=", .path.display()
    )]
    Log { path: PathBuf, source: io::Error },
    #[error(
        "it is in the namespace {from} yet, and declared for {to}: run `micrun guests apply` first, which moves it"
    )]
    Moves { from: String, to: String },
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

/// The connection for a guest. Containerd is waited for until then.
fn connect(places: &Places, namespace: &str, until: Instant) -> Result<Node, NodeError> {
    let snapshotter = std::env::var("CONTAINERD_SNAPSHOTTER").ok().filter(|name| !name.is_empty());
    Node::connect(&places.address(), namespace, snapshotter.as_deref().unwrap_or("overlayfs"), until)
}

/// What a guest's apply came to, for `--format json`.
#[derive(Serialize)]
struct Applied {
    name: String,
    /// `kept`, `started`, `updated`, `removed`, or `failed`. With `failed`, a file after which no guest can be named has its
    /// path for a name.
    result: &'static str,
    /// The digest that runs, or should.
    digest: Option<Sha256Digest>,
    problem: Option<String>,
    note: Option<String>,
    /// Whether the problem may be gone in a while.
    #[serde(skip)]
    will_pass: bool,
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
    let status = status(&results, declared.nameless.is_empty());
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
    Ok(status)
}

/// The exit status of `apply`.
fn status(results: &[Applied], all_named: bool) -> ExitCode {
    if results.iter().any(|result| result.will_pass) {
        return ExitCode::from(AGAIN);
    }
    let good = all_named && results.iter().all(|result| result.problem.is_none());
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Brings the node to what is declared, as far as it is not what was declared before.
fn round(
    declared: &Declared,
    before: &Declared,
    args: &ApplyArgs,
    results: &mut BTreeMap<String, Applied>,
) -> Result<(), GuestsError> {
    let is_meant = |name: &String, entry: &Entry| {
        let has_changed = before.guests.get(name).is_none_or(|before| before.marks != entry.marks);
        has_changed && (args.names.is_empty() || args.names.contains(name))
    };
    for name in args.places.known()?.iter().filter(|name| !declared.guests.contains_key(*name)) {
        if args.names.is_empty() {
            results.insert(name.clone(), removed(name, declared, &args.places));
        }
    }
    let meant: Vec<_> = declared.guests.iter().filter(|(name, entry)| is_meant(name, entry)).collect();
    // What is on the node does not wait for what has to be fetched.
    for (name, entry) in &meant {
        if let Ok(declaration) = &entry.declaration
            && let Ok(Did::Started) = stand(name, declaration, args)
        {
            results.insert((*name).clone(), Applied::new(name, Did::Started.word()));
        }
    }
    for (name, entry) in meant {
        let mut result = applied(name, &entry.declaration, args);
        // What was done to it counts, even if nothing was left to do at last.
        if let Some(earlier) = results.get(name)
            && (result.result, earlier.problem.is_none()) == ("kept", true)
        {
            result.result = earlier.result;
        }
        results.insert(name.clone(), result);
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
    fn new(name: &str, result: &'static str) -> Applied {
        let name = name.to_owned();
        Applied { name, result, digest: None, problem: None, note: None, will_pass: false }
    }

    fn failed(name: &str, problem: &impl fmt::Display) -> Applied {
        Applied { problem: Some(problem.to_string()), ..Applied::new(name, "failed") }
    }
}

fn applied(name: &str, declaration: &Result<Declaration, DeclarationError>, args: &ApplyArgs) -> Applied {
    let done = match declaration {
        Ok(declaration) => match try_apply(name, declaration, args) {
            Ok(did) => Applied::new(name, did.word()),
            Err(error) => Applied { will_pass: error.will_pass(), ..Applied::failed(name, &error) },
        },
        Err(error) => Applied::failed(name, error),
    };
    let state = State::load(&args.places.state_of(name)).ok().flatten();
    let note = state.as_ref().and_then(show::note).filter(|_| done.problem.is_none());
    let digest = state.and_then(|state| state.current).map(|current| current.digest);
    Applied { note, digest, ..done }
}

fn try_apply(name: &str, declaration: &Declaration, args: &ApplyArgs) -> Result<Did, GuestError> {
    let places = &args.places;
    let node = connect(places, &declaration.namespace, args.begun + START)?;
    if let Some(elsewhere) = elsewhere(name, declaration, places)? {
        let state = State::new(&declaration.namespace);
        Guest { name, declaration, places, node: &node, state }.make_ready()?;
        say(name, format_args!("leaving the namespace {}", elsewhere.namespace));
        forget(name, elsewhere, places)?;
    }
    Guest::open(name, declaration, places, &node)?.apply(args.retry)
}

/// What is remembered of a guest that is in another namespace than the one it is declared for.
fn elsewhere(name: &str, declaration: &Declaration, places: &Places) -> Result<Option<State>, GuestError> {
    let state = guest::remembered(name, places)?;
    Ok(state.filter(|state| state.namespace != declaration.namespace))
}

/// Starts what is there and does not run.
fn stand(name: &str, declaration: &Declaration, args: &ApplyArgs) -> Result<Did, GuestError> {
    if elsewhere(name, declaration, &args.places)?.is_some() {
        return Ok(Did::Kept);
    }
    let node = connect(&args.places, &declaration.namespace, args.begun + START)?;
    Guest::open(name, declaration, &args.places, &node)?.stand()
}

fn removed(name: &str, declared: &Declared, places: &Places) -> Applied {
    let work = || {
        let known = guest::remembered(name, places)?;
        // Where that was damaged, nobody knows the namespace: the usual one is looked at.
        let state = known.unwrap_or_else(|| State::new(DEFAULT_NAMESPACE));
        if let Some(doubt) = declared.doubt(name, state.folder.as_deref()) {
            let digest = state.current.map(|current| current.digest);
            let note = Some(format!("it stays: {doubt}"));
            return Ok(Applied { digest, note, ..Applied::new(name, "kept") });
        }
        say(name, format_args!("is declared no longer, and removed"));
        forget(name, state, places)?;
        Ok(Applied::new(name, "removed"))
    };
    work().unwrap_or_else(|error: GuestError| Applied {
        will_pass: error.will_pass(),
        ..Applied::failed(name, &error)
    })
}

/// Ends a guest where it is.
fn forget(name: &str, state: State, places: &Places) -> Result<(), GuestError> {
    // It has no declaration any more: what an empty one says is enough to end it.
    let last = Declaration::parse(std::path::Path::new(name), "image = \"/\"")?;
    let node = connect(places, &state.namespace, Instant::now() + START)?;
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
        if let Some(State { namespace: from, .. }) = elsewhere(name, &declaration, places)? {
            return Err(GuestError::Moves { from, to: declaration.namespace });
        }
        let node = connect(places, &declaration.namespace, Instant::now() + START)?;
        let mut guest = Guest::open(name, &declaration, places, &node)?;
        job(&mut guest)?;
        if let Some(current) = &guest.state.current {
            say(name, format_args!("{} runs", current.digest));
        }
        Ok(())
    };
    work().map_err(|error: GuestError| GuestsError::Guest { name: name.to_owned(), error: Box::new(error) })
}
