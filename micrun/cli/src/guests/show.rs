//! `list` and `check`: what is declared, and what runs. Neither changes anything.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use micrun_image_spec::digest::Sha256Digest;
use serde::Serialize;

use super::folder::log_file;
use super::guest::{Guest, boot_id};
use super::health::Verdict;
use super::model::{Declaration, DeclarationError, State};
use super::node::Node;
use super::node::containers::GENERATION;
use super::node::tasks::TaskStatus;
use super::print::{self, Format, Style, Table};
use super::{CheckArgs, CliError, GuestError, Places, ShowArgs, connect, say};

/// How often `check --wait` looks.
const PAUSE: Duration = Duration::from_secs(1);
/// Seconds: longer than anybody waits, and no time that cannot be counted.
const LONGEST_CHECK: u64 = 24 * 3600;
/// What a command in a guest's shell gets at least.
const ANSWER: Duration = Duration::from_secs(5);

/// A guest as it is.
#[derive(Serialize)]
struct Shown {
    name: String,
    /// `running`, `paused`, `ended`, `stopped`; null where that cannot be found out.
    state: Option<&'static str>,
    healthy: bool,
    image: Option<String>,
    digest: Option<Sha256Digest>,
    previous: Option<Sha256Digest>,
    refused: Option<Sha256Digest>,
    problem: Option<String>,
    note: Option<String>,
}

