//! A client of xenstored: what Xen and its guests publish about domains, and word of what changes.
//!
//! One connection, one request at a time. Events that come between a request and its answer wait in a queue.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::XenError;
use super::device::Xenbus;
use super::wire::{self, Kind, Message};

/// Where xenstored listens, the newer path first.
const SOCKETS: [&str; 2] = ["/run/xenstored/socket", "/var/run/xenstored/socket"];

/// Whether this process has found one of them.
static SOCKET_KNOWN: AtomicBool = AtomicBool::new(false);

/// How long an answer may take. xenstored answers in microseconds; a node can be busy.
const LIMIT: Duration = Duration::from_secs(5);

/// How many events wait for a caller who does not take them. Each caller here watches two paths.
const MAX_EVENTS: usize = 1024;

/// A stream to xenstored.
trait Line: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Line for T {}

/// A connection to xenstored.
pub struct Store {
    line: Box<dyn Line>,
    received: Vec<u8>,
    events: VecDeque<Changed>,
    last_id: u32,
}

/// A watch was triggered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The path that changed, at or below the watched one.
    pub path: String,
    /// What the watch was set with.
    pub token: String,
}

impl Store {
    /// Connects to this node's xenstored.
    ///
    /// # Errors
    ///
    /// [`XenError::Io`] where there is none.
    pub async fn connect() -> Result<Store, XenError> {
        Store::connect_among(&SOCKETS.map(Path::new), &SOCKET_KNOWN).await
    }

    /// A xenstored whose socket is gone has ended, as it does before the node restarts. The kernel's device is no way around
    /// that: a watch that is set there waits for a dead xenstored, not even SIGKILL ends the process that does so, and the
    /// restart takes minutes (Linux, `drivers/xen/xenbus/xenbus_xs.c`).
    async fn connect_among(sockets: &[&Path], known: &AtomicBool) -> Result<Store, XenError> {
        let doing = "connecting to xenstored (is this node's Xen running, and is this its Dom0?)";
        if let Some(path) = sockets.iter().find(|path| path.exists()) {
            known.store(true, Ordering::Relaxed);
            return Store::connect_to(path).await;
        }
        if known.load(Ordering::Relaxed) {
            return Err(XenError::io(doing)(io::Error::new(io::ErrorKind::NotFound, "its socket is gone")));
        }
        Ok(Store::over(Xenbus::open().map_err(XenError::io(doing))?))
    }

    /// Connects to the xenstored at this socket.
    ///
    /// # Errors
    ///
    /// [`XenError::Io`] where nobody listens.
    pub async fn connect_to(socket: &Path) -> Result<Store, XenError> {
        let doing = format!("connecting to xenstored at {}", socket.display());
        let stream = UnixStream::connect(socket).await.map_err(XenError::io(doing))?;
        Ok(Store::over(stream))
    }

    fn over(line: impl Line + 'static) -> Store {
        Store { line: Box::new(line), received: Vec::new(), events: VecDeque::new(), last_id: 0 }
    }

    /// The value at a path; `None` where there is nothing.
    ///
    /// # Errors
    ///
    /// [`XenError`] where xenstored does not answer or refuses.
    pub async fn read(&mut self, path: &str) -> Result<Option<String>, XenError> {
        let body = self.ask(Kind::Read, path, None).await?;
        Ok(body.map(|value| String::from_utf8_lossy(&value).into_owned()))
    }

    /// The names below a path; none where there is nothing.
    ///
    /// # Errors
    ///
    /// As [`Store::read`].
    pub async fn list(&mut self, path: &str) -> Result<Vec<String>, XenError> {
        let body = self.ask(Kind::Directory, path, None).await?;
        Ok(body.map(|names| wire::texts(&names)).unwrap_or_default())
    }

    /// Sets the value at a path.
    ///
    /// # Errors
    ///
    /// As [`Store::read`].
    pub async fn write(&mut self, path: &str, value: &str) -> Result<(), XenError> {
        self.ask(Kind::Write, path, Some(value.as_bytes())).await.map(drop)
    }

    /// Asks to be told of changes at and below a path. The first event comes at once, changed or not.
    ///
    /// # Errors
    ///
    /// As [`Store::read`].
    pub async fn watch(&mut self, path: &str, token: &str) -> Result<(), XenError> {
        let token = [token.as_bytes(), b"\0"].concat();
        self.ask(Kind::Watch, path, Some(&token)).await.map(drop)
    }

