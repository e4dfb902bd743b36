//! One message and its answer.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;

use super::{CREATE, Daemon, LifeEnded, Unit};
use crate::client::{Client, Segfault};
use crate::fault::Effect;
use crate::wire::control::{self, Command};
use crate::wire::create::{self, Create};
use crate::wire::{FAILED, SUCCESS, status};

/// The pieces in which an answer is sent, and whether it is a good one.
struct Answer {
    text: Vec<u8>,
    marker: &'static [u8],
}

impl Answer {
    fn good(text: Vec<u8>) -> Answer {
        Answer { text, marker: SUCCESS }
    }

    fn bad(text: impl Into<Vec<u8>>) -> Answer {
        Answer { text: text.into(), marker: FAILED }
    }
}

impl Daemon {
    /// One recv, for which the daemon waits as long as it takes.
    fn receive(
        &mut self,
        connection: &mut UnixStream,
        buffer: &mut [u8],
    ) -> Result<Option<usize>, LifeEnded> {
        self.wait(Some(connection.as_fd()), None)?;
        match connection.read(buffer) {
            Ok(length) => Ok(Some(length)),
            Err(error) => {
                self.say(format_args!("Failed to receive: {error}"));
                Ok(None)
            }
        }
    }

    pub(super) fn serve_create(&mut self) -> io::Result<()> {
        let Some(listener) = &self.create else { return Ok(()) };
        let (mut connection, _) = listener.accept()?;
        let mut buffer = [0; create::LENGTH];
        let Ok(received) = self.receive(&mut connection, &mut buffer) else { return Ok(()) };
        let effect = self.faults.create();
        let Ok(refused) = self.before(effect.as_ref()) else { return Ok(()) };
        let answer = match (refused, received) {
            (Some(text), _) => Answer::bad(text),
            (None, None) => Answer::bad(""),
            (None, Some(length)) => self.create(Create::decode(&buffer[..length])),
        };
        // A failure here is the daemon's life that ended.
        let _ = self.send(connection, answer, effect.as_ref());
        Ok(())
    }

    fn create(&mut self, message: Create) -> Answer {
        let name = message.name.clone();
        // access(path, F_OK)
        if fs::metadata(&message.path).is_err() {
            return self.refuse(format!("No such file: {}", message.path.display()));
        }
        if name == CREATE || self.clients.iter().any(|unit| unit.client.name() == name) {
            return self.refuse(format!("{} is already created", name.display()));
        }
        let client = match Client::create(message, &mut self.world) {
            Ok(client) => client,
            // The reason is the journal's alone.
            Err(error) => {
                self.say(format_args!("create {}: {error}", name.display()));
                return Answer::bad("");
            }
        };
        self.last_id += 1;
        let id = self.last_id;
        match self.listen(name.as_bytes(), id) {
            Ok(listener) => self.clients.push(Unit { id, client, listener }),
            Err(error) => {
                self.say(format_args!("Failed to bind socket: {error}"));
                return Answer::bad("");
            }
        }
        Answer::good(Vec::new())
    }

    fn refuse(&self, text: String) -> Answer {
        self.say(&text);
        Answer::bad(text)
    }

    pub(super) fn serve_control(&mut self, id: u64) -> io::Result<()> {
        let Some(index) = self.clients.iter().position(|unit| unit.id == id) else { return Ok(()) };
        let (mut connection, _) = self.clients[index].listener.accept()?;
        let mut buffer = [0; control::LENGTH];
        let Ok(received) = self.receive(&mut connection, &mut buffer) else { return Ok(()) };
        let Some(length) = received else { return Ok(()) };
        let command = Command::decode(&buffer[..length]);
        let effect = self.faults.control(&command);
        let Ok(refused) = self.before(effect.as_ref()) else { return Ok(()) };
        let answer = match refused {
            Some(text) => Ok(Answer::bad(text)),
            None => self.obey(index, &command, effect == Some(Effect::Table), &connection),
        };
        let Ok(answer) = answer else {
            self.say("segmentation fault; systemd starts the daemon again");
            self.end_life();
            return self.begin_life();
        };
        let removed = command == Command::Remove && answer.marker == SUCCESS;
        if self.send(connection, answer, effect.as_ref()).is_ok() && removed {
            let unit = self.clients.remove(index);
            // Fails only where it is not there.
            let _ = self.epoll.delete(&unit.listener);
            // Whoever removed it meanwhile wanted it gone.
            let _ = fs::remove_file(self.socket(unit.client.name().as_bytes()));
        }
        Ok(())
    }

