//! Follows a guest that runs to its end, and its console from one tty to the next.
//!
//! ```text
//!             orders of MicadGuest ─┐
//!   Xen: the end of the domain ─────┤
//!   the console ended ──────────────┼──> Watcher ──> events to the container
//!   what the daemon answers ────────┤
//!   a stop that nobody confirms ────┘
//! ```

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use libmica::{Create, State, Status};
use micrun_image_spec::firmware::Pedestal;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::client::{Client, Look};
use super::console::Told;
use super::inquiry::{Inquiry, Pace, STEADY};
use crate::hypervisor::xen::{DomainWatch, Ending};
use crate::pedestal::{Event, ExitCause};

/// How long a guest gets to follow a stop of which nobody will tell. Longer than the container waits for a guest that
/// it wants to force, so that this one declares it then, with its warning.
const UNTOLD_STOP: Duration = Duration::from_secs(3);

/// Longest time between questions for a console on Xen, where nothing else is asked.
const RARELY: Duration = Duration::from_secs(10);

/// What the guest's handle tells the watcher.
pub enum Order {
    /// The guest will be told to stop.
    Stopping,
    /// It was told.
    Delivered,
    /// It could not be told.
    Undelivered,
}

/// The task that follows one guest.
pub struct Watcher {
    client: Arc<Client>,
    /// For a daemon that forgets the guest and can take it back.
    message: Option<Create>,
    events: mpsc::UnboundedSender<Event>,
    orders: mpsc::UnboundedReceiver<Order>,
    domain: Option<DomainWatch>,
    inquiry: Inquiry,
    console_lost: Arc<Notify>,
    /// Since when a console is looked for; `None` while there is one, or where none will come.
    looking: Option<Instant>,
    stopping: bool,
    give_up: Option<Instant>,
    /// The daemon did not answer the last question.
    silent: bool,
}

impl Watcher {
    /// For a guest that runs.
    pub fn new(
        client: Arc<Client>,
        message: Option<Create>,
        domain: Option<DomainWatch>,
        events: mpsc::UnboundedSender<Event>,
        orders: mpsc::UnboundedReceiver<Order>,
    ) -> Watcher {
        Watcher {
            inquiry: Inquiry::new(Arc::clone(&client)),
            client,
            message,
            events,
            orders,
            domain,
            console_lost: Arc::default(),
            looking: Some(Instant::now()),
            stopping: false,
            give_up: None,
            silent: false,
        }
    }

    /// Ends with the guest, or with its handle.
    pub async fn run(mut self) {
        if let Some(cause) = self.follow().await {
            self.tell(Event::Exited(cause));
        }
    }

    async fn follow(&mut self) -> Option<ExitCause> {
        loop {
            let cause = tokio::select! {
                biased;
                order = self.orders.recv() => self.on_order(order?),
                ending = ended(&mut self.domain) => Some(self.on_ending(ending).await),
                () = sleep_until(self.give_up) => Some(ExitCause::Stopped),
                () = self.console_lost.notified() => self.on_console_lost(),
                look = self.inquiry.answer() => self.on_answer(look).await,
            };
            if cause.is_some() {
                return cause;
            }
            self.inquiry.pace(self.pace());
        }
    }

    fn on_order(&mut self, order: Order) -> Option<ExitCause> {
        self.stopping = !matches!(order, Order::Undelivered);
        if matches!(order, Order::Delivered) && self.is_untold() {
            let (guest, pedestal) = (&self.client.name, self.client.pedestal);
            tracing::warn!(%guest, %pedestal, "micad does not tell whether the guest follows a stop: its core may still run");
            self.give_up.get_or_insert_with(|| Instant::now() + UNTOLD_STOP);
        }
        None
    }

    /// micad takes down its own side and calls that `Offline`, whatever the guest does: on bare metal it is told and
    /// not waited for, on hetero it is not even told.
    fn is_untold(&self) -> bool {
        matches!(self.client.pedestal, Pedestal::Baremetal | Pedestal::Hetero)
    }

    async fn on_ending(&mut self, ending: Ending) -> ExitCause {
        match &self.client.domain {
            Some(domain) => domain.cause(ending, self.stopping).await,
            // Nobody else has a watch.
            None => ExitCause::Failed("its domain ended".to_owned()),
        }
    }

    fn on_console_lost(&mut self) -> Option<ExitCause> {
        if !self.stopping {
            self.tell(Event::ConsoleLost("micad closed it".to_owned()));
            self.looking = Some(Instant::now());
        }
        None
    }

    async fn on_answer(&mut self, look: Look) -> Option<ExitCause> {
        match look {
            Look::Known(status) => {
                self.silent = false;
                self.on_status(&status).await
            }
            Look::Forgotten => self.on_forgotten().await,
            Look::Silent(error) => {
                if !std::mem::replace(&mut self.silent, true) {
                    tracing::warn!(guest = %self.client.name, %error, "micad does not tell how the guest is");
                }
                None
            }
        }
    }

    async fn on_status(&mut self, status: &Status) -> Option<ExitCause> {
        if self.looking.is_some()
            && let Some(device) = self.client.open_console(status).await
        {
            self.looking = None;
            let lost = Arc::clone(&self.console_lost);
            self.tell(Event::ConsoleBack(Box::new(Told::new(device, lost))));
        }
        match status.state {
            // micad does not see what becomes of a domain.
            _ if self.domain.is_some() => None,
            State::Offline if self.stopping && self.is_untold() => None,
            State::Offline if self.stopping => Some(ExitCause::Stopped),
            State::Offline => Some(ExitCause::PoweredOff),
            State::Error => Some(ExitCause::Failed("micad reports the state Error".to_owned())),
            _ => None,
        }
    }

    async fn on_forgotten(&mut self) -> Option<ExitCause> {
        if self.stopping {
            return None;
        }
        match (self.client.pedestal, self.message.take()) {
            (Pedestal::Xen, _) => {
                tracing::warn!(guest = %self.client.name, "micad was restarted: the guest goes on without its console");
                self.looking = None;
                None
            }
            (Pedestal::Baremetal, Some(message)) => self.attach(message).await,
            _ => Some(forgotten("cannot take a guest of this pedestal back")),
        }
    }

    async fn attach(&mut self, message: Create) -> Option<ExitCause> {
        if let Err(error) = self.client.attach(&message).await {
            return Some(forgotten(&format!("cannot take it back ({error})")));
        }
        tracing::warn!(guest = %self.client.name, "micad was restarted and has taken the guest back");
        self.message = Some(message);
        self.looking.get_or_insert_with(Instant::now);
        None
    }

    /// How often the daemon is asked.
    fn pace(&self) -> Pace {
        let tells_of_end = self.domain.is_none() && !(self.stopping && self.is_untold());
        match (self.looking, tells_of_end) {
            _ if self.stopping && !tells_of_end => Pace::Never,
            (Some(since), true) => Pace::Console(since, STEADY),
            (Some(since), false) => Pace::Console(since, RARELY),
            (None, true) => Pace::Steady,
            (None, false) => Pace::Never,
        }
    }

    fn tell(&self, event: Event) {
        // Nobody listens any more where the container is gone.
        let _ = self.events.send(event);
    }
}

fn forgotten(and: &str) -> ExitCause {
    ExitCause::Failed(format!(
        "micad was restarted, has forgotten the guest and {and}; its core may still run"
    ))
}

async fn ended(domain: &mut Option<DomainWatch>) -> Ending {
    match domain {
        Some(watch) => watch.ended().await,
        None => pending().await,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => pending().await,
    }
}
