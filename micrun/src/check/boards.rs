//! The boards of this node.

use micrun_image_spec::board::BoardProfile;
use micrun_image_spec::firmware::Pedestal;
use serde::Serialize;

use super::emulators::Emulator;
use super::pedestals::Serving;
use crate::pedestal::Node;

/// A board, and where firmware for it can run.
#[derive(Clone, Debug, Serialize)]
pub struct Usable {
    /// The board.
    pub name: String,
    /// `built in`, or the file that it is read from.
    pub origin: String,
    /// Its pedestals that this node has.
    pub usable_on: Vec<Pedestal>,
    /// Why it cannot be used on the others, one sentence for each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lacking: Vec<String>,
}

/// All boards, by name.
pub fn all(node: &Node, pedestals: &[Serving], emulators: &[Emulator]) -> Vec<Usable> {
    let usable = |(board, origin): (&BoardProfile, _)| {
        let mut usable_on = Vec::new();
        let mut lacking = Vec::new();
        for pedestal in &board.pedestals {
            match lacks(board, *pedestal, pedestals, emulators) {
                None => usable_on.push(*pedestal),
                Some(why) => lacking.push(why),
            }
        }
        Usable { name: board.name.to_string(), origin: format!("{origin}"), usable_on, lacking }
    };
    node.boards.iter().map(usable).collect()
}

fn lacks(
    board: &BoardProfile,
    pedestal: Pedestal,
    pedestals: &[Serving],
    emulators: &[Emulator],
) -> Option<String> {
    if pedestals.iter().any(|serving| serving.pedestal == pedestal && serving.driver.is_none()) {
        return Some(format!("nothing serves the pedestal {pedestal} here"));
    }
    let needed = emulators.iter().find(|emulator| emulator.arch == board.arch)?;
    (pedestal == Pedestal::Qemu && needed.program.is_none())
        .then(|| format!("{} is missing: install {}", needed.name, needed.package))
}
