//! Requests to the daemon. Each is a connection of its own: connect, one write, read until the answer is complete.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

use crate::command::{Command, Setting};
use crate::create::{ClientName, Create};
use crate::error::{Error, excerpt};
use crate::reply::{self, Reply};
use crate::status::Status;

/// Where the daemon has its sockets.
pub const DIRECTORY: &str = "/run/mica";

/// How long a request waits for those of other clients, unless [`Micad::patience`] says otherwise: the daemon does one
/// thing at a time, and a start on Xen can take it 5 s and more.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How long the daemon may take to create a client: on Jailhouse it makes the cell.
const CREATE_WORK: Duration = Duration::from_secs(10);

/// How long the end of the connection is waited for once the marker is there. The `xl` that watches a domain is the
/// daemon's child and inherits the connection that asked for the start: the end comes when the domain dies.
const END_WAIT: Duration = Duration::from_millis(20);
/// Between two attempts where the daemon's queue of connections is full.
const QUEUE_WAIT: Duration = Duration::from_millis(50);

/// A micad, by the directory of its sockets.
#[derive(Clone, Debug)]
pub struct Micad {
    directory: PathBuf,
    patience: Duration,
}

/// What is asked, for messages, and where.
struct Request {
    doing: String,
    socket: PathBuf,
}

impl Micad {
    /// The micad whose sockets are here; [`DIRECTORY`] on a node. Nothing is opened yet.
    pub fn new(directory: impl Into<PathBuf>) -> Micad {
        Micad { directory: directory.into(), patience: PATIENCE }
    }

    /// The same micad, with another time to wait for other clients' requests.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Micad {
        self.patience = patience;
        self
    }

    /// The socket for create messages.
    pub fn create_socket(&self) -> PathBuf {
        self.directory.join("mica-create.socket")
    }

    /// The socket of a client.
    pub fn client_socket(&self, name: &ClientName) -> PathBuf {
        self.directory.join(format!("{name}.socket"))
    }

    /// Makes a client, which does not run yet.
    ///
    /// # Errors
    ///
    /// [`Error`]; [`Error::NameTaken`] where there is one of this name, which stays as it is.
    pub async fn create(&self, message: &Create) -> Result<(), Error> {
        let bytes = message.encode()?;
        let request = Request { doing: format!("create {}", message.name), socket: self.create_socket() };
        match self.request(&request, &bytes, CREATE_WORK).await {
            Err(Error::Refused { reason, .. }) if reason.trim().ends_with("is already created") => {
                Err(Error::NameTaken { name: message.name.to_string() })
            }
            answer => answer.map(|_| ()),
        }
    }

    /// Tells a client something, and returns what it answers.
    ///
    /// # Errors
    ///
    /// [`Error`]; [`Error::UnknownClient`] where the daemon runs and has no such client.
    pub async fn control(&self, name: &ClientName, command: &Command) -> Result<String, Error> {
        let text = command.text();
        let request = Request { doing: format!("{text} {name}"), socket: self.client_socket(name) };
        match self.request(&request, text.as_bytes(), command.work()).await {
            Err(Error::Absent { socket }) if self.create_socket().exists() => {
                Err(Error::UnknownClient { name: name.to_string(), socket })
            }
            answer => answer,
        }
    }

    /// Loads and runs a client's firmware.
    ///
    /// # Errors
    ///
    /// [`Error`]. A start that fails can leave a domain behind that the daemon does not remove.
    pub async fn start(&self, name: &ClientName) -> Result<(), Error> {
        self.control(name, &Command::Start).await.map(|_| ())
    }

    /// Asks a client's guest to stop. Success says that it was asked; on Xen, that the domain is gone.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn stop(&self, name: &ClientName) -> Result<(), Error> {
        self.control(name, &Command::Stop).await.map(|_| ())
    }

    /// Stops a client's guest if it runs, and has the daemon forget the client.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn remove(&self, name: &ClientName) -> Result<(), Error> {
        self.control(name, &Command::Remove).await.map(|_| ())
    }

    /// Changes a resource of a running guest.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn set(&self, name: &ClientName, setting: Setting) -> Result<(), Error> {
        self.control(name, &Command::Set(setting)).await.map(|_| ())
    }

    /// The state of a client and what its guest offers.
    ///
    /// # Errors
    ///
    /// [`Error`]; [`Error::Nonsense`] for an answer without a state.
    pub async fn status(&self, name: &ClientName) -> Result<Status, Error> {
        let line = self.control(name, &Command::Status).await?;
        Status::parse(&line).ok_or_else(|| Error::Nonsense {
            doing: format!("status {name}"),
            socket: self.client_socket(name),
            got: excerpt(&line),
        })
    }

    async fn request(&self, request: &Request, message: &[u8], work: Duration) -> Result<String, Error> {
        let limit = work + self.patience;
        match timeout(limit, request.exchange(message)).await {
            Ok(answer) => answer,
            Err(_) => {
                Err(Error::Timeout { doing: request.doing.clone(), socket: request.socket.clone(), limit })
            }
        }
    }
}

