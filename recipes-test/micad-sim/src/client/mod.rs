//! One client: what it was created from, its state, and what its commands do.
//!
//! Only three of the daemon's states are ever seen. The drawing is that of OpenAMP's remoteproc with the daemon's
//! hooks, of which `stop` is missing everywhere; so a stop that fails leaves the state as it is.
//!
//! ```text
//! Offline --configured--> Ready --booted--> Running
//!    ^                      |                  |
//!    +-------- stop, where the pedestal's shutdown succeeds
//! ```
//!
//! `stop` answers success always; a start is refused in every state but Offline.

mod xen_config;

use std::ffi::OsStr;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::board::{Board, Boot, Failure};
use crate::journal::Journal;
use crate::pedestal::{Pedestal, Place, cell_of, core_of};
use crate::tty::{RpmsgTty, Ttys};
use crate::wire::create::Create;
use crate::wire::table::{self, Found, Table};

/// What clients work with.
pub struct World {
    /// The hardware, and what it runs.
    pub board: Box<dyn Board>,
    /// The ttys of this daemon.
    pub ttys: Arc<Ttys>,
    /// Where xl's configurations go.
    pub xen_dir: PathBuf,
    /// How many cores the board has.
    pub cores: u32,
    /// How long a guest takes to announce its tty.
    pub tty_delay: Duration,
    /// Where reasons are told.
    pub journal: Arc<Journal>,
}

/// The daemon dies of a segmentation fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segfault;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Offline,
    Ready,
    Running,
}

/// What a running client offers.
#[derive(Debug)]
struct Services {
    debug: bool,
    tty: Option<RpmsgTty>,
}

/// A client.
#[derive(Debug)]
pub struct Client {
    message: Create,
    name: String,
    pedestal: Pedestal,
    place: Place,
    state: State,
    table: Option<Table>,
    services: Option<Services>,
    xen_config: PathBuf,
}

impl Client {
    /// Makes a client from its message.
    ///
    /// # Errors
    /// What the pedestal refuses. None of it comes back to whoever asked.
    pub fn create(message: Create, world: &mut World) -> Result<Client, Failure> {
        let pedestal = Pedestal::of(&message.pedestal);
        world.board.offers(pedestal)?;
        let name = message.name.to_string_lossy().into_owned();
        let xen_config = world.xen_dir.join(format!("{name}-xen.cfg"));
        let place = match pedestal {
            Pedestal::BareMetal => core(&message.cpu, world.cores)?,
            Pedestal::Xen => {
                xen_config::write(&message, &xen_config)?;
                // What stands between the quotes in that file.
                Place::Domain(name.split('"').next().unwrap_or_default().to_owned())
            }
            Pedestal::Jailhouse => cell_of(&message.pedestal_conf)
                .map(Place::Cell)
                .map_err(|error| Failure::new(format!("non-root cell: {error}")))?,
            Pedestal::Hetero if message.cpu == "riscv" => Place::Coprocessor,
            Pedestal::Hetero => return Err(Failure::new("remoteproc init failed")),
        };
        let (state, table, services) = (State::Offline, None, None);
        let client = Client { message, name, pedestal, place, state, table, services, xen_config };
        if pedestal == Pedestal::Jailhouse {
            world.board.prepare(&client.place, &client.boot(), Vec::new())?;
        }
        Ok(client)
    }

    /// Its name.
    pub fn name(&self) -> &OsStr {
        &self.message.name
    }

    /// Loads and boots the firmware. `broken` says that its resource table cannot be parsed, whatever is in it;
    /// `inherited` is what programs inherit that the daemon starts.
    ///
    /// # Errors
    /// Whatever goes wrong; what was done until then is not undone.
    pub fn start(&mut self, world: &mut World, broken: bool, inherited: Vec<OwnedFd>) -> Result<(), Failure> {
        let firmware = read(&self.message.path)?;
        if self.state != State::Offline {
            return Err(Failure::new(format!(
                "remoteproc config failed: the client is {}",
                self.state_word()
            )));
        }
        let attached = self.configure(world, &firmware, broken, inherited)?;
        self.state = State::Ready;
        let Some(table) = self.table.clone() else { return Err(Failure::new("failed to parse rsc table")) };
        if !attached {
            world.board.run(&self.place, &self.boot())?;
        }
        self.state = State::Running;
        let has_rpmsg = table.has_rpmsg(self.pedestal == Pedestal::Xen);
        if self.message.debug {
            // Its result takes the place of the rpmsg device's.
            if !table.has_ring_buffers() {
                return Err(Failure::new("create rbuf device failed"));
            }
        } else if !has_rpmsg {
            return Err(Failure::new("create rpmsg device failed"));
        }
        self.services = Some(Services { debug: self.message.debug, tty: None });
        if has_rpmsg { self.announce_tty(world) } else { Ok(()) }
    }

