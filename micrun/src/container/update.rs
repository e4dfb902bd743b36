//! The Update of a container's resources: all of it, or nothing.

use super::ContainerError;
use super::owner::Owner;
use super::share::{Step, Updates};
use super::state::Operation;
use crate::pedestal::DriverError;
use crate::reservations;
use crate::resources::Asked;

impl Owner {
    pub(super) async fn update(&mut self, asked: Asked) -> Result<(), ContainerError> {
        self.status().check(Operation::Update)?;
        if self.share.updates == Updates::PassedOver {
            return Ok(());
        }
        if asked.cpus.is_some() && !self.share.knows_cores() {
            self.share.set_cores(self.driver.cores(&self.node).await?);
        }
        let new = self.share.updated(asked)?;
        let steps = self.share.steps_to(&new);
        if self.share.updates == Updates::Refused && !steps.is_empty() {
            return Err(ContainerError::Unsupported(
                "its image says that its resources are fixed (runtime.static_resource)",
            ));
        }
        let can = self.guest.capabilities().live;
        if steps.iter().any(|step| !can.allows(&step.change)) {
            return Err(ContainerError::Unsupported(
                "its pedestal cannot change these resources while the guest exists; start it anew with others",
            ));
        }
        self.take_and_claim(&steps).await?;
        self.share = new;
        Ok(())
    }

    /// Takes all steps. While a guest moves from cores of its own to others, both are claimed.
    async fn take_and_claim(&mut self, steps: &[Step]) -> Result<(), ContainerError> {
        let before = self.state.claims.clone();
        let after = reservations::after(&before, steps.iter().map(|step| &step.change));
        if after == before {
            return Ok(self.take(steps).await?);
        }
        self.state.claims.extend(after.iter().cloned());
        let (key, driver) = (&self.info.key, self.driver.as_ref());
        if let Err(error) = reservations::take(&self.store, key, &self.entry, &self.state, driver).await {
            self.state.claims = before;
            return Err(error.into());
        }
        let taken = self.take(steps).await;
        self.state.claims = if taken.is_ok() { after } else { before };
        if let Err(error) = self.entry.save(&self.state) {
            tracing::warn!(container = %self.info.key, %error, "cores that the guest has left stay reserved");
        }
        Ok(taken?)
    }

    /// Takes all steps. If one fails, those before it are undone.
    async fn take(&mut self, steps: &[Step]) -> Result<(), DriverError> {
        for (taken, step) in steps.iter().enumerate() {
            let Err(error) = self.guest.apply(&step.change).await else { continue };
            for undo in steps[..taken].iter().rev().filter_map(|step| step.undo.as_ref()) {
                if let Err(error) = self.guest.apply(undo).await {
                    tracing::error!(container = %self.info.key, %error, ?undo, "a failed update is not undone");
                }
            }
            return Err(error);
        }
        Ok(())
    }
}