impl Request {
    async fn exchange(&self, message: &[u8]) -> Result<String, Error> {
        let mut stream = connect(&self.socket).await.map_err(|source| self.unreachable(source))?;
        stream.write_all(message).await.map_err(|source| self.interrupted(source, &[]))?;
        let answer = self.read(&mut stream).await?;
        match Reply::parse(&answer) {
            Some(Reply::Success(text)) => Ok(text),
            Some(Reply::Failed(reason)) => Err(Error::Refused { doing: self.doing.clone(), reason }),
            None => Err(self.broken(&answer)),
        }
    }

    /// Reads to the end of the connection, or to a marker after which nothing follows.
    async fn read(&self, stream: &mut UnixStream) -> Result<Vec<u8>, Error> {
        let mut answer = Vec::new();
        let mut piece = [0; 1024];
        loop {
            let complete = Reply::parse(&answer).is_some();
            let wait = if complete { END_WAIT } else { Duration::MAX };
            let length = match timeout(wait, stream.read(&mut piece)).await {
                Ok(Ok(0)) | Err(_) => return Ok(answer),
                Ok(Ok(length)) => length,
                Ok(Err(_)) if complete => return Ok(answer),
                Ok(Err(source)) => return Err(self.interrupted(source, &answer)),
            };
            answer.extend(piece.iter().take(length));
            if answer.len() > reply::MAX_LEN {
                return Err(self.nonsense(&answer));
            }
        }
    }

    fn unreachable(&self, source: io::Error) -> Error {
        let (doing, socket) = (self.doing.clone(), self.socket.clone());
        match source.kind() {
            ErrorKind::NotFound => Error::Absent { socket },
            ErrorKind::ConnectionRefused => Error::Dead { socket },
            _ => Error::Io { doing, socket, source },
        }
    }

    fn interrupted(&self, source: io::Error, got: &[u8]) -> Error {
        match source.kind() {
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => self.broken(got),
            _ => Error::Io { doing: self.doing.clone(), socket: self.socket.clone(), source },
        }
    }

    fn broken(&self, got: &[u8]) -> Error {
        let got = excerpt(&String::from_utf8_lossy(got));
        Error::Broken { doing: self.doing.clone(), socket: self.socket.clone(), got }
    }

    fn nonsense(&self, got: &[u8]) -> Error {
        let got = excerpt(&String::from_utf8_lossy(got));
        Error::Nonsense { doing: self.doing.clone(), socket: self.socket.clone(), got }
    }
}

/// Connects, and waits where the daemon is too busy to take a connection: a full queue is no error of the daemon's.
async fn connect(socket: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(socket).await {
            Err(error) if error.kind() == ErrorKind::WouldBlock => sleep(QUEUE_WAIT).await,
            connected => return connected,
        }
    }
}