    /// Waits for the next event. Nothing is lost if the wait is given up.
    ///
    /// # Errors
    ///
    /// Where the connection is lost.
    pub async fn next_event(&mut self) -> Result<Changed, XenError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            let message = self.receive("waiting for an event of xenstored").await?;
            self.keep_event(&message);
        }
    }

    /// One request and its answer; `None` where there is nothing at the path.
    async fn ask(
        &mut self,
        kind: Kind,
        path: &str,
        rest: Option<&[u8]>,
    ) -> Result<Option<Vec<u8>>, XenError> {
        let doing = format!("asking xenstored ({kind:?} {path})");
        self.last_id = self.last_id.wrapping_add(1).max(1);
        let id = self.last_id;
        let body = [path.as_bytes(), b"\0", rest.unwrap_or_default()].concat();
        let sent = wire::request(kind, id, &body).map_err(|e| XenError::refused(&doing, e.to_string()))?;
        let exchange = async {
            self.line.write_all(&sent).await.map_err(XenError::io(&doing))?;
            loop {
                let message = self.receive(&doing).await?;
                // The answer to an earlier request, which nobody waited for any more, is passed over.
                if !self.keep_event(&message) && message.id == id {
                    return Ok(message);
                }
            }
        };
        let answer = timeout(LIMIT, exchange)
            .await
            .unwrap_or_else(|_| Err(XenError::Deadline { doing: doing.clone(), limit: LIMIT }))?;
        if answer.kind != Kind::Error as u32 {
            return Ok(Some(answer.body));
        }
        match wire::texts(&answer.body).pop().unwrap_or_default().as_str() {
            "ENOENT" => Ok(None),
            other => Err(XenError::refused(doing, other)),
        }
    }

    fn keep_event(&mut self, message: &Message) -> bool {
        if message.kind != Kind::WatchEvent as u32 {
            return false;
        }
        if let [path, token] = wire::texts(&message.body).as_slice()
            && self.events.len() < MAX_EVENTS
        {
            self.events.push_back(Changed { path: path.clone(), token: token.clone() });
        }
        true
    }

    async fn receive(&mut self, doing: &str) -> Result<Message, XenError> {
        loop {
            match wire::take(&mut self.received) {
                Ok(Some(message)) => return Ok(message),
                Ok(None) => {}
                Err(error) => return Err(XenError::refused(doing, error.to_string())),
            }
            let mut buffer = [0; 4096];
            match self.line.read(&mut buffer).await.map_err(XenError::io(doing))? {
                0 => return Err(XenError::refused(doing, "xenstored closed the connection")),
                length => self.received.extend_from_slice(&buffer[..length]),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    /// A message as xenstored sends it.
    fn message(kind: u32, id: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = wire::request(Kind::Read, id, body).unwrap();
        bytes[..4].copy_from_slice(&kind.to_ne_bytes());
        bytes
    }

    #[tokio::test]
    async fn an_event_before_an_answer_waits_for_its_reader() {
        let (ours, mut theirs) = duplex(4096);
        let mut store = Store::over(ours);
        let event = message(15, 0, b"@releaseDomain\0end\0");
        let mut said = [event.clone(), message(2, 1, b"/vm/x"), message(16, 2, b"ENOENT\0")].concat();
        said.extend(message(16, 3, b"EACCES\0"));
        theirs.write_all(&said).await.unwrap();
        assert_eq!(store.read("/local/domain/1/vm").await.unwrap().as_deref(), Some("/vm/x"));
        assert_eq!(store.read("/local/domain/9/vm").await.unwrap(), None);
        let error = store.write("/x", "").await.unwrap_err().to_string();
        assert_eq!(error, "asking xenstored (Write /x): EACCES");
        let event = store.next_event().await.unwrap();
        assert_eq!((event.path.as_str(), event.token.as_str()), ("@releaseDomain", "end"));
    }

    #[tokio::test]
    async fn a_lost_connection_is_an_error() {
        let (ours, theirs) = duplex(4096);
        drop(theirs);
        let mut store = Store::over(ours);
        assert!(store.next_event().await.is_err());
        assert!(store.list("/").await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_with_the_deadline() {
        let (ours, _theirs) = duplex(4096);
        let error = Store::over(ours).list("/local/domain").await.unwrap_err();
        assert_eq!(error.to_string(), "asking xenstored (Directory /local/domain): no answer within 5 s");
    }

    #[tokio::test]
    async fn a_socket_that_is_gone_is_not_replaced_by_the_device() {
        let dir = tempfile::tempdir().unwrap();
        let (socket, known) = (dir.path().join("socket"), AtomicBool::new(false));
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        assert!(Store::connect_among(&[&socket], &known).await.is_ok());
        drop(listener);
        std::fs::remove_file(&socket).unwrap();
        let error = Store::connect_among(&[&socket], &known).await.err().unwrap().to_string();
        assert!(error.ends_with("its socket is gone"), "{error}");
    }

    #[tokio::test]
    async fn nobody_listening_is_told_with_the_socket() {
        let dir = tempfile::tempdir().unwrap();
        let error = Store::connect_to(&dir.path().join("socket")).await.err().unwrap().to_string();
        assert!(error.starts_with("connecting to xenstored at /"), "{error}");
    }
}
