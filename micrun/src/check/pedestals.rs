//! What serves each pedestal on this node.

use std::sync::Arc;

use micrun_image_spec::firmware::Pedestal;
use serde::Serialize;

use super::emulators::Emulator;
use super::micad::{Micad, Presence};
use crate::pedestal::{Driver, Node, PlanError, micad, qemu};

/// A pedestal, and what runs its guests here.
#[derive(Clone, Debug, Serialize)]
pub struct Serving {
    /// The pedestal.
    pub pedestal: Pedestal,
    /// The driver that its guests get; `None` where there is none.
    pub driver: Option<&'static str>,
    /// What is lacking, for each driver that could serve it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lacking: Vec<Lacking>,
}

/// What a driver lacks.
#[derive(Clone, Debug, Serialize)]
pub struct Lacking {
    /// What is not there.
    pub fault: String,
    /// How to get it.
    pub remedy: String,
}

/// All pedestals. Of the drivers that serve one, the first that lacks nothing gets its guests.
pub fn all(drivers: &[Arc<dyn Driver>], node: &Node, emulators: &[Emulator], daemon: &Micad) -> Vec<Serving> {
    let lacks = |driver: &dyn Driver| absent(driver, node, emulators, daemon);
    Pedestal::ALL.map(|pedestal| serving(pedestal, drivers, &lacks)).into()
}

/// What a driver finds out itself, and what it would find out only with the first guest.
fn absent(driver: &dyn Driver, node: &Node, emulators: &[Emulator], daemon: &Micad) -> Option<PlanError> {
    if let Some(absent) = driver.absent(node) {
        return Some(absent);
    }
    let no_emulator = emulators.iter().all(|one| one.program.is_none());
    match driver.name() {
        qemu::NAME if no_emulator => Some(PlanError::new(
            "there is no QEMU system emulator on this node",
            "install those of the boards in use",
        )),
        micad::NAME if daemon.presence == Presence::Stale => {
            Some(PlanError::new("micad has left its sockets and does not run", "start it"))
        }
        _ => None,
    }
}

fn serving(
    pedestal: Pedestal,
    drivers: &[Arc<dyn Driver>],
    lacks: &dyn Fn(&dyn Driver) -> Option<PlanError>,
) -> Serving {
    let mut lacking = Vec::new();
    for driver in drivers.iter().filter(|driver| driver.serves(pedestal)) {
        match lacks(driver.as_ref()) {
            None => return Serving { pedestal, driver: Some(driver.name()), lacking: Vec::new() },
            Some(PlanError { fault, remedy }) => lacking.push(Lacking { fault, remedy }),
        }
    }
    if lacking.is_empty() {
        lacking.push(Lacking {
            fault: "this version has no driver for it".to_owned(),
            remedy: "use an image for another pedestal".to_owned(),
        });
    }
    Serving { pedestal, driver: None, lacking }
}
