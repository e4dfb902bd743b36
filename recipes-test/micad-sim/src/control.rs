//! The socket through which people give orders: a line with the order, and lines with the answer.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use crate::board::Guest;
use crate::sim::{Sim, SimError};

/// The longest order that is read, bytes.
const LINE: u64 = 4096;
/// How long somebody who connected may take to say something.
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves orders for a simulator until the socket fails.
///
/// # Errors
/// If the socket cannot be made or served.
pub fn serve(sim: &Sim, socket: &Path) -> io::Result<()> {
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    loop {
        let (connection, _) = listener.accept()?;
        // Whoever went away needs no answer.
        let _ = answer(sim, connection);
    }
}

fn answer(sim: &Sim, mut connection: UnixStream) -> io::Result<()> {
    connection.set_read_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new((&connection).take(LINE)).read_line(&mut line)?;
    let done = line.trim().parse().map_err(SimError::from).and_then(|order| sim.give(order));
    let text = match done {
        Ok(guests) => guests.iter().map(row).collect(),
        Err(error) => format!("error: {error}\n"),
    };
    connection.write_all(text.as_bytes())
}

fn row(guest: &Guest) -> String {
    let pid = guest.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
    format!("{:<30}{:<40}{pid}\n", guest.name, guest.place.to_string())
}

/// Gives an order to a simulator that runs elsewhere, and returns what it answers.
///
/// # Errors
/// If there is none, or it refuses.
pub fn give(socket: &Path, order: &str) -> io::Result<String> {
    let mut connection = UnixStream::connect(socket)?;
    writeln!(connection, "{order}")?;
    connection.shutdown(Shutdown::Write)?;
    let mut text = String::new();
    connection.read_to_string(&mut text)?;
    match text.strip_prefix("error: ") {
        Some(error) => Err(io::Error::other(error.trim_end())),
        None => Ok(text),
    }
}
