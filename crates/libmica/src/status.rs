//! The line that `status` answers: name, cores and state in columns, then the services that the guest offers.
//!
//! The columns are padded with blanks (30, 20 and 20 characters) and never cut: a name of 30 characters or a CPU string
//! of 20 leaves no blank behind it, and one that is longer moves what follows. A name of more than 31 characters is
//! shown abbreviated. So the state is looked for by its words, and the rest of the columns is not used.

use std::fmt;
use std::path::{Path, PathBuf};

/// Where the state can begin: behind the name and the cores, which have at least these bytes.
const STATE_FROM: usize = 30 + 20;
/// The state's column, bytes.
const STATE_WIDTH: usize = 20;
/// What fits into the daemon's buffer for services, bytes. A longer list is cut without a sign.
const SERVICES_MAX: usize = 255;
/// How the ttys of guests begin, in both naming schemes: `ttyRPMSG0`, and `ttyRPMSG_<client>_0`.
const TTY_PREFIX: &str = "ttyRPMSG";

/// A client's state, in the daemon's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Does not run: never started, stopped, or went off by itself.
    Offline,
    /// The daemon is about to load it.
    Configured,
    /// Loaded.
    Ready,
    /// Runs, as far as the daemon knows. On Xen it does not notice when the domain ends.
    Running,
    /// Not used by the daemon.
    Suspended,
    /// Failed.
    Error,
    /// The daemon is about to take it down.
    Stopped,
}

impl State {
    /// Every state.
    pub const ALL: [State; 7] = [
        State::Offline,
        State::Configured,
        State::Ready,
        State::Running,
        State::Suspended,
        State::Error,
        State::Stopped,
    ];

    /// The daemon's word.
    pub const fn word(self) -> &'static str {
        match self {
            State::Offline => "Offline",
            State::Configured => "Configured",
            State::Ready => "Ready",
            State::Running => "Running",
            State::Suspended => "Suspended",
            State::Error => "Error",
            State::Stopped => "Stopped",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What `status` tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The client's state.
    pub state: State,
    /// What the guest offers, in the order in which it did. Where the daemon's buffer was full, those that fitted.
    pub services: Vec<Service>,
}

/// Something that a guest offers over RPMsg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name. Chosen by the guest.
    pub name: String,
    /// Where it can be reached on the node, for a tty.
    pub device: Option<PathBuf>,
}

impl Status {
    /// Reads the line: `None` where it is not a status.
    pub fn parse(line: &str) -> Option<Status> {
        let starts = line.char_indices().map(|(at, _)| at).skip_while(|&at| at < STATE_FROM);
        let (state, rest) = starts.filter_map(|at| split_state(line.get(at..)?)).next()?;
        Some(Status { state, services: services(rest) })
    }

    /// The guest's ttys under this directory (`/dev`), in order.
    ///
    /// A guest can offer a service whose name looks like another one with a path behind it. So a path counts only where
    /// the daemon makes its ttys, with a name that it gives them.
    pub fn ttys<'a>(&'a self, dev: &'a Path) -> impl Iterator<Item = &'a Path> {
        let devices = self.services.iter().filter_map(|service| service.device.as_deref());
        devices.filter(move |device| is_tty(device, dev))
    }
}

/// A state's word that fills its column, and what follows.
fn split_state(text: &str) -> Option<(State, &str)> {
    let state = State::ALL.into_iter().find(|state| text.starts_with(state.word()))?;
    let (column, rest) = text.split_at_checked(STATE_WIDTH).unwrap_or((text, ""));
    column.strip_prefix(state.word())?.bytes().all(|byte| byte == b' ').then_some((state, rest))
}

/// `rpmsg-tty(/dev/ttyRPMSG0) rpmsg-rpc `: names, with a device in brackets where there is one.
fn services(list: &str) -> Vec<Service> {
    // The last one of a full buffer may be half a name.
    let whole =
        if list.len() < SERVICES_MAX { list } else { list.rsplit_once(' ').map_or("", |(whole, _)| whole) };
    whole.split(' ').filter(|word| !word.is_empty()).filter_map(service).collect()
}

fn service(word: &str) -> Option<Service> {
    match word.rsplit_once('(') {
        None => Some(Service { name: word.to_owned(), device: None }),
        Some((name, device)) => {
            let device = device.strip_suffix(')').filter(|path| path.starts_with('/'))?;
            Some(Service { name: name.to_owned(), device: Some(PathBuf::from(device)) })
        }
    }
}

/// As the daemon writes it: `/dev//ttyRPMSG0` is the same file, and no name that it gives.
fn is_tty(device: &Path, dev: &Path) -> bool {
    let name = device.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let is_name =
        name.strip_prefix(TTY_PREFIX).is_some_and(|rest| !rest.is_empty() && rest.chars().all(allowed));
    is_name && device.as_os_str() == dev.join(name).as_os_str()
}
