//! `apply`: every guest brought to what is declared, and again where that has changed meanwhile.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use micrun_image_spec::digest::Sha256Digest;
use serde::Serialize;

use super::folder::{Declared, Entry, Places};
use super::guest::{self, Did, Guest};
use super::model::declaration::DEFAULT_NAMESPACE;
use super::model::{Declaration, DeclarationError, State};
use super::{ApplyArgs, GuestError, GuestsError, START, connect, elsewhere, say, show};
use crate::CliError;
use crate::print::{self, Format, Style, Table};

/// Exit status: the same may succeed in a while (EX_TEMPFAIL in sysexits.h). The unit goes by it.
const AGAIN: u8 = 75;

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

pub(super) fn apply(args: &ApplyArgs) -> Result<ExitCode, CliError> {
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
    let last = Declaration::parse(Path::new(name), "image = \"/\"")?;
    let node = connect(places, &state.namespace, Instant::now() + START)?;
    Guest { name, declaration: &last, places, node: &node, state }.remove()
}
