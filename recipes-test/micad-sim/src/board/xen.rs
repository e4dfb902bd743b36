//! Real Xen: run inside Dom0, every client of the pedestal xen becomes a domain.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};

use super::{Board, Boot, Failure, Guest, Trick};
use crate::pedestal::{Pedestal, Place};

/// How often, and with which pause, a console is looked for.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(40);

/// The domains of this node that were created here.
#[derive(Debug, Default)]
pub struct XenBoard {
    domains: BTreeSet<String>,
}

impl Board for XenBoard {
    fn offers(&self, pedestal: Pedestal) -> Result<(), Failure> {
        match pedestal {
            Pedestal::Xen => Ok(()),
            // As on a node whose kernel has no such device.
            _ => Err(Failure::new("open /dev/mcs device failed")),
        }
    }

    fn prepare(&mut self, place: &Place, boot: &Boot, inherited: Vec<OwnedFd>) -> Result<(), Failure> {
        let name = domain(place)?;
        let config = boot.xen_config.display().to_string();
        for socket in &inherited {
            fcntl(socket, FcntlArg::F_SETFD(FdFlag::empty()))
                .map_err(|error| Failure::new(format!("cannot hand a socket to xl: {error}")))?;
        }
        run("xl", &["create", "-p", &config])?;
        drop(inherited);
        domid(name)?;
        self.domains.insert(name.to_owned());
        Ok(())
    }

    fn answers(&mut self, _: &Place) -> bool {
        false
    }

    fn run(&mut self, place: &Place, _: &Boot) -> Result<(), Failure> {
        run("xl", &["unpause", domain(place)?]).map(drop)
    }

    fn console(&mut self, place: &Place) -> Result<OwnedFd, Failure> {
        let id = domid(domain(place)?)?;
        let path = console_path(id)?;
        let cannot =
            |what: &str, error: &dyn std::error::Error| Failure::new(format!("{what} {path}: {error}"));
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(OFlag::O_NOCTTY.bits());
        let console = options.open(&path).map_err(|error| cannot("cannot open", &error))?;
        // The guest's bytes, and no echo of them to the guest.
        let mut terminal = tcgetattr(&console).map_err(|error| cannot("no terminal:", &error))?;
        cfmakeraw(&mut terminal);
        tcsetattr(&console, SetArg::TCSANOW, &terminal).map_err(|error| cannot("cannot make raw", &error))?;
        Ok(console.into())
    }

    fn ask_off(&mut self, _: &Place) {}

    fn end(&mut self, place: &Place) -> Result<(), Failure> {
        let name = domain(place)?;
        run("xl", &["destroy", name])?;
        self.domains.remove(name);
        Ok(())
    }

    fn release(&mut self, _: &Place) {}

    /// The guest's table is not shared with it here, so it cannot write anything into it.
    fn wrote_off(&mut self, _: &Place) -> bool {
        false
    }

    fn xl(&mut self, arguments: &[&str]) -> Result<(), Failure> {
        run("xl", arguments).map(drop)
    }

    fn guests(&mut self) -> Vec<Guest> {
        self.domains.retain(|name| domid(name).is_ok());
        let guest =
            |name: &String| Guest { name: name.clone(), place: Place::Domain(name.clone()), pid: None };
        self.domains.iter().map(guest).collect()
    }

    fn trick(&mut self, name: &str, trick: Trick) -> Result<(), Failure> {
        match trick {
            Trick::Die => run("xl", &["destroy", name]).map(drop),
            Trick::Deaf | Trick::Off => Err(Failure::new("no domain can be made to do that from outside")),
        }
    }

    fn end_all(&mut self) {
        for name in std::mem::take(&mut self.domains) {
            if domid(&name).is_ok() {
                // Gone meanwhile: all the better.
                let _ = run("xl", &["destroy", &name]);
            }
        }
    }
}

fn domain(place: &Place) -> Result<&str, Failure> {
    match place {
        Place::Domain(name) => Ok(name),
        other => Err(Failure::new(format!("{other} is not Xen's"))),
    }
}

/// Where xenconsoled put a domain's console, which it does some time after the domain was made.
fn console_path(id: u32) -> Result<String, Failure> {
    let key = format!("/local/domain/{id}/console/tty");
    let mut tries = 0;
    loop {
        tries += 1;
        match run("xenstore-read", &[&key]) {
            Ok(path) if !path.trim().is_empty() => return Ok(path.trim().to_owned()),
            Ok(_) if tries == TRIES => {
                return Err(Failure::new(format!("{key} is empty: is xenconsoled running?")));
            }
            Err(error) if tries == TRIES => return Err(error),
            _ => thread::sleep(PAUSE),
        }
    }
}

/// The id of a domain, looked up by its name in xl's list, as the original does.
fn domid(name: &str) -> Result<u32, Failure> {
    let list = run("xl", &["list"])?;
    let mut rows = list.lines().skip(1).map(|row| row.split_whitespace());
    let id = rows.find_map(|mut row| (row.next() == Some(name)).then(|| row.next()));
    id.flatten()
        .and_then(|id| id.parse().ok())
        .ok_or_else(|| Failure::new(format!("no domain {name} in xl's list")))
}

/// Runs a program to its end and returns what it said.
fn run(program: &str, arguments: &[&str]) -> Result<String, Failure> {
    let line = || format!("{program} {}", arguments.join(" "));
    let Output { status, stdout, stderr } = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Failure::new(format!("cannot run {program}: {error}")))?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).into_owned());
    }
    Err(Failure::new(format!("Failed to run '{}': {}", line(), String::from_utf8_lossy(&stderr).trim())))
}
