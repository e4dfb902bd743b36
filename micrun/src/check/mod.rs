//! What this node can run, and what was left behind on it. Looks and asks, and changes nothing.
//!
//! - [`pedestals`]: what serves each pedestal, or what is lacking.
//! - [`emulators`]: the QEMUs, one for each kind of core.
//! - [`boards`]: the boards, and which of their pedestals can be used.
//! - [`micad`]: the daemon: there, gone, or gone with its sockets left.
//! - [`xen`]: the hypervisor under this node.
//! - [`left_behind`]: state, domains and clients whose shim is gone.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use micrun_image_spec::board::BoardError;
use serde::Serialize;

use crate::config::node::{NodeConfig, NodeConfigError};
use crate::pedestal::{self, Driver, Node};
use crate::store::Store;

pub mod boards;
pub mod emulators;
pub mod left_behind;
pub mod micad;
pub mod pedestals;
pub mod xen;

/// All that was found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What serves each pedestal.
    pub pedestals: Vec<pedestals::Serving>,
    /// The boards of this node, by name.
    pub boards: Vec<boards::Usable>,
    /// The emulators that boards can need.
    pub emulators: Vec<emulators::Emulator>,
    /// The mica daemon.
    pub micad: micad::Micad,
    /// The hypervisor; `None` on a machine without Xen.
    pub xen: Option<xen::Found>,
    /// The cores that neither Dom0 nor Linux runs on: guests can have them for themselves.
    pub own_cores: Vec<u32>,
    /// What no live shim answers for.
    pub left_behind: Vec<left_behind::Leftover>,
    /// What is wrong and does not go away by itself, one sentence each. A pedestal that this node does not have is
    /// no fault; a node that can run nothing is one.
    pub faults: Vec<String>,
}

impl Report {
    /// Looks at this node: at what shims read, and at the state that they keep in `state`.
    pub async fn of(
        node: Result<Node, BoardError>,
        config: Result<NodeConfig, NodeConfigError>,
        state: &Path,
    ) -> Report {
        let mut faults = Vec::new();
        if let Err(error) = config {
            faults.push(format!("no container can be started: {error}"));
        }
        let node = node.unwrap_or_else(|error| {
            faults.push(format!("no container can be started: {error}; correct or remove the file"));
            Node::without_own_boards()
        });
        let emulators = emulators::find(&node);
        let micad = micad::look(&node.micad);
        let xen = if node.on_xen { Some(xen::ask().await) } else { None };
        let left_behind = left_behind::find(&Store::at(state), xen.as_ref(), &micad);
        let drivers = pedestal::drivers();
        let pedestals = pedestals::all(&drivers, &node, &emulators, &micad);
        let own_cores = own_cores(&drivers, &node).await;
        let boards = boards::all(&node, &pedestals, &emulators);
        faults.extend(micad.fault());
        faults.extend(xen.as_ref().and_then(xen::Found::fault));
        faults.extend(left_behind.fault);
        if !boards.iter().any(|board| !board.usable_on.is_empty()) {
            faults.push(
                "this node can run no board at all; the pedestals above say what is lacking".to_owned(),
            );
        }
        let left_behind = left_behind.found;
        Report { pedestals, boards, emulators, micad, xen, own_cores, left_behind, faults }
    }
}

/// Those of the back ends that this node has. One that does not answer is told of elsewhere.
async fn own_cores(drivers: &[Arc<dyn Driver>], node: &Node) -> Vec<u32> {
    let mut cores = BTreeSet::new();
    for driver in drivers.iter().filter(|driver| driver.absent(node).is_none()) {
        if let Ok(Some(without_linux)) = driver.cores_without_linux(node).await {
            cores.extend(without_linux.iter());
        }
    }
    cores.into_iter().collect()
}
