//! One guest, brought to what is declared.
//!
//! ```text
//!                    the declared version is the current one
//!   declared --------------------------------------------------> run it, see that it is healthy
//!       |
//!       | another one                   healthy
//!       +--> bring, prepare --> trial -----------> current; what was current is previous
//!                                 |
//!                                 | not healthy
//!                                 +------------> refused; the current one runs again
//! ```
//!
//! The old guest stops when everything that the new one needs is there, and not before. Each step may be the last one before
//! the power is gone: what the next `apply` needs to know was written before, and every step can be done again.
//!
//! - this file: what is asked for
//! - [`image`]: what is wanted, and everything that it needs
//! - [`trial`]: from one version to another, and back
//! - [`run`]: a version's container and task

mod image;
mod run;
mod trial;

use super::folder::Places;
use super::model::{Chosen, Declaration, Image, Refused, Restart, State, StateError};
use super::node::Node;
use super::node::containers::GENERATION;
use super::step::pass;
use super::{GuestError, say};

/// A guest and everything around it.
pub(super) struct Guest<'a> {
    pub(super) name: &'a str,
    pub(super) declaration: &'a Declaration,
    pub(super) places: &'a Places,
    pub(super) node: &'a Node,
    pub(super) state: State,
}

/// What became of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Did {
    /// It was as declared.
    Kept,
    /// It was not running.
    Started,
    /// Another version runs now.
    Updated,
}

impl Did {
    /// For `--format json`.
    pub(super) fn word(self) -> &'static str {
        match self {
            Did::Kept => "kept",
            Did::Started => "started",
            Did::Updated => "updated",
        }
    }
}

