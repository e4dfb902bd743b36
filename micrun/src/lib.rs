//! MicRun's runtime: RTOS firmware as containers, behind containerd's shim protocol.
//!
//! The map, from the outside in:
//!
//! - [`shim`]: the protocol. The command line actions, the Task and Sandbox services, events back to
//!   containerd, the log. It decides nothing.
//! - [`container`]: one container: its states, the one task that owns it, its exit status.
//! - [`console`]: bytes between the guest and the engine's streams.
//! - [`config`]: what a container asks for: client.conf and annotations, merged.
//! - [`resources`]: from what image and engine ask for to what a guest gets. Pure.
//! - [`reservations`]: what one guest alone can have, compared across all containers of the node.
//! - [`pedestal`]: what guests run on: the trait, and a folder for each implementation.
//! - [`hypervisor`]: Xen, as several pedestals use it.
//! - [`cgroup`]: where the process of a guest is counted and limited.
//! - [`sandbox`]: pods: who shares a shim, and what CRI's "pause" container is here.
//! - [`network`]: a pod's interface, handed through to a guest.
//! - [`bundle`]: what the engine hands over: config.json and the root file system.
//! - [`store`]: what outlives a process, under one state directory.
//! - [`check`]: what this node can run, and what was left behind on it.
//! - [`recovery`]: freeing what a shim that died has left, by whatever is known of it.
//! - [`remedy`]: what to do about an answer of the system's.
//! - [`process`]: a process named by pid and start time, so that no stranger is signalled.
//! - [`trace`]: whose trace the work under way belongs to, and spans for a collector.
//! - [`tty`]: a terminal device as a stream of bytes.

#[macro_use]
mod crash_point;

pub mod bundle;
pub mod cgroup;
pub mod check;
pub mod config;
pub mod console;
pub mod container;
pub mod hypervisor;
pub mod id;
mod namespace;
pub mod network;
pub mod pedestal;
pub mod process;
pub mod recovery;
mod remedy;
pub mod reservations;
pub mod resources;
pub mod sandbox;
pub mod shim;
pub mod store;
mod sys;
pub mod trace;
pub mod tty;
