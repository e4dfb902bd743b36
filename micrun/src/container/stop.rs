//! How a guest is ended: by a signal of the engine's, by Ctrl-C, by the clock, or because it did not follow.

use std::time::Duration;

use tokio::time::Instant;

use super::ContainerError;
use super::exit::KillReason;
use super::owner::Owner;
use super::state::{Operation, Status};
use crate::pedestal::{ExitCause, ExitNotice};

/// How long a guest that cannot be forced may take to follow a request, before it is declared stopped.
const UNFORCED_STOP: Duration = Duration::from_secs(2);

/// How long a guest whose time is over may take to follow, before it is forced: there is no engine here that would do so.
/// docker's and nerdctl's default.
const LAST_WORDS: Duration = Duration::from_secs(10);

pub(super) const SIGKILL: u8 = 9;
const SIGTERM: u8 = 15;
/// Signals that end nothing: 0 (the existence check), SIGCHLD, SIGCONT, SIGURG, SIGWINCH (signal(7)).
const HARMLESS_SIGNALS: [u32; 5] = [0, 17, 18, 23, 28];
/// The highest signal number of Linux (`_NSIG`).
const LAST_SIGNAL: u32 = 64;

/// The signal of this number if it ends what it is sent to; None where it has no effect.
pub(super) fn terminating(signal: u32) -> Result<Option<u8>, ContainerError> {
    let number = u8::try_from(signal).ok().filter(|_| signal <= LAST_SIGNAL);
    let number = number.ok_or(ContainerError::NoSuchSignal(signal))?;
    Ok(Some(number).filter(|_| !HARMLESS_SIGNALS.contains(&signal)))
}

/// What happens by itself at its time, unless the guest ends first. There is one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alarm {
    /// The time that it may run is over: it is asked to stop.
    TimeIsOver,
    /// It was asked for that and went on: it is forced.
    Force,
    /// It was asked, cannot be forced and went on: it is declared stopped.
    GiveUp,
}

impl Owner {
    /// Kill: delivers a signal, as far as an RTOS guest can have signals.
    pub(super) async fn signal(&mut self, signal: u32) -> Result<(), ContainerError> {
        self.status().check(Operation::Kill)?;
        let Some(number) = terminating(signal)? else { return Ok(()) };
        self.stop(KillReason::Signal(number), number == SIGKILL).await
    }

    /// Ctrl-C on a terminal.
    pub(super) async fn on_interrupt(&mut self) {
        if self.status().check(Operation::Kill).is_err() {
            return;
        }
        if let Err(error) = self.stop(KillReason::Interrupt, false).await {
            tracing::warn!(container = %self.info.key, %error, "Ctrl-C could not stop the guest");
        }
    }

    /// From the start on a guest runs for the time that it has, where it has one.
    pub(super) fn set_alarm(&mut self) {
        if let Some(time) = self.share.time {
            self.alarm.get_or_insert_with(|| (Instant::now() + time, Alarm::TimeIsOver));
        }
    }

    pub(super) async fn on_alarm(&mut self, alarm: Alarm) {
        self.alarm = None;
        match alarm {
            Alarm::TimeIsOver => {
                tracing::info!(container = %self.info.key, "its time is over (container.auto_close)");
                let stopped = self.stop(KillReason::Signal(SIGTERM), false).await;
                if self.status() != Status::Stopped {
                    self.alarm.get_or_insert_with(|| (Instant::now() + LAST_WORDS, Alarm::Force));
                }
                self.tell(stopped);
            }
            Alarm::Force => {
                let stopped = self.stop_by_force().await;
                self.tell(stopped);
            }
            Alarm::GiveUp => {
                tracing::warn!(
                    container = %self.info.key,
                    "the guest cannot be forced and did not stop: its core may still run"
                );
                self.finish(ExitCause::Stopped).await;
            }
        }
    }

    /// Nobody else is there to be told.
    fn tell(&self, stopped: Result<(), ContainerError>) {
        if let Err(error) = stopped {
            tracing::warn!(container = %self.info.key, %error, "the guest could not be stopped when its time was over");
        }
    }

    /// Asks a guest that listens, unless it is to be forced; forces every other one. A guest whose clock stands
    /// still hears nothing.
    async fn stop(&mut self, reason: KillReason, force: bool) -> Result<(), ContainerError> {
        self.kill = Some(reason);
        if self.guest.capabilities().ask && !force && self.status() == Status::Running {
            self.ask().await;
            return Ok(());
        }
        self.stop_by_force().await
    }

    /// The engine is not told of a request that was not delivered: CRI would give up before SIGKILL.
    async fn ask(&mut self) {
        match self.guest.ask().await {
            Ok(()) => self.delivered().await,
            Err(error) => {
                tracing::warn!(container = %self.info.key, %error, "the guest could not be asked to stop");
            }
        }
    }

    pub(super) async fn stop_by_force(&mut self) -> Result<(), ContainerError> {
        let can = self.guest.capabilities();
        if can.force {
            self.guest.force().await?;
            crash_point!(KillSent);
            self.delivered().await;
            return Ok(());
        }
        if can.ask {
            self.ask().await;
        }
        // Kept from an earlier request: asking again does not extend the time.
        if self.status() != Status::Stopped && !matches!(self.alarm, Some((_, Alarm::GiveUp))) {
            self.alarm = Some((Instant::now() + UNFORCED_STOP, Alarm::GiveUp));
        }
        Ok(())
    }

    /// A pedestal that never tells of an end is believed when it has taken the stop.
    async fn delivered(&mut self) {
        if self.guest.capabilities().exit == ExitNotice::Never {
            self.finish(ExitCause::Stopped).await;
        }
    }
}
