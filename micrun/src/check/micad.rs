//! The mica daemon of this node, looked at from outside. Nobody connects to it: a connection without a message makes
//! the daemon answer to somebody who has left, and while it waits for one it serves nobody else.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// What the kernel tells of the sockets of this network namespace.
const UNIX_SOCKETS: &str = "/proc/net/unix";

/// The flag of a socket that takes connections (`__SO_ACCEPTCON`, linux/net.h), as the table prints it.
const TAKES_CONNECTIONS: &str = "00010000";

/// Whether micad runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// There is no socket of its.
    Absent,
    /// Its socket is there, and nobody listens.
    Stale,
    /// It listens.
    Running,
}

/// What was seen of micad.
#[derive(Clone, Debug, Serialize)]
pub struct Micad {
    /// Its directory.
    pub directory: PathBuf,
    /// Whether it runs.
    pub presence: Presence,
    /// The names of its clients.
    pub clients: Vec<String>,
}

impl Micad {
    /// What is wrong.
    pub fn fault(&self) -> Option<String> {
        let dir = self.directory.display();
        (self.presence == Presence::Stale).then(|| {
            format!("micad has left its sockets in {dir} and does not run; start it, which removes them, or remove them")
        })
    }
}

/// Looks for micad at its directory.
pub fn look(directory: &Path) -> Micad {
    let table = fs::read_to_string(UNIX_SOCKETS).unwrap_or_default();
    let listening = listening(&table);
    let create = libmica::Micad::new(directory).create_socket();
    let presence = match (create.exists(), create.to_str().is_some_and(|path| listening.contains(path))) {
        (false, _) => Presence::Absent,
        (true, false) => Presence::Stale,
        (true, true) => Presence::Running,
    };
    let clients = if presence == Presence::Running { clients(&create) } else { Vec::new() };
    Micad { directory: directory.to_owned(), presence, clients }
}

/// The clients have sockets of their names beside the one for new clients.
fn clients(create: &Path) -> Vec<String> {
    let entries = create.parent().and_then(|directory| fs::read_dir(directory).ok());
    let entries = entries.into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut clients: Vec<String> = names
        .filter(|name| create.file_name().is_none_or(|create| create != name.as_str()))
        .filter_map(|name| name.strip_suffix(".socket").map(str::to_owned))
        .collect();
    clients.sort();
    clients
}

/// The paths of sockets that take connections. A line is `Num RefCount Protocol Flags Type St Inode Path` (proc(5)).
fn listening(table: &str) -> BTreeSet<&str> {
    let path = |line| {
        let mut fields = str::split_ascii_whitespace(line);
        let flags = fields.nth(3)?;
        let path = fields.nth(3)?;
        (flags == TAKES_CONNECTIONS && path.starts_with('/')).then_some(path)
    };
    table.lines().filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn gone_stale_and_running_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(look(dir.path()).presence, Presence::Absent);
        let listener = UnixListener::bind(dir.path().join("mica-create.socket")).unwrap();
        let _client = UnixListener::bind(dir.path().join("z1.socket")).unwrap();
        let running = look(dir.path());
        assert_eq!(
            (running.presence, running.clients.as_slice()),
            (Presence::Running, &["z1".to_owned()][..])
        );
        assert_eq!(running.fault(), None);
        drop(listener);
        let stale = look(dir.path());
        assert_eq!(stale.presence, Presence::Stale);
        assert!(stale.fault().unwrap().contains("does not run"));
    }

    #[test]
    fn only_sockets_with_a_path_that_take_connections_count() {
        let table = "Num       RefCount Protocol Flags    Type St Inode Path\n\
                     0000000000000000: 00000002 00000000 00010000 0001 01 17 /run/a.socket\n\
                     0000000000000000: 00000003 00000000 00000000 0001 03 18 /run/b.socket\n\
                     0000000000000000: 00000002 00000000 00010000 0001 01 19 @abstract\n\
                     0000000000000000: 00000003 00000000 00010000 0001 01 20\n";
        assert_eq!(listening(table).into_iter().collect::<Vec<_>>(), ["/run/a.socket"]);
    }
}
