//! The daemon's one thread: sockets, one message after the other, and answers.
//!
//! While it works nobody else is served, and it works on one message until that is answered: a connection on which
//! nothing comes blocks it. Orders of the simulator's own are looked at wherever it waits.
//!
//! - `serve`: one message and its answer
//! - this file: the daemon's lives, what it waits for, and orders

mod serve;

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::EventFd;

use crate::board::{Guest, Trick};
use crate::client::{Client, World};
use crate::fault::{Faults, Order};
use crate::tty::Ttys;

/// An order and where its answer goes.
pub type Ordered = (Order, Sender<Result<Vec<Guest>, String>>);

/// The name that no client can have.
const CREATE: &str = "mica-create";

/// The daemon, and the simulator's hold on it.
pub struct Daemon {
    dir: PathBuf,
    /// Makes the ttys of the next life.
    new_ttys: Box<dyn Fn() -> Ttys + Send>,
    world: World,
    orders: Receiver<Ordered>,
    wake: Arc<EventFd>,
    faults: Faults,
    /// None while the daemon is down.
    create: Option<UnixListener>,
    clients: Vec<Unit>,
    epoll: Epoll,
    last_id: u64,
    /// Counts the daemon's lives. Whoever waited through the end of one has nothing more to do.
    life: u64,
    /// Links that earlier lives left behind.
    dangling: Vec<PathBuf>,
    ending: Option<Ending>,
}

/// How the simulator ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    WithGuests,
    WithoutGuests,
}

/// A client and its socket.
struct Unit {
    id: u64,
    client: Client,
    listener: UnixListener,
}

/// What epoll says of the simulator's orders and of the create socket. Clients have the numbers above.
const WAKE: u64 = 0;
const CREATE_SOCKET: u64 = 1;

/// The daemon's life ended while something was waited for.
struct LifeEnded;