    /// Reads the resource table, and on some pedestals makes the guest's place. True where a guest that runs is
    /// taken over.
    fn configure(
        &mut self,
        world: &mut World,
        firmware: &[u8],
        broken: bool,
        inherited: Vec<OwnedFd>,
    ) -> Result<bool, Failure> {
        if self.pedestal == Pedestal::Xen {
            world.board.prepare(&self.place, &self.boot(), inherited)?;
        }
        // From here on a failure leaves the paused domain behind.
        let bytes = match table::find(firmware) {
            Found::NoElf => return Err(Failure::new("load header failed")),
            // OpenAMP's search did not fail, so neither does the daemon, yet.
            Found::NoTable => return Ok(false),
            Found::Table(bytes) => bytes,
        };
        let decoded = if broken { Err(table::BadTable::Version) } else { Table::decode(bytes) };
        if self.pedestal == Pedestal::BareMetal {
            self.table = decoded.ok();
            return Ok(self.table.is_some() && world.board.answers(&self.place));
        }
        if bytes.len() > table::PAGE {
            return Err(Failure::new("rsc table size exceeds limit"));
        }
        self.table = Some(decoded.map_err(|error| Failure::new(format!("unable to set rsctable: {error}")))?);
        Ok(false)
    }

    /// The guest announces its tty.
    ///
    /// # Errors
    /// If it has no console, or the client is not one that serves ttys.
    pub fn announce_tty(&mut self, world: &mut World) -> Result<(), Failure> {
        let Some(services) = &mut self.services else { return Err(Failure::new("the client does not run")) };
        let line = world.board.console(&self.place)?;
        let (ttys, journal) = (Arc::clone(&world.ttys), Arc::clone(&world.journal));
        let tty = RpmsgTty::announce(ttys, &self.name, line, world.tty_delay, journal);
        services.tty = Some(tty.map_err(|error| Failure::new(format!("Create rpmsg_tty failed: {error}")))?);
        Ok(())
    }

    /// The tty goes away and the guest stays. False where there was none.
    pub fn lose_tty(&mut self) -> bool {
        self.services.as_mut().and_then(|services| services.tty.take()).is_some()
    }

    /// Ends the guest in its pedestal's way, which may not work: the answer is success all the same.
    ///
    /// # Errors
    /// On bare metal without a resource table the daemon writes to address 8.
    pub fn stop(&mut self, world: &mut World) -> Result<(), Segfault> {
        self.services = None;
        if self.state == State::Offline {
            return Ok(());
        }
        let ended = match self.pedestal {
            Pedestal::BareMetal if self.table.is_none() => return Err(Segfault),
            Pedestal::BareMetal => {
                world.board.ask_off(&self.place);
                Ok(())
            }
            Pedestal::Hetero => Ok(()),
            Pedestal::Xen | Pedestal::Jailhouse => world.board.end(&self.place),
        };
        match ended {
            Ok(()) => (self.state, self.table) = (State::Offline, None),
            Err(error) => world.journal.say(error),
        }
        Ok(())
    }

    /// Forgets the guest, stopped first where it is not offline. What does not stop keeps its place and its file.
    ///
    /// # Errors
    /// As [`Client::stop`].
    pub fn remove(&mut self, world: &mut World) -> Result<(), Segfault> {
        self.stop(world)?;
        if self.state == State::Offline {
            match self.pedestal {
                Pedestal::Xen => drop(fs::remove_file(&self.xen_config)),
                Pedestal::Jailhouse => world.board.release(&self.place),
                Pedestal::BareMetal | Pedestal::Hetero => {}
            }
        }
        Ok(())
    }

