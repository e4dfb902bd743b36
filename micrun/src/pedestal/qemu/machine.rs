//! The handle on one running emulator: commands, and the signal that ends it.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use micrun_image_spec::board::ExitConvention;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::jail::Process;
use super::qmp::{self, Answer};
use super::watcher::{Known, Watcher};
use super::{OnDisk, cgroup_failed};
use crate::cgroup::Cgroup;
use crate::namespace::on_own_thread;
use crate::network::PodInterface;
use crate::pedestal::{Capabilities, Created, DriverError, Event, ExitCause, ExitNotice, Guest, Live, Usage};
use crate::process::{ProcessId, Stat};
use crate::resources::Change;
use crate::trace::{self, step};

/// How long an emulator may take to come up: 0.1 s on an idle machine, and not every machine is idle.
const START_LIMIT: Duration = Duration::from_secs(30);

/// How long it may take for anything afterwards. A SIGKILL waits behind a command, so this is short.
const ANSWER_LIMIT: Duration = Duration::from_secs(4);

/// Waits until the emulator is ready, takes the node's files away from it, and hands it over, paused.
///
/// # Errors
///
/// What the emulator said, where it did not come up; it is gone then.
pub async fn start_paused(
    process: Process,
    cgroup: Option<Cgroup>,
    interface: Option<PodInterface>,
    exit: ExitConvention,
) -> Result<Created, DriverError> {
    let pid = process.child.id();
    let root = process.root.clone();
    crash_point!(EmulatorStarted);
    let doing = || DriverError::io::<io::Error>(format!("connecting to QEMU (process {pid})"));
    let cgroup = cgroup.map(|mut cgroup| {
        cgroup.settle();
        Arc::new(cgroup)
    });
    let (mut machine, console, mut events) = Machine::connect(process, cgroup, exit).map_err(doing())?;
    let ready = match machine.command("qmp_capabilities", START_LIMIT).await {
        Ok(()) => step("empty the root of QEMU", root.empty(pid)).await,
        Err(error) => Err(error),
    };
    if let Err(error) = ready {
        machine.force().await?;
        // The reason why it ended says more than the silence that followed.
        return Err(match events.recv().await {
            Some(Event::Exited(ExitCause::Failed(why))) => DriverError::backend("starting the guest", why),
            _ => error,
        });
    }
    machine.known.set_ready();
    crash_point!(EmulatorReady);
    let cgroup = machine.cgroup.as_ref().map(|cgroup| cgroup.place().clone());
    let record = OnDisk { process: Some(machine.process), cgroup, interface }.record();
    Ok(Created { guest: Box::new(machine), record, console: Some(Box::new(console)), events })
}

/// A running emulator. Dropping the handle ends it.
struct Machine {
    process: ProcessId,
    pidfd: OwnedFd,
    control: OwnedWriteHalf,
    answers: mpsc::UnboundedReceiver<(u64, Answer)>,
    last_command: u64,
    known: Arc<Known>,
    cgroup: Option<Arc<Cgroup>>,
}

impl Machine {
    fn connect(
        process: Process,
        cgroup: Option<Arc<Cgroup>>,
        exit: ExitConvention,
    ) -> io::Result<(Machine, UnixStream, mpsc::UnboundedReceiver<Event>)> {
        let Process { child, control, console, stderr, .. } = process;
        let pid = child.id();
        let (pidfd, id) = (pidfd_of(pid)?, ProcessId::of(pid)?);
        let (control_in, control_out) = stream(control)?.into_split();
        let console = stream(console)?;
        let (answers_in, answers) = mpsc::unbounded_channel();
        let (events_in, events) = mpsc::unbounded_channel();
        let known = Arc::new(Known::default());
        let mut watcher =
            Watcher::new(child, pidfd.try_clone()?, control_in, stderr, Arc::clone(&known), exit)?;
        if let Some(cgroup) = &cgroup {
            watcher.watch_memory(Arc::clone(cgroup));
        }
        trace::spawn(watcher.run(answers_in, events_in));
        let machine =
            Machine { process: id, pidfd, control: control_out, answers, last_command: 0, known, cgroup };
        Ok((machine, console, events))
    }

