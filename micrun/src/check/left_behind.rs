//! What no live shim answers for.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use serde::Serialize;

use super::micad::Micad;
use super::xen;
use crate::id::{GuestName, Key};
use crate::store::{Entry, Store};

/// The locks that processes hold. Read, and not tried out: whoever tries a lock holds it for a moment, and a shim that
/// wants it then is refused.
const LOCKS: &str = "/proc/locks";

/// Something that a shim which was killed has left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Leftover {
    /// What it is.
    pub kind: Kind,
    /// Its name: NAMESPACE/ID of a container, else the name of a domain or client.
    pub name: String,
    /// What to do about it.
    pub remedy: String,
}

/// What a [`Leftover`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The state of a container.
    Container,
    /// A Xen domain.
    Domain,
    /// A client of micad.
    Client,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Container => "container",
            Kind::Domain => "domain",
            Kind::Client => "client of micad",
        })
    }
}

/// What was found, and what kept from finding more.
pub struct Search {
    /// What is left.
    pub found: Vec<Leftover>,
    /// What could not be looked at.
    pub fault: Option<String>,
}

/// Compares the state of all containers with what is there.
pub fn find(store: &Store, xen: Option<&xen::Found>, micad: &Micad) -> Search {
    let unknown = |why: String| Search {
        found: Vec::new(),
        fault: Some(format!("what was left behind is unknown: {why}")),
    };
    let all = match store.all() {
        Err(error) => return unknown(error.to_string()),
        Ok(all) => all,
    };
    match containers(&all) {
        Err(error) => unknown(format!("reading {LOCKS}: {error}")),
        Ok((mut found, known)) => {
            let domains = xen.map_or(&[][..], xen::Found::domains);
            found.extend(strays(domains, &known, Kind::Domain));
            found.extend(strays(&micad.clients, &known, Kind::Client));
            Search { found, fault: None }
        }
    }
}

/// The containers without a shim, and the names of the guests of all.
fn containers(all: &[(Key, Entry)]) -> io::Result<(Vec<Leftover>, BTreeSet<String>)> {
    let table = fs::read_to_string(LOCKS)?;
    let locked = locked(&table);
    let dead = all.iter().filter(|(_, entry)| {
        // A directory that is gone meanwhile was freed.
        fs::metadata(entry.dir()).is_ok_and(|dir| !locked.contains(&(dir.dev(), dir.ino())))
    });
    let dead =
        dead.map(|(key, _)| Leftover { kind: Kind::Container, name: key.to_string(), remedy: freeing(key) });
    let dead = dead.collect();
    Ok((dead, all.iter().map(|(key, _)| GuestName::of(key).to_string()).collect()))
}

/// Device and inode of what is locked. A line is `1: FLOCK  ADVISORY  WRITE 4711 00:1a:2342 0 EOF` (proc(5)).
fn locked(table: &str) -> BTreeSet<(u64, u64)> {
    let file = |line| {
        let mut fields = str::split_ascii_whitespace(line).skip_while(|field| *field != "FLOCK");
        let mut file = fields.nth(4)?.splitn(3, ':');
        let mut device = || u32::from_str_radix(file.next()?, 16).ok();
        let device = rustix::fs::makedev(device()?, device()?);
        Some((device, file.next()?.parse().ok()?))
    };
    table.lines().filter_map(file).collect()
}

fn freeing(Key { namespace, id }: &Key) -> String {
    format!(
        "its shim is gone: restart containerd, start a container of this name, or free it with \
         `containerd-shim-mica-v2 -namespace {namespace} -id {id} delete`"
    )
}

/// Guests that have a name as ours have, and no container.
fn strays(names: &[String], known: &BTreeSet<String>, kind: Kind) -> Vec<Leftover> {
    let remedy = |name: &str| match kind {
        Kind::Domain => {
            format!("no container has it: look with `xl list {name}`, end it with `xl destroy {name}`")
        }
        _ => "no container has it: look with `mica status`, remove it with `mica rm`".to_owned(),
    };
    let stray = |name: &&String| GuestName::resembles(name) && !known.contains(*name);
    let leftover = |name: &String| Leftover { kind, name: name.clone(), remedy: remedy(name) };
    names.iter().filter(stray).map(leftover).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::check::micad::Presence;
    use crate::id::Id;

    fn key(id: &str) -> Key {
        Key { namespace: Id::new("default").unwrap(), id: Id::new(id).unwrap() }
    }

    #[test]
    fn containers_without_a_shim_and_guests_without_a_container_are_found() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::at(root.path());
        let live = store.reserve(&key("live")).unwrap();
        drop(store.reserve(&key("dead")).unwrap());
        let lost = GuestName::of(&key("lost")).to_string();
        let known = GuestName::of(&key("live")).to_string();
        let micad = Micad {
            directory: PathBuf::new(),
            presence: Presence::Running,
            clients: vec![lost.clone(), known, "zephyr".to_owned()],
        };
        let found = find(&store, None, &micad).found;
        let names: Vec<(Kind, &str)> = found.iter().map(|one| (one.kind, one.name.as_str())).collect();
        assert_eq!(names, [(Kind::Container, "default/dead"), (Kind::Client, lost.as_str())]);
        assert!(found[0].remedy.contains("-namespace default -id dead delete"), "{}", found[0].remedy);
        drop(live);
    }
}