    /// The state as `status` shows it. A guest that wrote down that it is off is stopped at this time.
    ///
    /// # Errors
    /// As [`Client::stop`].
    pub fn status(&mut self, world: &mut World) -> Result<&'static str, Segfault> {
        if self.state == State::Running && world.board.wrote_off(&self.place) {
            self.stop(world)?;
            return Ok("Offline");
        }
        Ok(self.state_word())
    }

    fn state_word(&self) -> &'static str {
        match self.state {
            State::Offline => "Offline",
            State::Ready => "Ready",
            State::Running => "Running",
        }
    }

    /// The CPUs as `status` shows them.
    pub fn cpu(&self) -> &OsStr {
        &self.message.cpu
    }

    /// The services as `status` shows them, in the order in which they were registered.
    pub fn services(&self) -> String {
        let Some(services) = &self.services else { return String::new() };
        let debug = if services.debug { "debug-rtos-kernel " } else { "" };
        let link = services.tty.as_ref().and_then(RpmsgTty::link);
        let tty = link.map(|link| format!("rpmsg-tty({}) ", link.display())).unwrap_or_default();
        format!("{debug}{tty}rpmsg-rpc rpmsg-umt ")
    }

    /// Changes a resource of a domain. `key` in any case.
    ///
    /// # Errors
    /// On other pedestals, for an unknown key and for `maxvcpu`, and where xl refuses.
    pub fn set(&mut self, world: &mut World, key: &OsStr, value: &OsStr) -> Result<(), Failure> {
        let (Pedestal::Xen, Place::Domain(domain)) = (self.pedestal, &self.place) else {
            return Err(Failure::new("this pedestal has nothing to set"));
        };
        let text = value.to_string_lossy();
        let megabytes = format!("{text}m");
        let board = &mut world.board;
        match key.to_string_lossy().to_ascii_lowercase().as_str() {
            "cpucapacity" => board.xl(&["sched-credit2", "-d", domain, "-c", &text]),
            "cpuweight" => board.xl(&["sched-credit2", "-d", domain, "-w", &text]),
            "vcpu" => board.xl(&["vcpu-set", domain, &text]),
            "memory" => board.xl(&["mem-set", domain, &megabytes]),
            "maxmemory" => board.xl(&["mem-max", domain, &megabytes]),
            "cpu" => {
                board.xl(&["vcpu-pin", domain, "all", &text])?;
                self.message.cpu = value.to_owned();
                Ok(())
            }
            _ => Err(Failure::new(format!("nothing can be set by the key {}", key.display()))),
        }
    }

    /// The debugger's command line.
    ///
    /// # Errors
    /// If the client was not created for debugging; this text comes back.
    pub fn gdb(&self) -> Result<Vec<u8>, &'static str> {
        if !self.message.debug {
            return Err("The elf file does not support debugging\n");
        }
        let mut line = b"gdb ".to_vec();
        line.extend(self.message.path.as_os_str().as_bytes());
        line.extend(b" -ex 'set remotetimeout unlimited' -ex 'target extended-remote :5678'");
        line.extend(b" -ex 'set remote run-packet off'");
        // The daemon's buffer.
        line.truncate(255);
        Ok(line)
    }

    /// The daemon dies: the tty's link stays behind, and is returned.
    pub fn abandon(self) -> Option<PathBuf> {
        let tty = self.services?.tty?;
        let link = tty.link();
        tty.abandon();
        link
    }

    fn boot(&self) -> Boot {
        Boot {
            name: self.name.clone(),
            firmware: self.message.path.clone(),
            xen_config: self.xen_config.clone(),
            boot_image: self.message.pedestal_conf.clone(),
            memory: mebibytes(self.message.memory),
            max_memory: mebibytes(self.message.max_memory),
        }
    }
}

/// An amount of memory that is set.
fn mebibytes(number: i32) -> Option<u32> {
    u32::try_from(number).ok().filter(|mib| *mib > 0)
}

/// A firmware file. What has no size is none, as the daemon sees it.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |what| Failure::new(format!("{what}:{}", path.display()));
    let size = fs::metadata(path).map_err(|_| failed("Cannot open the file"))?.len();
    if size == 0 {
        return Err(failed("Invalid firmware file size"));
    }
    fs::read(path).map_err(|_| failed("Cannot open the file"))
}

fn core(cpu: &OsStr, cores: u32) -> Result<Place, Failure> {
    let number = u32::try_from(core_of(cpu)).ok().filter(|number| *number < cores);
    number.map(Place::Core).ok_or_else(|| {
        let cpu = cpu.display();
        Failure::new(format!("Invalid CPUID: {cpu}, should be only one cpu_id within range(0-{})", cores - 1))
    })
}
