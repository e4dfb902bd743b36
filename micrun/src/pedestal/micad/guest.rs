//! The handle on one guest.
//!
//! ```text
//! Created ──start──> Running ──(the watcher tells of the end)──> Over
//!    └──────────── stopped before it ran ─────────────────────────┘
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use libmica::{Create, Key, State};
use micrun_image_spec::firmware::Pedestal;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::OnDisk;
use super::client::{Client, Look};
use super::domain::Domain;
use super::inquiry::STEADY;
use super::plan::Beyond;
use super::watcher::{Order, Watcher};
use crate::hypervisor::xen::{DomainWatch, cap};
use crate::pedestal::xen::free_memory;
use crate::pedestal::{Capabilities, DriverError, Event, ExitCause, ExitNotice, Guest, Live, Usage};
use crate::resources::Change;
use crate::trace;

/// How long a request to stop is waited for.
const ASK_LIMIT: Duration = Duration::from_secs(4);

/// A guest that micad has.
pub struct MicadGuest {
    client: Arc<Client>,
    phase: Phase,
    /// Each virtual CPU has a core of its own.
    pin: bool,
    max_vcpus: u32,
    /// Whether the guest in a domain listens to a request to power off.
    listens: Option<Arc<AtomicBool>>,
}

enum Phase {
    Created(Box<Plans>, mpsc::UnboundedSender<Event>),
    Running(mpsc::UnboundedSender<Order>),
    Over,
}

/// What is needed for the start.
struct Plans {
    /// The message that made the client, for a daemon that forgets it.
    message: Create,
    beyond: Beyond,
}

impl MicadGuest {
    /// A guest that does not run yet.
    pub fn created(
        client: Client,
        message: Create,
        beyond: Beyond,
        events: mpsc::UnboundedSender<Event>,
    ) -> MicadGuest {
        let (pin, max_vcpus) = (beyond.pin.is_some(), beyond.max_vcpus);
        let phase = Phase::Created(Box::new(Plans { message, beyond }), events);
        MicadGuest { client: Arc::new(client), phase, pin, max_vcpus, listens: None }
    }

    /// A guest that runs, of a shim that is gone.
    ///
    /// # Errors
    ///
    /// A guest that does not run, or of which the daemon tells nothing.
    pub async fn adopt(
        client: Client,
        on_disk: &OnDisk,
        events: mpsc::UnboundedSender<Event>,
    ) -> Result<MicadGuest, DriverError> {
        let watch = match &client.domain {
            Some(domain) => Some(domain.watch().await?),
            None => {
                let doing = || format!("taking over the guest {}", client.name);
                why_not_running(&client)
                    .await
                    .map_or(Ok(None), |why| Err(DriverError::backend(doing(), why)))?
            }
        };
        let OnDisk { pin, max_vcpus, .. } = *on_disk;
        let client = Arc::new(client);
        let mut guest = MicadGuest { client, phase: Phase::Over, pin, max_vcpus, listens: None };
        guest.follow(watch, None, events);
        Ok(guest)
    }

    fn follow(
        &mut self,
        watch: Option<DomainWatch>,
        message: Option<Create>,
        events: mpsc::UnboundedSender<Event>,
    ) {
        self.listens = watch.as_ref().map(DomainWatch::listens);
        let (orders_in, orders) = mpsc::unbounded_channel();
        let watcher = Watcher::new(Arc::clone(&self.client), message, watch, events, orders);
        trace::spawn(watcher.run());
        self.phase = Phase::Running(orders_in);
    }

    /// Runs the firmware, and on Xen does to its domain what micad does not.
    async fn launch(&self, beyond: &Beyond) -> Result<Option<DomainWatch>, DriverError> {
        self.client.start().await?;
        let Some(domain) = &self.client.domain else { return Ok(None) };
        match self.complete(domain, beyond).await {
            Ok(watch) => Ok(Some(watch)),
            Err(error) => {
                self.client.undo().await;
                Err(error)
            }
        }
    }

    async fn complete(&self, domain: &Domain, beyond: &Beyond) -> Result<DomainWatch, DriverError> {
        let watch = domain.watch().await?;
        if let Some(cores) = &beyond.pin {
            domain.pin(cores, self.max_vcpus).await?;
        }
        if let Some(memory) = beyond.max_memory {
            self.client.set(Key::MaxMemory, memory.0).await?;
        }
        Ok(watch)
    }

    fn domain(&self) -> Result<&Domain, DriverError> {
        self.client
            .domain
            .as_ref()
            .ok_or(DriverError::Unsupported("only guests on Xen can do that under micad"))
    }

    /// Ends a guest that does not run. True if it does.
    fn end_unless_running(&mut self) -> bool {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Created(_, events) => {
                // The container may be on its way out.
                let _ = events.send(Event::Exited(ExitCause::Stopped));
                false
            }
            Phase::Over => false,
            running @ Phase::Running(_) => {
                self.phase = running;
                true
            }
        }
    }

    fn order(&self, order: Order) {
        if let Some(orders) = self.orders() {
            // The watcher is gone when the guest is.
            let _ = orders.send(order);
        }
    }

    fn orders(&self) -> Option<mpsc::UnboundedSender<Order>> {
        match &self.phase {
            Phase::Running(orders) => Some(orders.clone()),
            _ => None,
        }
    }
}

/// What the daemon says about a guest, unless it is that it runs.
async fn why_not_running(client: &Client) -> Option<String> {
    match client.look().await {
        Look::Known(status) if status.state == State::Running => None,
        Look::Known(status) => Some(format!("micad says that it is {}", status.state)),
        Look::Forgotten => Some("micad has forgotten it".to_owned()),
        Look::Silent(error) => Some(error.to_string()),
    }
}

