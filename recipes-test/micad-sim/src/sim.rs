//! The handle on a simulator: start it, give it orders, and end it with all that it started by dropping it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use micrun_image_spec::board::Boards;
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::board::{Board, Guest, QemuBoard, XenBoard};
use crate::client::World;
use crate::daemon::{Daemon, Ordered};
use crate::fault::{NoOrder, Order};
use crate::journal::Journal;
use crate::tty::{FirstWords, Naming, Ttys};

/// What guests run on.
#[derive(Debug, Clone)]
pub enum Hypervisor {
    /// A QEMU for each, on any machine.
    Qemu {
        /// The profiles.
        boards: Boards,
        /// The one that boots every firmware; none to choose by its architecture.
        board: Option<String>,
    },
    /// Domains of the Xen that this machine runs on; other pedestals are not offered.
    Xen,
}

/// How a simulator is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the sockets are. Emptied and made again.
    pub dir: PathBuf,
    /// Where the links to ttys go.
    pub dev: PathBuf,
    /// Where xl's configurations go.
    pub xen_dir: PathBuf,
    /// What guests run on.
    pub hypervisor: Hypervisor,
    /// How ttys are named.
    pub naming: Naming,
    /// How many cores the board has. The first is Linux's.
    pub cores: u32,
    /// How long a guest takes from its start to announcing its tty.
    pub tty_delay: Duration,
    /// When a guest says its first words.
    pub first_words: FirstWords,
    /// Whether the daemon's messages are kept for [`Sim::journal`] or go to stderr.
    pub keep_journal: bool,
}

impl Default for Options {
    /// As the original is on a node, but with guests in QEMU.
    fn default() -> Options {
        Options {
            dir: "/run/mica".into(),
            dev: "/dev".into(),
            xen_dir: "/etc/xen".into(),
            hypervisor: Hypervisor::Qemu { boards: Boards::builtin(), board: None },
            naming: Naming::Legacy,
            cores: 4,
            tty_delay: Duration::from_millis(200),
            first_words: FirstWords::OnceRaw,
            keep_journal: false,
        }
    }
}

impl Options {
    /// Everything in one folder: `mica`, `dev` and `xen` below it. For tests, which need not be root then.
    pub fn within(folder: &Path) -> Options {
        Options {
            dir: folder.join("mica"),
            dev: folder.join("dev"),
            xen_dir: folder.join("xen"),
            keep_journal: true,
            ..Options::default()
        }
    }
}