impl<'a> Guest<'a> {
    /// A guest with what is remembered of it. Where that is damaged, it is set aside.
    ///
    /// # Errors
    ///
    /// If the state cannot be read.
    pub(super) fn open(
        name: &'a str,
        declaration: &'a Declaration,
        places: &'a Places,
        node: &'a Node,
    ) -> Result<Guest<'a>, GuestError> {
        let state = remembered(name, places)?;
        let state = state.unwrap_or_else(|| State::new(&declaration.namespace));
        let mut guest = Guest { name, declaration, places, node, state };
        guest.note_folder()?;
        Ok(guest)
    }

    /// A guest is removed only where the folder that declared it was read without its file in it.
    fn note_folder(&mut self) -> Result<(), GuestError> {
        let folder = self.declaration.file.parent().and_then(|folder| std::path::absolute(folder).ok());
        if self.state.folder != folder {
            self.state.folder = folder;
            if self.state.current.is_some() {
                self.save()?;
            }
        }
        Ok(())
    }

    fn save(&self) -> Result<(), GuestError> {
        Ok(self.state.save(&self.places.state_of(self.name))?)
    }

    /// Brings the guest to what is declared.
    ///
    /// # Errors
    ///
    /// [`GuestError`]: what keeps it from that, or that it is not healthy.
    pub(super) fn apply(&mut self, retry: bool) -> Result<Did, GuestError> {
        self.check_policy()?;
        self.own_container()?;
        let source = self.source()?;
        let wanted = self.generation(&source)?;
        pass("resolved");
        if retry {
            self.state.refused.clear();
        }
        self.state.forget_refusals(&wanted);
        let is_current = self.state.current.as_ref().is_some_and(|current| current.id() == wanted.id());
        if is_current || self.state.current.is_some() && self.state.refuses(&wanted) {
            return self.keep(&source);
        }
        self.bring(&source, &wanted)?;
        self.prepare(&wanted)?;
        self.try_out(wanted, None)
    }

    /// Starts the version that ran last, if nobody has: it does not wait for what has to be fetched for others, or for itself.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub(super) fn stand(&mut self) -> Result<Did, GuestError> {
        let Some(current) = self.state.current.clone().filter(|_| self.state.trial.is_none()) else {
            return Ok(Did::Kept);
        };
        match self.own_container()? {
            Some(found) if found.labels.get(GENERATION) == Some(&current.id()) => {
                let (did, _) = self.start(&found, &current)?;
                self.watch(&current)?;
                Ok(did)
            }
            _ => Ok(Did::Kept),
        }
    }

    /// Makes sure that what is declared can be had in this namespace, without touching what runs.
    ///
    /// # Errors
    ///
    /// As [`Guest::apply`].
    pub(super) fn make_ready(&mut self) -> Result<(), GuestError> {
        self.check_policy()?;
        self.own_container()?;
        let source = self.source()?;
        let wanted = self.generation(&source)?;
        self.bring(&source, &wanted).and_then(|()| self.prepare(&wanted)).inspect_err(|_| {
            // It may never be declared for this namespace again. What is wrong is said already.
            let _ = self.node.prune(self.name, &[], &[]);
        })
    }

    /// What the restart monitor has to do must be something that it can.
    fn check_policy(&self) -> Result<(), GuestError> {
        let restart = self.declaration.restart;
        let known = if restart == Restart::No { Some(Vec::new()) } else { self.node.restart_policies()? };
        match (known, restart) {
            (None, _) => Err(GuestError::NoMonitor),
            (Some(known), Restart::OnFailure(_)) if !known.iter().any(|word| word == "on-failure") => {
                Err(GuestError::NoPolicies)
            }
            _ => Ok(()),
        }
    }

    /// Where the image comes from: what an operator chose, as long as the declaration is the one it was chosen over.
    fn source(&mut self) -> Result<Image, GuestError> {
        let declared = &self.declaration.image;
        if let Some(chosen) = &self.state.chosen {
            let now = self.digest_at_hand(declared);
            let holds = chosen.over == declared.to_string() && (now.is_none() || now == chosen.over_digest);
            match chosen.image.parse() {
                Ok(image) if holds => return Ok(image),
                _ => {
                    say(
                        self.name,
                        format_args!("the declaration has changed, and holds instead of {}", chosen.image),
                    );
                    self.state.chosen = None;
                    self.save()?;
                }
            }
        }
        Ok(declared.clone())
    }

    /// Goes back to the version before, and stays there until something else is declared. Where that one is not healthy, the
    /// current one runs again.
    ///
    /// # Errors
    ///
    /// If there is none, or it is not healthy.
    pub(super) fn roll_back(&mut self) -> Result<Did, GuestError> {
        self.check_policy()?;
        let (Some(current), Some(previous)) = (self.state.current.clone(), self.state.previous.clone())
        else {
            return Err(GuestError::NothingBefore);
        };
        let why = "it was rolled back by hand".to_owned();
        self.prepare(&previous)?;
        self.try_out(previous, Some(Refused { generation: current.id(), digest: current.digest, why }))
    }

    /// Chooses another image than the declared one.
    ///
    /// # Errors
    ///
    /// As [`Guest::apply`].
    pub(super) fn update(&mut self, image: &Image) -> Result<Did, GuestError> {
        let declared = &self.declaration.image;
        let (over, over_digest) = (declared.to_string(), self.digest_at_hand(declared));
        // Nothing is chosen that cannot be had.
        let wanted = self.generation(image)?;
        self.bring(image, &wanted)?;
        self.state.chosen = Some(Chosen { image: image.to_string(), over, over_digest });
        self.state.pardon(&wanted);
        self.save()?;
        self.apply(false)
    }

    /// Ends the guest and forgets it, with its images.
    ///
    /// # Errors
    ///
    /// If containerd refuses.
    pub(super) fn remove(&mut self) -> Result<(), GuestError> {
        match self.own_container() {
            Ok(Some(container)) => self.remove_container(&container)?,
            Ok(None) | Err(GuestError::NotOurs { .. }) => {}
            Err(error) => return Err(error),
        }
        self.node.prune(self.name, &[], &[])?;
        pass("pruned");
        let path = self.places.state_of(self.name);
        let failed = |source| StateError::Io { doing: "cannot remove", path: path.clone(), source };
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            removed => Ok(removed.map_err(failed)?),
        }
    }
}

/// The kernel's id of this boot.
pub(super) fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim_end().to_owned()
}

/// What is remembered of a guest. Where that is damaged, it is set aside.
///
/// # Errors
///
/// If it cannot be read.
pub(super) fn remembered(name: &str, places: &Places) -> Result<Option<State>, GuestError> {
    let (state, damaged) = State::rescue(&places.state_of(name))?;
    if let Some(damaged) = damaged {
        say(name, format_args!("what was remembered is set aside as {name}.damaged: {damaged}"));
    }
    Ok(state)
}
