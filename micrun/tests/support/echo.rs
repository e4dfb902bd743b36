//! The second pedestal: guests that echo what is typed on a pty, owned by a daemon that outlives shims, with
//! scripted deaths, delays and refusals. It is what the trait is held against: nothing here is a process,
//! and a guest may be impossible to kill or die without a word.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use micrun::id::Key;
use micrun::pedestal::{
    Capabilities, Claim, Console, Created, Driver, DriverError, Event, ExitCause, ExitNotice, FreeMemory,
    Guest, GuestSpec, Live, Node, Plan, PlanError, Record, Usage,
};
use micrun::resources::{Change, CpuSet};
use micrun::trace::TraceContext;
use micrun_image_spec::firmware::Pedestal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::{pty, shell};

/// What a guest does, decided before it exists.
#[derive(Clone, Debug)]
pub struct Script {
    pub serves: Pedestal,
    pub absent: bool,
    pub refuse_plan: bool,
    /// The kind of change that is refused.
    pub refuse_change: Option<Change>,
    /// What a guest alone can have.
    pub claims: Vec<Claim>,
    /// What memory there is.
    pub free: Option<FreeMemory>,
    /// The console comes with the start, not with the guest.
    pub late_console: bool,
    pub fail_create: bool,
    pub fail_start: bool,
    pub fail_destroy: bool,
    pub create_takes: Duration,
    /// The guest has a shell and echoes what is typed at its prompt only.
    pub shell: bool,
    /// How long after Start the guest ends by itself, and how.
    pub dies: Option<(Duration, ExitCause)>,
    /// Whether the driver stops telling of the guest, without a word, when it starts.
    pub falls_silent: bool,
    /// Whether a guest that is asked to stop does so.
    pub obeys: bool,
    pub can: Capabilities,
}

impl Default for Script {
    fn default() -> Script {
        Script {
            serves: Pedestal::Qemu,
            absent: false,
            refuse_plan: false,
            refuse_change: None,
            claims: Vec::new(),
            free: None,
            late_console: false,
            fail_create: false,
            fail_start: false,
            fail_destroy: false,
            create_takes: Duration::ZERO,
            shell: false,
            dies: None,
            falls_silent: false,
            obeys: true,
            can: Capabilities {
                ask: false,
                force: true,
                pause: false,
                live: Live::NOTHING,
                exit: ExitNotice::Event,
            },
        }
    }
}

/// The daemon: guests by name. It is what is left when a shim dies.
#[derive(Clone, Debug, Default)]
pub struct Daemon(Arc<Mutex<HashMap<String, Owned>>>);

#[derive(Debug)]
struct Owned {
    /// The guest's side of the pty; gone with the guest.
    terminal: Option<File>,
    /// What reads and writes it, while the guest runs.
    echo: Option<AbortHandle>,
    running: bool,
    /// Whoever listens to what happens to it.
    events: Option<mpsc::UnboundedSender<Event>>,
    /// What was changed while it lived.
    changes: Vec<Change>,
}

impl Owned {
    /// Nothing runs any more, and the console is at its end.
    fn end(&mut self) {
        self.running = false;
        self.terminal = None;
        if let Some(echo) = self.echo.take() {
            echo.abort();
        }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.end();
    }
}

impl Daemon {
    /// The guests that it owns.
    pub fn guests(&self) -> Vec<String> {
        self.0.lock().unwrap().keys().cloned().collect()
    }

    /// What was changed of a guest.
    pub fn changes(&self, name: &str) -> Vec<Change> {
        self.0.lock().unwrap()[name].changes.clone()
    }

    /// Something happens to a guest, and its driver tells of it.
    pub fn happens(&self, name: &str, event: Event) {
        let mut guests = self.0.lock().unwrap();
        let Some(owned) = guests.get_mut(name) else { return };
        if matches!(event, Event::Exited(_)) {
            owned.end();
        }
        if let Some(events) = &owned.events {
            let _ = events.send(event);
        }
    }
}

/// The driver.
#[derive(Clone, Default)]
pub struct Echo {
    pub daemon: Daemon,
    pub script: Script,
    /// What each guest so far was told of its trace.
    pub traces: Arc<Mutex<Vec<Option<TraceContext>>>>,
}

