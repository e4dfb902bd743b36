//! `stop`: guests end in an orderly way, as they do before their node.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use super::folder::{Declared, Places};
use super::guest::{self, Guest};
use super::model::Declaration;
use super::{GuestError, GuestsError, StopArgs, connect};
use crate::CliError;
use crate::print;

pub(super) fn stop(args: &StopArgs) -> Result<ExitCode, CliError> {
    let places = &args.places;
    let _lock = places.lock()?;
    let declared = places.declared()?;
    let mut names = places.known()?;
    let is_known = |name: &&String| names.contains(name) || declared.guests.contains_key(*name);
    if let Some(name) = args.names.iter().find(|name| !is_known(name)) {
        return Err(GuestsError::Unknown { name: name.clone() }.into());
    }
    if !args.names.is_empty() {
        names.retain(|name| args.names.contains(name));
    }
    // All at once: each may take the time that its declaration gives it.
    let failed = std::thread::scope(|scope| {
        let (declared, mut jobs) = (&declared, Vec::new());
        for name in &names {
            jobs.push((name, scope.spawn(move || stop_one(name, declared, places))));
        }
        let mut failed = 0;
        for (name, job) in jobs {
            if let Err(error) = job.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)) {
                print::error(&format_args!("{name}: {error}"));
                failed += 1;
            }
        }
        failed
    });
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn stop_one(name: &str, declared: &Declared, places: &Places) -> Result<(), GuestError> {
    let Some(state) = guest::remembered(name, places)? else { return Ok(()) };
    // Whatever is wrong with its declaration, it ends.
    let usual = Declaration::parse(Path::new(name), "image = \"/\"")?;
    let declaration = declared.guests.get(name).and_then(|entry| entry.declaration.as_ref().ok());
    // Where containerd does not listen, nobody will soon: the node goes down.
    let node = connect(places, &state.namespace, Instant::now())?;
    Guest { name, declaration: declaration.unwrap_or(&usual), places, node: &node, state }.stop()
}