    /// Sends one command and waits for its answer. The answer to an earlier one, which nobody waited for any
    /// more, is passed over.
    async fn command(&mut self, name: &str, limit: Duration) -> Result<(), DriverError> {
        let doing = || format!("QEMU's command {name}");
        self.last_command += 1;
        let id = self.last_command;
        let exchange = async {
            trace::note("micrun.command", name);
            let line = qmp::command(id, name);
            self.control.write_all(line.as_bytes()).await.map_err(DriverError::io(doing()))?;
            loop {
                match self.answers.recv().await {
                    Some((answered, Ok(()))) if answered == id => return Ok(()),
                    Some((answered, Err(words))) if answered == id => {
                        return Err(DriverError::backend(doing(), words));
                    }
                    Some(_) => {}
                    None => return Err(DriverError::backend(doing(), "QEMU ended before it answered")),
                }
            }
        };
        let in_time = async {
            timeout(limit, exchange)
                .await
                .unwrap_or_else(|_| Err(DriverError::Deadline { doing: doing(), limit }))
        };
        step("ask QEMU", in_time).await
    }

    fn kill(&self) -> rustix::io::Result<()> {
        self.known.set_forced();
        match pidfd_send_signal(&self.pidfd, Signal::KILL) {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            other => other,
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Nothing can be done about a kernel that refuses; the record on disk still names the process.
        let _ = self.kill();
    }
}

#[async_trait]
impl Guest for Machine {
    fn pid(&self) -> Option<u32> {
        Some(self.process.pid)
    }

    fn capabilities(&self) -> Capabilities {
        // Its memory is as large as it was at the start, whatever its cgroup may say later.
        let live = Live { cpu: self.cgroup.is_some(), memory: false };
        // None of today's boards has a guest that listens to a power button.
        Capabilities { ask: false, force: true, pause: true, live, exit: ExitNotice::Event }
    }

    async fn start(&mut self) -> Result<(), DriverError> {
        self.command("cont", ANSWER_LIMIT).await
    }

    async fn ask(&mut self) -> Result<(), DriverError> {
        Err(DriverError::Unsupported("this board has no way to ask its guest to stop"))
    }

    /// SIGKILL and not `quit`: an emulator can take minutes to listen, and has nothing to save.
    async fn force(&mut self) -> Result<(), DriverError> {
        self.kill().map_err(DriverError::io(format!("ending QEMU (process {})", self.process.pid)))
    }

    async fn pause(&mut self) -> Result<(), DriverError> {
        self.command("stop", ANSWER_LIMIT).await
    }

    async fn resume(&mut self) -> Result<(), DriverError> {
        self.command("cont", ANSWER_LIMIT).await
    }

    /// By its cgroup. The virtual processors are threads in it, and share what cores there are: their number stays.
    async fn apply(&mut self, change: &Change) -> Result<(), DriverError> {
        let Some(cgroup) = self.cgroup.clone() else {
            return Err(DriverError::Unsupported("a guest without a cgroup keeps what it had at its start"));
        };
        let change = change.clone();
        on_own_thread(move || cgroup.change(&change)).await.map_err(cgroup_failed)
    }

    async fn usage(&mut self) -> Result<Usage, DriverError> {
        let stat = Stat::read(self.process.pid)
            .map_err(DriverError::io(format!("reading the use of QEMU (process {})", self.process.pid)))?;
        let per_second = rustix::param::clock_ticks_per_second();
        let time = |ticks: u64| Duration::from_millis(ticks.saturating_mul(1000) / per_second.max(1));
        Ok(Usage {
            user: time(stat.user_ticks),
            system: time(stat.system_ticks),
            memory: stat.resident_pages.saturating_mul(rustix::param::page_size() as u64),
            memory_limit: None,
            cgroup: self.cgroup.as_ref().map(|cgroup| cgroup.metrics()),
        })
    }
}

fn pidfd_of(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

fn stream(socket: StdStream) -> io::Result<UnixStream> {
    socket.set_nonblocking(true)?;
    UnixStream::from_std(socket)
}