impl Daemon {
    /// A daemon that listens in `dir` and takes orders when `wake` says so.
    ///
    /// # Errors
    /// If the directory or the socket cannot be made.
    pub fn new(
        dir: PathBuf,
        new_ttys: Box<dyn Fn() -> Ttys + Send>,
        world: World,
        orders: Receiver<Ordered>,
        wake: Arc<EventFd>,
    ) -> io::Result<Daemon> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&wake, EpollEvent::new(EpollFlags::EPOLLIN, WAKE))?;
        let (faults, create, clients) = (Faults::default(), None, Vec::new());
        let (last_id, life, dangling, ending) = (CREATE_SOCKET, 0, Vec::new(), None);
        let mut daemon = Daemon {
            dir,
            new_ttys,
            world,
            orders,
            wake,
            faults,
            create,
            clients,
            epoll,
            last_id,
            life,
            dangling,
            ending,
        };
        daemon.begin_life()?;
        Ok(daemon)
    }

    /// Serves until its handle is dropped; then everything that was started here ends.
    pub fn run(mut self) {
        while self.ending.is_none() {
            if let Err(error) = self.turn() {
                self.say(format_args!("the daemon ends: {error}"));
                break;
            }
        }
        self.clients.clear();
        if self.ending != Some(Ending::WithoutGuests) {
            self.world.board.end_all();
            // Those that a later life made again are gone already.
            self.dangling.iter().for_each(|link| drop(fs::remove_file(link)));
        }
        // A test's folder may be gone by now.
        let _ = fs::remove_dir_all(&self.dir);
    }

    fn say(&self, text: impl std::fmt::Display) {
        self.world.journal.say(text);
    }

    /// Empties and makes the directory, and listens. The mode is the original's where that can work.
    fn begin_life(&mut self) -> io::Result<()> {
        match fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mode = if nix::unistd::geteuid().is_root() { 0o600 } else { 0o700 };
        fs::DirBuilder::new().mode(mode).create(&self.dir)?;
        self.world.ttys = Arc::new((self.new_ttys)());
        self.create = Some(self.listen(CREATE.as_bytes(), CREATE_SOCKET)?);
        Ok(())
    }

    /// Ends without cleaning up: sockets become stale, links dangle, guests run on.
    fn end_life(&mut self) {
        self.life += 1;
        // A socket that an `xl` inherited lives on, and epoll would go on to report it.
        for listener in self.create.iter().chain(self.clients.iter().map(|unit| &unit.listener)) {
            // Fails only where it is not there.
            let _ = self.epoll.delete(listener);
        }
        self.create = None;
        self.dangling.extend(self.clients.drain(..).filter_map(|unit| unit.client.abandon()));
    }

    fn socket(&self, name: &[u8]) -> PathBuf {
        self.dir.join(OsStr::from_bytes(&[name, b".socket"].concat()))
    }

    fn listen(&self, name: &[u8], id: u64) -> io::Result<UnixListener> {
        let listener = UnixListener::bind(self.socket(name))?;
        self.epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, id))?;
        Ok(listener)
    }

    /// Waits for whatever comes first and does it. Who came first is the kernel's knowledge, as in the original.
    fn turn(&mut self) -> io::Result<()> {
        let mut first = [EpollEvent::empty()];
        match self.epoll.wait(&mut first, EpollTimeout::NONE) {
            Ok(0) | Err(Errno::EINTR) => return Ok(()),
            other => drop(other?),
        }
        match first[0].data() {
            WAKE => self.take_orders(),
            CREATE_SOCKET => self.serve_create()?,
            id => self.serve_control(id)?,
        }
        Ok(())
    }

    /// Waits for a connection's message, or only for a time, and follows orders meanwhile.
    fn wait(&mut self, connection: Option<BorrowedFd<'_>>, limit: Option<Duration>) -> Result<(), LifeEnded> {
        let life = self.life;
        let end = limit.map(|limit| Instant::now() + limit);
        loop {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Ok(());
            }
            let timeout = left.map_or(PollTimeout::NONE, |left| {
                PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
            });
            let wake = Arc::clone(&self.wake);
            let fds = std::iter::once(wake.as_fd()).chain(connection);
            let mut ready: Vec<PollFd<'_>> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
            if wait(&mut ready, timeout).is_err() {
                return Err(LifeEnded);
            }
            if ready[0].any() == Some(true) {
                let cleared = self.faults.cleared();
                self.take_orders();
                if self.ending.is_some() || self.life != life {
                    return Err(LifeEnded);
                }
                // What hangs goes on once the faults are cleared.
                if connection.is_none() && limit.is_none() && self.faults.cleared() != cleared {
                    return Ok(());
                }
            }
            if ready.get(1).and_then(PollFd::any) == Some(true) {
                return Ok(());
            }
        }
    }

    fn take_orders(&mut self) {
        // Only resets the counter: it says that there is something, the queue says what.
        let _ = self.wake.read();
        loop {
            match self.orders.try_recv() {
                Ok((order, reply)) => {
                    let answer = self.follow(order);
                    // A test that does not wait for it.
                    let _ = reply.send(answer);
                }
                Err(std::sync::mpsc::TryRecvError::Empty) => return,
                Err(std::sync::mpsc::TryRecvError::Disconnected) => {
                    self.ending.get_or_insert(Ending::WithGuests);
                    return;
                }
            }
        }
    }

    fn follow(&mut self, order: Order) -> Result<Vec<Guest>, String> {
        let text = |error: crate::board::Failure| error.to_string();
        match order {
            Order::Fault(fault) => self.faults.add(fault),
            Order::Clear => self.faults.clear(),
            Order::Guests => return Ok(self.world.board.guests()),
            Order::Crash => self.end_life(),
            Order::Leave => {
                self.end_life();
                self.ending = Some(Ending::WithoutGuests);
            }
            Order::Restart => {
                self.end_life();
                self.begin_life().map_err(|error| format!("cannot start the daemon: {error}"))?;
            }
            Order::LoseTty(name) => {
                let client = self.client(&name)?;
                return client.lose_tty().then(Vec::new).ok_or_else(|| format!("{name} has no tty"));
            }
            Order::GiveTty(name) => {
                let index = self.index(&name)?;
                self.clients[index].client.announce_tty(&mut self.world).map_err(text)?;
            }
            Order::Deaf(name) => self.world.board.trick(&name, Trick::Deaf).map_err(text)?,
            Order::Kill(name) => self.world.board.trick(&name, Trick::Die).map_err(text)?,
            Order::Off(name) => self.world.board.trick(&name, Trick::Off).map_err(text)?,
        }
        Ok(Vec::new())
    }

    fn index(&self, name: &str) -> Result<usize, String> {
        let found = self.clients.iter().position(|unit| unit.client.name() == name);
        found.ok_or_else(|| format!("there is no client {name}"))
    }

    fn client(&mut self, name: &str) -> Result<&mut Client, String> {
        let index = self.index(name)?;
        Ok(&mut self.clients[index].client)
    }
}

fn wait(fds: &mut [PollFd<'_>], timeout: PollTimeout) -> io::Result<()> {
    match poll(fds, timeout) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
