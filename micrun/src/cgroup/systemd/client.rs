//! A connection to systemd's own socket: authenticated by the kernel, one call at a time. Blocks, with a deadline.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::wire::{self, Body, Kind, Malformed, Message, Method, Value};

/// How long systemd may take for one call and the job that it begins: milliseconds on an idle machine.
const LIMIT: Duration = Duration::from_secs(10);

/// The longest line of the authentication that is read, bytes.
const MAX_LINE: u64 = 256;

/// The object and the interface that all calls go to (org.freedesktop.systemd1(5)).
const MANAGER: (&str, &str) = ("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager");

/// Why systemd did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum SystemdError {
    /// The connection broke.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// The system's answer.
        source: io::Error,
    },
    /// systemd says no.
    #[error("systemd refuses {call} of {unit}: {answer}")]
    Refused {
        /// The method.
        call: &'static str,
        /// The unit.
        unit: String,
        /// Its words.
        answer: String,
    },
    /// It does not speak D-Bus.
    #[error("talking to systemd: {0}")]
    Malformed(#[from] Malformed),
    /// It does not answer.
    #[error("talking to systemd: no answer within {} s", LIMIT.as_secs())]
    Deadline,
}

impl SystemdError {
    pub(super) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> SystemdError {
        move |source| match source.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => SystemdError::Deadline,
            _ => SystemdError::Io { doing: doing.into(), source },
        }
    }
}

/// A connection.
pub(super) struct Connection {
    stream: BufReader<UnixStream>,
    deadline: Instant,
    number: u32,
}

impl Connection {
    pub fn open(socket: &Path) -> Result<Connection, SystemdError> {
        let doing = || SystemdError::io(format!("connecting to systemd at {}", socket.display()));
        let stream = UnixStream::connect(socket).map_err(doing())?;
        stream.set_write_timeout(Some(LIMIT)).map_err(doing())?;
        let deadline = Instant::now() + LIMIT;
        let mut connection = Connection { stream: BufReader::new(stream), deadline, number: 0 };
        connection.authenticate().map_err(doing())?;
        Ok(connection)
    }

    /// The kernel tells the other side who this is; it has to be said all the same (D-Bus specification, «EXTERNAL»).
    fn authenticate(&mut self) -> io::Result<()> {
        let user: String = rustix::process::geteuid()
            .as_raw()
            .to_string()
            .bytes()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        self.stream.get_mut().write_all(format!("\0AUTH EXTERNAL {user}\r\n").as_bytes())?;
        self.limit()?;
        let mut line = String::new();
        (&mut self.stream).take(MAX_LINE).read_line(&mut line)?;
        if !line.starts_with("OK ") {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("it says {:?}", line.trim_end()),
            ));
        }
        self.stream.get_mut().write_all(b"BEGIN\r\n")
    }

    /// Starts a unit and waits until it has started.
    pub fn start_transient_unit(
        &mut self,
        unit: &str,
        properties: &[(&'static str, Value)],
    ) -> Result<(), SystemdError> {
        const CALL: &str = "StartTransientUnit";
        let mut body = Body::default();
        body.text(unit).text("replace").properties(properties).nothing();
        let reply = self.call(CALL, unit, "ssa(sv)a(sa(sv))", &body)?;
        let job = reply.text(0).ok_or(Malformed)?;
        loop {
            let message = self.receive()?;
            // JobRemoved(u id, o job, s unit, s result)
            if message.name == "JobRemoved" && message.text(1) == Some(job) {
                return match message.text(3) {
                    Some("done") => Ok(()),
                    other => {
                        let answer = format!("its job ended with {:?}", other.unwrap_or_default());
                        Err(SystemdError::Refused { call: CALL, unit: unit.to_owned(), answer })
                    }
                };
            }
        }
    }

    /// Changes properties of a unit for as long as it lives.
    pub fn set_unit_properties(
        &mut self,
        unit: &str,
        properties: &[(&'static str, Value)],
    ) -> Result<(), SystemdError> {
        let mut body = Body::default();
        body.text(unit).number(1).properties(properties);
        self.call("SetUnitProperties", unit, "sba(sv)", &body).map(drop)
    }

    fn call(
        &mut self,
        name: &'static str,
        unit: &str,
        signature: &str,
        body: &Body,
    ) -> Result<Message, SystemdError> {
        self.number += 1;
        let (path, interface) = MANAGER;
        let message = wire::call(self.number, Method { path, interface, name, signature }, body);
        self.stream
            .get_mut()
            .write_all(&message)
            .map_err(SystemdError::io(format!("asking systemd for {name}")))?;
        loop {
            let message = self.receive()?;
            match message.kind {
                Kind::Return if message.reply_to == self.number => return Ok(message),
                Kind::Error if message.reply_to == self.number => {
                    let answer = message.text(0).unwrap_or(&message.name).to_owned();
                    return Err(SystemdError::Refused { call: name, unit: unit.to_owned(), answer });
                }
                _ => {}
            }
        }
    }

    fn receive(&mut self) -> Result<Message, SystemdError> {
        let doing = || SystemdError::io("reading from systemd");
        let mut prefix = [0; wire::PREFIX];
        self.limit().map_err(doing())?;
        self.stream.read_exact(&mut prefix).map_err(doing())?;
        let length = wire::length(&prefix)?;
        let mut bytes = prefix.to_vec();
        let rest = (length - wire::PREFIX) as u64;
        (&mut self.stream).take(rest).read_to_end(&mut bytes).map_err(doing())?;
        Ok(Message::parse(&bytes)?)
    }

    /// What is left of the time is all that the next read may take.
    fn limit(&mut self) -> io::Result<()> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.get_ref().set_read_timeout(Some(left))
    }
}
