//! `guests`: firmware that a node runs without Kubernetes, as its files declare.
//!
//! - [`model`]: declarations, versions, and what is remembered of them
//! - [`folder`]: where all that is; [`mark`]: whether a file has changed since it was looked at
//! - [`node`](mod@node): containerd
//! - [`apply`]: all guests; [`guest`]: one of them, brought to what is declared; [`health`]: whether it is healthy; [`step`]: where it may be
//!   interrupted
//! - [`archive`]: which image an OCI archive holds
//! - [`show`]: `list` and `check`; [`stop`]
//! - [`error`]: what can be wrong
//!
//! Nothing here stays: containerd's restart monitor keeps guests running, and starts them when the node boots
//! (docs/decisions/0013-declared-guests.md).

mod apply;
mod archive;
mod error;
mod folder;
mod guest;
mod health;
mod mark;
mod model;
mod node;
mod show;
mod step;
mod stop;

use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};

use super::CliError;
use super::print::{self, Format};
use error::GuestError;
pub(super) use error::GuestsError;
use folder::Places;
use guest::{Did, Guest};
use model::{Image, State};
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
    /// End guests; the next `apply` or boot starts them again
    #[command(after_help = STOP_EXAMPLES)]
    Stop(StopArgs),
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

const STOP_EXAMPLES: &str = "\
Examples:
  micrun guests stop
  micrun guests stop motor

All at the same time, each as its declaration says: asked with SIGTERM, killed after its stop_timeout. A node does this before it goes \
down. A boot starts them again, and so does the next change of any declaration or archive.

Exit status: 0 none of them runs, 1 one could not be ended.";

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
struct StopArgs {
    /// These guests alone
    names: Vec<String>,
    #[command(flatten)]
    places: Places,
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

/// How long containerd may take to listen, from the beginning of a command on: at boot it is on its way.
const START: Duration = Duration::from_secs(60);

pub(super) fn run(args: &GuestsArgs) -> Result<ExitCode, CliError> {
    #[cfg(feature = "crash-points")]
    if std::env::var("MICRUN_GUESTS_DIE_AFTER").is_ok_and(|wanted| wanted == "?") {
        print::json(&step::ALL)?;
        return Ok(ExitCode::SUCCESS);
    }
    let done = match &args.command {
        Command::Apply(args) => return apply::apply(args),
        Command::List(args) => return show::list(args),
        Command::Check(args) => return show::check(args),
        Command::Stop(args) => return stop::stop(args),
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

/// What is remembered of a guest that is in another namespace than the one it is declared for.
fn elsewhere(
    name: &str,
    declaration: &model::Declaration,
    places: &Places,
) -> Result<Option<State>, GuestError> {
    let state = guest::remembered(name, places)?;
    Ok(state.filter(|state| state.namespace != declaration.namespace))
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