/// Why a simulator does not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// It cannot be started.
    #[error("cannot {doing} {}", path.display())]
    Start {
        /// What was tried.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// An order that does not exist.
    #[error(transparent)]
    Order(#[from] NoOrder),
    /// An order that cannot be followed.
    #[error("{0}")]
    Refused(String),
    /// The simulator's thread ended.
    #[error("the simulator has ended")]
    Ended,
}

/// A running simulator.
#[derive(Debug)]
pub struct Sim {
    /// None once it ends.
    orders: Mutex<Option<Sender<Ordered>>>,
    wake: Arc<EventFd>,
    thread: Mutex<Option<JoinHandle<()>>>,
    journal: Arc<Journal>,
    dir: PathBuf,
    dev: PathBuf,
    /// The folder of a simulator that was started for a test.
    folder: Option<tempfile::TempDir>,
}

impl Sim {
    /// Starts one. It listens when this returns.
    ///
    /// # Errors
    /// If its directories or sockets cannot be made.
    pub fn start(options: Options) -> Result<Sim, SimError> {
        let failed = |doing, path: &Path| {
            let path = path.to_owned();
            move |source| SimError::Start { doing, path, source }
        };
        for folder in [&options.dev, &options.xen_dir]
            .into_iter()
            .chain(options.dir.parent().map(Path::to_owned).as_ref())
        {
            fs::create_dir_all(folder).map_err(failed("make the folder", folder))?;
        }
        let wake = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK);
        let wake = Arc::new(wake.map_err(|errno| failed("wake", &options.dir)(errno.into()))?);
        let journal = Arc::new(if options.keep_journal { Journal::kept() } else { Journal::Stderr });
        let (orders, queue) = channel();
        let (dir, dev) = (options.dir.clone(), options.dev.clone());
        let (world, new_ttys) = world(options, &journal);
        let daemon = Daemon::new(dir.clone(), new_ttys, world, queue, Arc::clone(&wake));
        let daemon = daemon.map_err(failed("listen in", &dir))?;
        let thread = thread::Builder::new().name("micad".to_owned()).spawn(move || daemon.run());
        let thread = Mutex::new(Some(thread.map_err(failed("start a thread for", &dir))?));
        Ok(Sim { orders: Mutex::new(Some(orders)), wake, thread, journal, dir, dev, folder: None })
    }

    /// Starts one in a folder of its own, as [`Options::within`], which goes away with it.
    ///
    /// # Errors
    /// As [`Sim::start`].
    pub fn for_test(change: impl FnOnce(&mut Options)) -> Result<Sim, SimError> {
        let folder = tempfile::Builder::new().prefix("micad-sim").tempdir();
        let folder = folder.map_err(|source| SimError::Start {
            doing: "make a folder in",
            path: std::env::temp_dir(),
            source,
        })?;
        let mut options = Options::within(folder.path());
        change(&mut options);
        let mut sim = Sim::start(options)?;
        sim.folder = Some(folder);
        Ok(sim)
    }

    /// Where the sockets are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the links to ttys are.
    pub fn dev(&self) -> &Path {
        &self.dev
    }

    /// Gives an order, and waits until it is followed. Orders are followed while the daemon waits for something, a
    /// fault's end included, but not while it starts a guest.
    ///
    /// # Errors
    /// If there is no such order, guest or client.
    pub fn order(&self, text: &str) -> Result<(), SimError> {
        self.give(text.parse()?).map(drop)
    }

    /// The guests that there are.
    ///
    /// # Errors
    /// If the simulator has ended.
    pub fn guests(&self) -> Result<Vec<Guest>, SimError> {
        self.give(Order::Guests)
    }

    pub(crate) fn give(&self, order: Order) -> Result<Vec<Guest>, SimError> {
        let (reply, answer) = channel();
        self.orders().as_ref().ok_or(SimError::Ended)?.send((order, reply)).map_err(|_| SimError::Ended)?;
        self.wake.write(1).map_err(|_| SimError::Ended)?;
        answer.recv().map_err(|_| SimError::Ended)?.map_err(SimError::Refused)
    }

    /// Ends it and all that it started, and waits for that. Dropping it does the same.
    pub fn end(&self) {
        *self.orders() = None;
        // Adding 1 to a counter of 64 bits.
        let _ = self.wake.write(1);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }

    /// Ends it as systemd ends the original: domains of Xen go on, and the links of their ttys lead nowhere. Guests in
    /// QEMU end all the same.
    pub fn leave(&self) {
        // An error says that it has ended already.
        let _ = self.give(Order::Leave);
        self.end();
    }

    fn orders(&self) -> MutexGuard<'_, Option<Sender<Ordered>>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the daemon wrote down so far: the reasons that its answers do not give.
    pub fn journal(&self) -> Vec<String> {
        self.journal.lines()
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.end();
    }
}

type NewTtys = Box<dyn Fn() -> Ttys + Send>;

fn world(options: Options, journal: &Arc<Journal>) -> (World, NewTtys) {
    let board: Box<dyn Board> = match options.hypervisor {
        Hypervisor::Qemu { boards, board } => Box::new(QemuBoard::new(boards, board, options.cores)),
        Hypervisor::Xen => Box::new(XenBoard::default()),
    };
    let (dev, naming, first_words) = (options.dev, options.naming, options.first_words);
    let new_ttys: NewTtys = Box::new(move || Ttys::new(dev.clone(), naming, first_words));
    let world = World {
        board,
        ttys: Arc::new(new_ttys()),
        xen_dir: options.xen_dir,
        cores: options.cores,
        tty_delay: options.tty_delay,
        journal: Arc::clone(journal),
    };
    (world, new_ttys)
}
