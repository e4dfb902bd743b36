//! Cgroups that systemd is to know of: the form `slice:prefix:name`, which kubelet and containerd use with their systemd
//! drivers.
//!
//! systemd makes the cgroup of a *scope* for processes that exist already, and takes it away when the last of them ends.
//! So a small process goes first, and the guest follows once the limits are set: [`Holder`]. Where no systemd listens the
//! same path is made of plain directories; nobody then keeps the slices apart but us, and the log says so.
//!
//! - [`wire`]: messages of D-Bus as bytes, as far as they are needed here (pure, fuzzed).
//! - [`client`]: a connection to systemd's own socket, which needs no bus daemon.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde::{Deserialize, Serialize};

use super::Limits;
use super::path::Scope;
use crate::resources::{Capacity, Change, CpuSet, Weight};

mod client;
pub mod wire;

use client::Connection;
pub use client::SystemdError;
use wire::Value;

/// Where systemd listens for root, bus daemon or not (systemd, `manager_setup_private_bus`).
pub const SOCKET: &str = "/run/systemd/private";

/// The action word of the process that goes first, which nobody types.
pub const ACTION_HOLD: &str = "hold";

/// Whether systemd manages this machine (sd_booted(3)).
pub fn runs() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// What the process that goes first does: nothing, until whoever started it is gone or lets it go.
pub fn hold() {
    let mut stdin = io::stdin();
    while let Ok(1..) = stdin.read(&mut [0; 64]) {}
}

/// A scope, and the systemd that has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// The scope.
    pub scope: Scope,
    /// Where systemd listens.
    pub socket: PathBuf,
}

/// The process in a scope that has no guest yet. Dropped, it ends.
#[derive(Debug)]
pub struct Holder(Child);

impl Holder {
    /// A process that is held.
    fn start() -> io::Result<Holder> {
        let mut command = Command::new("/proc/self/exe");
        command.arg(ACTION_HOLD).env_clear().current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().map(Holder)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // Fails only where it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Unit {
    /// Whether there is a systemd to ask.
    pub fn is_manageable(&self) -> bool {
        let there = self.socket.exists();
        if !there {
            tracing::warn!(
                slice = self.scope.slice,
                unit = self.scope.unit,
                "no systemd listens here: its slices are made as directories"
            );
        }
        there
    }

    /// Starts the scope, with a process that keeps it.
    ///
    /// # Errors
    ///
    /// systemd's refusal: a unit of this name that runs, for one.
    pub fn start(&self, limits: &Limits, unified: bool) -> Result<Holder, SystemdError> {
        let holder = Holder::start().map_err(SystemdError::io("starting a process to hold a scope"))?;
        self.start_with(holder.0.id(), limits, unified)?;
        Ok(holder)
    }

    fn start_with(&self, pid: u32, limits: &Limits, unified: bool) -> Result<(), SystemdError> {
        let mut properties = vec![
            ("Description", Value::Text("a guest of MicRun".to_owned())),
            ("Slice", Value::Text(self.scope.slice.clone())),
            ("DefaultDependencies", Value::Bool(false)),
            ("Delegate", Value::Bool(true)),
            ("CollectMode", Value::Text("inactive-or-failed".to_owned())),
            ("PIDs", Value::Numbers(vec![pid])),
        ];
        properties.extend(of_limits(limits, unified));
        Connection::open(&self.socket)?.start_transient_unit(&self.scope.unit, &properties)
    }

    /// Tells systemd of a change, so that it does not undo it.
    ///
    /// # Errors
    ///
    /// systemd's refusal.
    pub fn change(&self, change: &Change, unified: bool) -> Result<(), SystemdError> {
        let properties: Vec<_> = match change {
            Change::Weight(one) => vec![weight(*one, unified)],
            Change::Capacity(one) => vec![capacity(*one)],
            Change::Cpus(cores) => cpus(cores, unified).into_iter().collect(),
            Change::Vcpus(_) | Change::Memory(_) | Change::MinMemory(_) | Change::MaxMemory(_) => Vec::new(),
        };
        match properties.is_empty() {
            true => Ok(()),
            false => Connection::open(&self.socket)?.set_unit_properties(&self.scope.unit, &properties),
        }
    }
}

/// A property of a unit (systemd.resource-control(5), org.freedesktop.systemd1(5)).
type Property = (&'static str, Value);

fn of_limits(limits: &Limits, unified: bool) -> Vec<Property> {
    let memory = |name, bytes: Option<u64>| bytes.map(|bytes| (name, Value::Long(bytes)));
    let limited = limits.capacity.is_limited().then(|| capacity(limits.capacity));
    let all = [
        limits.weight.map(|one| weight(one, unified)),
        limited,
        limits.cpus.as_ref().and_then(|cores| cpus(cores, unified)),
        memory(if unified { "MemoryMax" } else { "MemoryLimit" }, limits.memory),
        memory("MemoryLow", limits.min_memory.filter(|_| unified)),
    ];
    all.into_iter().flatten().collect()
}

fn weight(weight: Weight, unified: bool) -> Property {
    match unified {
        true => ("CPUWeight", Value::Long(weight.v2())),
        false => ("CPUShares", Value::Long(weight.shares())),
    }
}

/// Microseconds of a second. systemd counts in percent of a core: rounded up, so that the exact limit that is written
/// below it fits.
fn capacity(capacity: Capacity) -> Property {
    let limit = if capacity.is_limited() { u64::from(capacity.percent()) * 10_000 } else { u64::MAX };
    ("CPUQuotaPerSecUSec", Value::Long(limit))
}

/// A bit for each core. systemd has no cpusets of version 1.
fn cpus(cores: &CpuSet, unified: bool) -> Option<Property> {
    let mut bits = vec![0; cores.iter().max()? as usize / 8 + 1];
    for core in cores.iter() {
        bits[core as usize / 8] |= 1 << (core % 8);
    }
    unified.then_some(("AllowedCPUs", Value::Bytes(bits)))
}

#[cfg(test)]
mod tests;