pub(super) fn list(args: &ShowArgs) -> Result<ExitCode, CliError> {
    let shown = look(&args.places, Instant::now())?;
    match args.format {
        Format::Json => print::json(&shown)?,
        Format::Text => {
            let mut table = Table::with_header(["guest", "state", "healthy", "digest", "previous", "image"]);
            for guest in &shown {
                let digest = |digest: Option<Sha256Digest>| digest.map_or("-".to_owned(), short);
                table.row([
                    guest.name.clone(),
                    guest.state.unwrap_or("unknown").to_owned(),
                    if guest.healthy { "yes" } else { "no" }.to_owned(),
                    digest(guest.digest),
                    digest(guest.previous),
                    guest.image.clone().unwrap_or_default(),
                ]);
            }
            io::stdout().write_all(table.text(Style::of(&io::stdout())).as_bytes())?;
            tell(&shown);
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn check(args: &CheckArgs) -> Result<ExitCode, CliError> {
    let until = Instant::now() + Duration::from_secs(args.wait.min(LONGEST_CHECK));
    let shown = loop {
        let shown = look(&args.show.places, until)?;
        let good = shown.iter().all(|guest| guest.problem.is_none());
        if good || Instant::now() >= until {
            break shown;
        }
        std::thread::sleep(PAUSE);
    };
    match args.show.format {
        Format::Json => print::json(&shown)?,
        Format::Text => tell(&shown),
    }
    let good = shown.iter().all(|guest| guest.problem.is_none());
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tell(shown: &[Shown]) {
    for guest in shown {
        if let Some(problem) = &guest.problem {
            print::error(&format_args!("{}: {problem}", guest.name));
        }
        if let Some(note) = &guest.note {
            say(&guest.name, format_args!("{note}"));
        }
    }
}

/// Enough of a digest to tell it from others.
fn short(digest: Sha256Digest) -> String {
    format!("sha256:{}", &digest.hex()[..12])
}

/// Looks at all guests. What takes its time is given up then.
fn look(places: &Places, until: Instant) -> Result<Vec<Shown>, CliError> {
    let declared = places.declared()?;
    let mut shown = Vec::new();
    for (name, entry) in declared.guests {
        shown.push(look_at(name, entry.declaration, places, until));
    }
    for error in declared.nameless {
        let mut file = Shown::unknown(error.file.display().to_string());
        file.blame(&error, places.is_own(&error.file));
        shown.push(file);
    }
    Ok(shown)
}

impl Shown {
    fn unknown(name: String) -> Shown {
        Shown {
            name,
            state: None,
            healthy: false,
            image: None,
            digest: None,
            previous: None,
            refused: None,
            problem: None,
            note: None,
        }
    }

    /// A file that cannot be used is worth a note where nothing is worse for it.
    fn blame(&mut self, error: &DeclarationError, is_harmless: bool) {
        if is_harmless {
            let notes = self.note.iter().cloned().chain([error.to_string()]);
            self.note = Some(notes.collect::<Vec<_>>().join("; "));
        } else {
            self.problem = Some(error.to_string());
        }
    }
}

fn look_at(
    name: String,
    declaration: Result<Declaration, DeclarationError>,
    places: &Places,
    until: Instant,
) -> Shown {
    let mut shown = Shown::unknown(name.clone());
    let work = || {
        // What is remembered is shown even where the declaration is broken.
        let state = State::load(&places.state_of(&name))?;
        if let Some(state) = &state {
            shown.image = state.current.as_ref().map(|current| current.image.clone());
            shown.digest = state.current.as_ref().map(|current| current.digest);
            shown.previous = state.previous.as_ref().map(|previous| previous.digest);
            shown.refused = state.refused.last().map(|refused| refused.digest);
            shown.note = note(state);
        }
        let declaration = match declaration {
            Err(error) => return broken(&mut shown, state, &error, places),
            Ok(declaration) => declaration,
        };
        let node = connect(places, &declaration.namespace, Instant::now())?;
        let Some(state) = state else {
            return Ok(Some("it was not started yet: run `micrun guests apply`".to_owned()));
        };
        let guest = Guest { name: &name, declaration: &declaration, places, node: &node, state };
        shown.state = Some(state_of(&node, &name)?);
        let problem = problem(&guest, until)?;
        shown.healthy = problem.is_none();
        Ok(problem)
    };
    if let Some(problem) = work().unwrap_or_else(|error: GuestError| Some(error.to_string())) {
        shown.problem = Some(problem);
    }
    shown
}

/// A guest whose file cannot be used stays as it is. Where it runs, nothing is worse; nor is it where it never ran and the file
/// is the node's own: then no update has brought it. When it is healthy the file cannot say.
fn broken(
    shown: &mut Shown,
    state: Option<State>,
    error: &DeclarationError,
    places: &Places,
) -> Result<Option<String>, GuestError> {
    let Some((current, namespace)) = state.and_then(|state| Some((state.current?, state.namespace))) else {
        shown.blame(error, places.is_own(&error.file));
        return Ok(None);
    };
    let node = connect(places, &namespace, Instant::now())?;
    let container = node.container(&shown.name)?;
    let is_current = container.is_some_and(|found| found.labels.get(GENERATION) == Some(&current.id()));
    shown.state = Some(state_of(&node, &shown.name)?);
    shown.healthy = is_current && matches!(shown.state, Some("running" | "paused"));
    shown.blame(error, shown.healthy);
    Ok(None)
}

fn state_of(node: &Node, name: &str) -> Result<&'static str, GuestError> {
    let task = node.task(name)?;
    Ok(match task.map(|task| task.status()) {
        Some(TaskStatus::Running) => "running",
        Some(TaskStatus::Paused) => "paused",
        Some(TaskStatus::Stopped) => "ended",
        _ => "stopped",
    })
}

/// What is wrong with a guest.
fn problem(guest: &Guest<'_>, until: Instant) -> Result<Option<String>, GuestError> {
    let Some(current) = &guest.state.current else {
        return Ok(Some("no version of it has run yet: run `micrun guests apply`".to_owned()));
    };
    if guest.state.trial.is_some() {
        return Ok(Some("another version is being tried".to_owned()));
    }
    let container = guest.node.container(guest.name)?;
    let generation = container.as_ref().and_then(|container| container.labels.get(GENERATION));
    if generation != Some(&current.id()) {
        return Ok(Some("its container is not there: run `micrun guests apply`".to_owned()));
    }
    let task = guest.node.task(guest.name)?;
    let runs = task.filter(|task| matches!(task.status(), TaskStatus::Running | TaskStatus::Paused));
    if let (Some(task), Some(seen)) = (runs, &guest.state.seen)
        && task.pid == seen.pid
        && seen.boot == boot_id()
    {
        return Ok(None);
    }
    let from = guest.state.seen.as_ref().map_or(0, |seen| seen.log);
    let left = until.saturating_duration_since(Instant::now()).max(ANSWER);
    match guest.patient(log_file(current).map(|path| (path, from))).examine(Some(left))? {
        Verdict::Healthy(_) | Verdict::Done => Ok(None),
        Verdict::Unhealthy(why) => Ok(Some(format!("it is not healthy: {why}"))),
    }
}

/// What is good to know of a guest that is healthy.
pub(super) fn note(state: &State) -> Option<String> {
    let refused: Vec<String> = state
        .refused
        .iter()
        .map(|refused| format!("{} is not tried again ({})", refused.digest, refused.why))
        .collect();
    let until = "until its image or its declaration changes; `micrun guests apply --retry` does it now";
    (!refused.is_empty()).then(|| format!("{} {until}", refused.join(", ")))
}