impl Echo {
    pub fn with(script: Script) -> Echo {
        Echo { script, ..Echo::default() }
    }

    fn record(name: &str) -> Record {
        Record { driver: "echo".to_owned(), data: serde_json::json!({ "name": name }) }
    }
}

#[async_trait]
impl Driver for Echo {
    fn name(&self) -> &'static str {
        "echo"
    }

    fn serves(&self, pedestal: Pedestal) -> bool {
        pedestal == self.script.serves
    }

    fn absent(&self, _: &Node) -> Option<PlanError> {
        self.script.absent.then(|| PlanError::new("the echo daemon is away", "call it back"))
    }

    async fn cores(&self, _: &Node) -> Result<CpuSet, DriverError> {
        Ok(CpuSet::first(4))
    }

    fn plan(&self, spec: &GuestSpec, _: &Node) -> Result<Box<dyn Plan>, PlanError> {
        if self.script.refuse_plan {
            return Err(PlanError::new("the node is full", "stop another guest first"));
        }
        self.traces.lock().unwrap().push(spec.trace);
        Ok(Box::new(EchoPlan { name: spec.key.to_string(), echo: self.clone() }))
    }

    async fn free_memory(&self) -> Result<Option<FreeMemory>, DriverError> {
        Ok(self.script.free.clone())
    }

    async fn adopt(&self, record: &Record) -> Result<Created, DriverError> {
        let name = record.data["name"].as_str().unwrap_or_default();
        let (master, terminal) = pty::open().map_err(DriverError::io("opening a pty"))?;
        match self.daemon.0.lock().unwrap().get_mut(name) {
            Some(owned) if owned.running => owned.terminal = Some(terminal.try_clone().unwrap()),
            _ => return Err(DriverError::backend("adopting an echo guest", "it is not there any more")),
        }
        let (guest, events) = EchoGuest::new(name, self);
        guest.echo(terminal);
        let console = Some(Box::new(master) as _);
        Ok(Created { guest: Box::new(guest), record: record.clone(), console, events })
    }

    async fn destroy(&self, record: &Record) -> Result<(), DriverError> {
        if self.script.fail_destroy {
            return Err(DriverError::backend("freeing an echo guest", "it stays"));
        }
        let name = record.data["name"].as_str().unwrap_or_default();
        self.daemon.0.lock().unwrap().remove(name);
        Ok(())
    }

    async fn destroy_lost(&self, key: &Key) -> Result<(), DriverError> {
        self.destroy(&Echo::record(&key.to_string())).await
    }
}

struct EchoPlan {
    name: String,
    echo: Echo,
}

impl std::fmt::Debug for EchoPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EchoPlan").field("name", &self.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl Plan for EchoPlan {
    fn record(&self) -> Record {
        Echo::record(&self.name)
    }

    fn claims(&self) -> Vec<Claim> {
        self.echo.script.claims.clone()
    }

    async fn create(self: Box<Self>) -> Result<Created, DriverError> {
        sleep(self.echo.script.create_takes).await;
        if self.echo.script.fail_create {
            return Err(DriverError::backend("creating an echo guest", "no room"));
        }
        let (master, terminal) = pty::open().map_err(DriverError::io("opening a pty"))?;
        let (mut guest, events) = EchoGuest::new(&self.name, &self.echo);
        let owned = Owned {
            terminal: Some(terminal),
            echo: None,
            running: false,
            events: guest.events.clone(),
            changes: Vec::new(),
        };
        self.echo.daemon.0.lock().unwrap().insert(self.name.clone(), owned);
        let mut console: Option<Console> = Some(Box::new(master));
        if self.echo.script.late_console {
            guest.late_console = console.take();
        }
        Ok(Created { guest: Box::new(guest), record: self.record(), console, events })
    }
}

struct EchoGuest {
    name: String,
    daemon: Daemon,
    script: Script,
    events: Option<mpsc::UnboundedSender<Event>>,
    late_console: Option<Console>,
}