/// Asks a guest to stop, and tells the watcher whether it could be asked.
async fn deliver(
    client: Arc<Client>,
    orders: Option<mpsc::UnboundedSender<Order>>,
) -> Result<(), DriverError> {
    let result = match &client.domain {
        Some(domain) => domain.ask().await,
        None => client.ask().await,
    };
    if let Some(orders) = orders {
        // The watcher is gone when the guest is.
        let _ = orders.send(if result.is_ok() { Order::Delivered } else { Order::Undelivered });
    }
    result
}

#[async_trait]
impl Guest for MicadGuest {
    /// The daemon has no process for a guest.
    fn pid(&self) -> Option<u32> {
        None
    }

    fn capabilities(&self) -> Capabilities {
        let is_xen = self.client.pedestal == Pedestal::Xen;
        let listens = self.listens.as_ref().is_some_and(|listens| listens.load(Ordering::Relaxed));
        Capabilities {
            ask: !is_xen || listens,
            force: is_xen,
            pause: is_xen,
            live: Live { cpu: is_xen, memory: is_xen },
            exit: if is_xen { ExitNotice::Event } else { ExitNotice::Poll(STEADY) },
        }
    }

    async fn start(&mut self) -> Result<(), DriverError> {
        let Phase::Created(plans, events) = std::mem::replace(&mut self.phase, Phase::Over) else {
            return Err(DriverError::Unsupported("a guest of micad is started once"));
        };
        match self.launch(&plans.beyond).await {
            Ok(watch) => {
                self.follow(watch, Some(plans.message), events);
                Ok(())
            }
            Err(error) => {
                let error = match self.client.pedestal {
                    Pedestal::Baremetal => core_in_use(error, &plans.message.cpus),
                    Pedestal::Xen => too_large(error, plans.message.memory).await,
                    _ => error,
                };
                let _ = events.send(Event::Exited(ExitCause::Failed(error.to_string())));
                Err(error)
            }
        }
    }

    /// Returns when the daemon has told the guest, or is so busy that it will do that later: what it was sent waits for
    /// it, and whoever wants to force the guest waits here.
    async fn ask(&mut self) -> Result<(), DriverError> {
        if !self.end_unless_running() {
            return Ok(());
        }
        self.order(Order::Stopping);
        let delivery = trace::spawn(deliver(Arc::clone(&self.client), self.orders()));
        match timeout(ASK_LIMIT, delivery).await {
            Ok(Ok(result)) => result,
            _ => {
                tracing::warn!(guest = %self.client.name, "micad is busy: it will ask the guest to stop when it can");
                Ok(())
            }
        }
    }

    async fn force(&mut self) -> Result<(), DriverError> {
        self.domain()?;
        if !self.end_unless_running() {
            return Ok(());
        }
        self.order(Order::Stopping);
        self.client.force().await
    }

    async fn pause(&mut self) -> Result<(), DriverError> {
        self.domain()?.pause().await
    }

    async fn resume(&mut self) -> Result<(), DriverError> {
        self.domain()?.resume().await
    }

    async fn apply(&mut self, change: &Change) -> Result<(), DriverError> {
        let domain = self.domain()?;
        match change {
            // micad answers with success whatever `xl vcpu-pin` does for all virtual CPUs at once.
            Change::Cpus(cores) if self.pin => domain.pin(cores, self.max_vcpus).await,
            Change::Cpus(cores) => domain.bind(cores, self.max_vcpus).await,
            Change::Vcpus(count) => self.client.set(Key::Vcpu, *count).await,
            Change::Weight(weight) => self.client.set(Key::CpuWeight, weight.guest()).await,
            Change::Capacity(capacity) => {
                self.client.set(Key::CpuCapacity, cap(capacity.percent(), self.max_vcpus)).await
            }
            // A domain's memory is its own: nobody takes any of it.
            Change::MinMemory(_) => Ok(()),
            Change::Memory(memory) => self.client.set(Key::Memory, memory.0).await,
            Change::MaxMemory(memory) => self.client.set(Key::MaxMemory, memory.0).await,
        }
    }

    /// What a core does that is not Linux's, nobody counts.
    async fn usage(&mut self) -> Result<Usage, DriverError> {
        match (&self.client.domain, &self.phase) {
            (Some(domain), Phase::Running(_)) => domain.usage().await,
            _ => Ok(Usage::default()),
        }
    }
}

/// Says what micad does not: that it cannot start a core which Linux has not given up.
fn core_in_use(error: DriverError, core: &str) -> DriverError {
    let online = std::fs::read_to_string(format!("/sys/devices/system/cpu/cpu{core}/online"));
    match error {
        DriverError::Backend { doing, answer } if online.is_ok_and(|online| online.trim() == "1") => {
            let hint = format!(
                "Linux uses core {core} itself, take it away with `maxcpus=` on the kernel's command line"
            );
            DriverError::backend(doing, format!("{answer}; {hint}"))
        }
        error => error,
    }
}

/// Says what micad does not: that Xen lacks the memory. Asked only now, so that no other start waits for it.
async fn too_large(error: DriverError, wanted: Option<u32>) -> DriverError {
    let (DriverError::Backend { doing, answer }, Some(wanted)) = (&error, wanted) else { return error };
    match free_memory().await {
        Ok(Some(memory)) if wanted > memory.free.0 => {
            let hint = format!(
                "the guest is to get {wanted} MiB, and Xen has {} MiB left for guests: give it less, or end another guest",
                memory.free.0
            );
            DriverError::backend(doing, format!("{answer}; {hint}"))
        }
        _ => error,
    }
}
