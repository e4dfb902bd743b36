//! From one version to another, and back.

use super::{Did, Guest};
use crate::guests::model::{Generation, Image, Refused, Trial};
use crate::guests::step::pass;
use crate::guests::{GuestError, say};

/// How often a version is tried that the power failed in: once more than once.
const MAX_TRIES: u32 = 2;

impl Guest<'_> {
    /// Runs the current version; the declared one may be refused.
    pub(super) fn keep(&mut self, source: &Image) -> Result<Did, GuestError> {
        let Some(current) = self.state.current.clone() else { return Ok(Did::Kept) };
        if self.state.trial.take().is_some() {
            self.save()?;
        }
        // After a loss of containerd's own data it may still be had where it came from.
        if !self.node.is_pinned(self.name, current.digest)? && self.is_origin(source, &current) {
            self.bring(source, &current)?;
        }
        let did = self.run(&current)?;
        self.prune()?;
        Ok(did)
    }

    /// Replaces the current version; goes back to it where the new one is not healthy. `left` is for a current version that is
    /// not wanted again.
    pub(super) fn try_out(&mut self, wanted: Generation, left: Option<Refused>) -> Result<Did, GuestError> {
        let id = wanted.id();
        let before = self
            .state
            .trial
            .as_ref()
            .filter(|trial| trial.generation.id() == id)
            .map_or(0, |trial| trial.tries);
        let has_one = self.state.current.is_some();
        if before >= MAX_TRIES && has_one {
            let why = format!("the node went down {before} times while it was tried");
            return self.take_back(&wanted, why);
        }
        self.state.trial = Some(Trial { generation: wanted.clone(), tries: before + 1 });
        self.save()?;
        pass("trial recorded");
        let container = match self.container_of(&wanted) {
            Ok(container) => container,
            Err(error) => return self.call_off(error),
        };
        match self.judge(&container, &wanted) {
            Ok(_) => {
                self.accept(wanted, left)?;
                Ok(if has_one { Did::Updated } else { Did::Started })
            }
            // It had no chance to be healthy: the next time it has.
            Err(error) if error.is_of_node() => Err(error),
            Err(error) if has_one => self.take_back(&wanted, error.to_string()),
            // With nothing to go back to, it stays, under its restart policy.
            Err(error) => {
                self.accept(wanted, left)?;
                Err(error)
            }
        }
    }

    fn accept(&mut self, wanted: Generation, left: Option<Refused>) -> Result<(), GuestError> {
        if let Some(current) = self.state.current.replace(wanted.clone()) {
            self.state.previous = Some(current);
        }
        self.state.trial = None;
        self.state.pardon(&wanted);
        left.into_iter().for_each(|left| self.state.refuse(left));
        self.save()?;
        pass("recorded");
        self.watch(&wanted)?;
        self.prune()
    }

    /// A trial that did not come as far as the version: nothing is known about it, and the current one runs on, or again.
    fn call_off(&mut self, error: GuestError) -> Result<Did, GuestError> {
        self.state.trial = None;
        self.save()?;
        if let Some(current) = self.state.current.clone()
            && let Err(problem) = self.run(&current)
        {
            say(self.name, format_args!("{} does not run either: {problem}", current.digest));
        }
        Err(error)
    }

    /// The version is not wanted again, and the current one runs again.
    fn take_back(&mut self, wanted: &Generation, why: String) -> Result<Did, GuestError> {
        let digest = wanted.digest;
        self.state.refuse(Refused { generation: wanted.id(), digest, why: why.clone() });
        self.state.trial = None;
        self.save()?;
        pass("refusal recorded");
        let Some(current) = self.state.current.clone() else { return Ok(Did::Kept) };
        let to = current.digest;
        say(self.name, format_args!("{digest} is not healthy ({why}): going back to {to}"));
        match self.run(&current).and_then(|_| self.prune()) {
            Ok(()) => Err(GuestError::TakenBack { digest, why, to }),
            Err(error) => Err(GuestError::NeitherRuns { digest, why, to, problem: Box::new(error) }),
        }
    }
}