impl EchoGuest {
    fn new(name: &str, echo: &Echo) -> (EchoGuest, mpsc::UnboundedReceiver<Event>) {
        let (events_in, events) = mpsc::unbounded_channel();
        let (daemon, script) = (echo.daemon.clone(), echo.script.clone());
        let name = name.to_owned();
        (EchoGuest { name, daemon, script, events: Some(events_in), late_console: None }, events)
    }

    fn echo(&self, terminal: File) {
        let shell = self.script.shell.then(|| self.clone_handle());
        let echo = tokio::spawn(async move {
            let mut terminal = pty::Side::new(terminal.into()).unwrap();
            if let Some(guest) = shell {
                if let Some(cause) = shell::play(terminal).await {
                    guest.end(cause);
                }
                return;
            }
            let _ = terminal.write_all(b"echo ready\r\n").await;
            let mut buffer = [0; 256];
            while let Ok(length @ 1..) = terminal.read(&mut buffer).await {
                if terminal.write_all(&buffer[..length]).await.is_err() {
                    return;
                }
            }
        });
        if let Some(owned) = self.daemon.0.lock().unwrap().get_mut(&self.name) {
            owned.echo = Some(echo.abort_handle());
        }
    }

    /// For what happens to it by itself.
    fn clone_handle(&self) -> EchoGuest {
        EchoGuest {
            name: self.name.clone(),
            daemon: self.daemon.clone(),
            script: self.script.clone(),
            events: self.events.clone(),
            late_console: None,
        }
    }

    fn end(&self, cause: ExitCause) {
        if let Some(owned) = self.daemon.0.lock().unwrap().get_mut(&self.name) {
            owned.end();
        }
        if let Some(events) = self.events.as_ref().filter(|_| self.script.can.exit != ExitNotice::Never) {
            let _ = events.send(Event::Exited(cause));
        }
    }
}

#[async_trait]
impl Guest for EchoGuest {
    fn pid(&self) -> Option<u32> {
        None
    }

    fn capabilities(&self) -> Capabilities {
        self.script.can
    }

    async fn start(&mut self) -> Result<(), DriverError> {
        if self.script.fail_start {
            return Err(DriverError::backend("starting an echo guest", "it will not"));
        }
        let terminal = {
            let mut guests = self.daemon.0.lock().unwrap();
            let owned = guests.get_mut(&self.name).unwrap();
            owned.running = true;
            if self.script.falls_silent {
                owned.events = None;
            }
            owned.terminal.as_ref().unwrap().try_clone().unwrap()
        };
        self.echo(terminal);
        if let (Some(console), Some(events)) = (self.late_console.take(), &self.events) {
            let _ = events.send(Event::ConsoleBack(console));
        }
        if self.script.falls_silent {
            self.events = None;
        }
        if let Some((after, cause)) = self.script.dies.clone() {
            let ended = self.clone_handle();
            tokio::spawn(async move {
                sleep(after).await;
                ended.end(cause);
            });
        }
        Ok(())
    }

    async fn ask(&mut self) -> Result<(), DriverError> {
        if self.script.obeys {
            self.end(ExitCause::PoweredOff);
        }
        Ok(())
    }

    async fn force(&mut self) -> Result<(), DriverError> {
        if !self.script.can.force {
            return Err(DriverError::Unsupported("an echo guest that cannot be forced"));
        }
        self.end(ExitCause::Stopped);
        Ok(())
    }

    async fn pause(&mut self) -> Result<(), DriverError> {
        Ok(())
    }

    async fn resume(&mut self) -> Result<(), DriverError> {
        Ok(())
    }

    async fn apply(&mut self, change: &Change) -> Result<(), DriverError> {
        if self.script.refuse_change.as_ref() == Some(change) {
            return Err(DriverError::backend("changing an echo guest", "not this"));
        }
        if let Some(owned) = self.daemon.0.lock().unwrap().get_mut(&self.name) {
            owned.changes.push(change.clone());
        }
        Ok(())
    }

    async fn usage(&mut self) -> Result<Usage, DriverError> {
        let (user, system) = (Duration::from_millis(7), Duration::from_millis(3));
        Ok(Usage { user, system, memory: 4096, ..Usage::default() })
    }
}