    fn obey(
        &mut self,
        index: usize,
        command: &Command,
        broken_table: bool,
        connection: &UnixStream,
    ) -> Result<Answer, Segfault> {
        let inherited = if *command == Command::Start { self.inherited(connection) } else { Vec::new() };
        let (client, world) = (&mut self.clients[index].client, &mut self.world);
        let name = client.name().to_owned();
        let done = match command {
            Command::Start => client.start(world, broken_table, inherited),
            Command::Set { key, value } => client.set(world, key, value),
            Command::Stop => return client.stop(world).map(|()| Answer::good(Vec::new())),
            Command::Remove => return client.remove(world).map(|()| Answer::good(Vec::new())),
            Command::Status => {
                let state = client.status(world)?;
                let (name, cpu) = (client.name().as_bytes(), client.cpu().as_bytes());
                return Ok(Answer::good(status::line(name, cpu, state, &client.services())));
            }
            Command::Gdb => return Ok(client.gdb().map_or_else(Answer::bad, Answer::good)),
            Command::MalformedSet => return Ok(Answer::bad("Invalid set command. Usage: set <key> <value>")),
            Command::Unknown(text) => return Ok(Answer::bad([b"Invalid command: ", &text[..]].concat())),
        };
        Ok(match done {
            Ok(()) => Answer::good(Vec::new()),
            Err(error) => {
                self.say(format_args!("{command} {}: {error}", name.display()));
                Answer::bad("")
            }
        })
    }

    /// The sockets that a program inherits which is started to answer this connection. Without them where the
    /// machine has no more descriptors.
    fn inherited(&self, connection: &UnixStream) -> Vec<OwnedFd> {
        let listeners = self.create.iter().chain(self.clients.iter().map(|unit| &unit.listener));
        let sockets = listeners.map(AsFd::as_fd).chain([connection.as_fd()]);
        sockets.filter_map(|socket| socket.try_clone_to_owned().ok()).collect()
    }

    /// What a fault does before the daemon works: a text means that it does not work at all.
    fn before(&mut self, effect: Option<&Effect>) -> Result<Option<String>, LifeEnded> {
        match effect {
            Some(Effect::Slow(time)) => self.wait(None, Some(*time))?,
            Some(Effect::Hang) => self.wait(None, None)?,
            Some(Effect::Refuse(text)) => return Ok(Some(text.clone())),
            _ => {}
        }
        Ok(None)
    }

    /// Sends an answer as the original does: the text, the marker, and the end of the connection.
    fn send(
        &mut self,
        mut connection: UnixStream,
        answer: Answer,
        effect: Option<&Effect>,
    ) -> Result<(), LifeEnded> {
        let Answer { text, marker } = answer;
        let half = [&text[..], &marker[..marker.len() / 2]].concat();
        // Whoever asked may be gone.
        let _ = match effect {
            Some(Effect::Cut) => connection.write_all(&half),
            Some(Effect::Die) => {
                let _ = connection.write_all(&half);
                self.end_life();
                return Err(LifeEnded);
            }
            Some(Effect::Split(pause)) => {
                for byte in [&text[..], marker].concat() {
                    self.wait(None, Some(*pause))?;
                    let _ = connection.write_all(&[byte]);
                }
                Ok(())
            }
            _ => connection.write_all(&text).and_then(|()| connection.write_all(marker)),
        };
        Ok(())
    }
}
