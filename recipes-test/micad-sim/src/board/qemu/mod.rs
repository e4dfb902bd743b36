//! A board that is pretended: every guest is a QEMU, whatever its pedestal.
//!
//! Cores, cells, domains and the co-processor are only names here, but they behave as the real ones do: a core that
//! is on cannot be turned on, a domain that ends is gone, a dead guest's core is free.

mod machine;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread;
use std::time::Duration;

use micrun_image_spec::board::{BoardProfile, Boards};
use micrun_image_spec::firmware::Arch;

use self::machine::Machine;
use super::{Board, Boot, Failure, Guest, Trick, check_file};
use crate::pedestal::{Pedestal, Place};

/// How long the daemon waits for an answer to its call (mcs: `wait_cpu_status_reset`).
const CALL_LIMIT: Duration = Duration::from_millis(200);

/// The pretended board.
pub struct QemuBoard {
    boards: Boards,
    /// The profile that boots every firmware; none to choose by the firmware's architecture.
    board: Option<String>,
    /// How many cores there are; Linux has the first.
    cores: u32,
    places: BTreeMap<Place, Slot>,
    /// Places whose guest wrote down that it is off.
    off: BTreeSet<Place>,
}

/// What is at a place.
struct Slot {
    name: String,
    machine: Option<Machine>,
    deaf: bool,
    asked_off: bool,
    /// What the `xl` of a paused domain inherited.
    inherited: Vec<OwnedFd>,
}

impl QemuBoard {
    /// A board of so many cores.
    pub fn new(boards: Boards, board: Option<String>, cores: u32) -> QemuBoard {
        QemuBoard { boards, board, cores, places: BTreeMap::new(), off: BTreeSet::new() }
    }

    fn profile(&self, firmware: &Path) -> Result<&BoardProfile, Failure> {
        let name = match &self.board {
            Some(name) => name.as_str(),
            None => usual_board(firmware)?,
        };
        self.boards.get(name).ok_or_else(|| Failure::new(format!("there is no board {name}")))
    }

    /// Domains end with their guests; cores and cells stay.
    fn forget_ended_domains(&mut self) {
        self.places.retain(|place, slot| {
            !matches!(place, Place::Domain(_)) || slot.machine.as_ref().is_none_or(Machine::is_alive)
        });
    }

    fn alive(&self, place: &Place) -> bool {
        self.places.get(place).and_then(|slot| slot.machine.as_ref()).is_some_and(Machine::is_alive)
    }
}

impl Board for QemuBoard {
    fn offers(&self, _: Pedestal) -> Result<(), Failure> {
        Ok(())
    }

    fn prepare(&mut self, place: &Place, boot: &Boot, inherited: Vec<OwnedFd>) -> Result<(), Failure> {
        self.forget_ended_domains();
        if self.places.contains_key(place) {
            return Err(Failure::new(format!("{place} already exists")));
        }
        if matches!(place, Place::Domain(_)) {
            check_file(&boot.boot_image)?;
            // Seen with Xen 4.20 on arm64: xl fills all of maxmem, and has only memory to fill it with.
            if boot.max_memory > boot.memory {
                return Err(Failure::new("can't allocate low memory for domain: Out of memory"));
            }
        }
        self.off.remove(place);
        let mut slot = Slot::new(boot, None);
        if matches!(place, Place::Domain(_)) {
            slot.inherited = inherited;
        }
        self.places.insert(place.clone(), slot);
        Ok(())
    }

    fn answers(&mut self, place: &Place) -> bool {
        let Some(slot) = self.places.get(place).filter(|slot| !slot.asked_off) else { return false };
        let answers = !slot.deaf && self.alive(place);
        if !answers {
            thread::sleep(CALL_LIMIT);
        }
        answers
    }

    fn run(&mut self, place: &Place, boot: &Boot) -> Result<(), Failure> {
        match place {
            Place::Core(number) if *number == 0 || *number >= self.cores || self.alive(place) => {
                return Err(Failure::new(format!("boot client os on CPU{number} failed")));
            }
            Place::Domain(_) | Place::Cell(_) if !self.places.contains_key(place) => {
                return Err(Failure::new(format!("{place} does not exist")));
            }
            _ => {}
        }
        let profile = self.profile(&boot.firmware)?;
        let machine = Machine::start(profile, boot).map_err(|error| {
            Failure::new(format!("cannot start {}: {error}", profile.arch.qemu_program()))
        })?;
        self.off.remove(place);
        if let Some(Slot { inherited, .. }) = self.places.get_mut(place) {
            machine.hold_until_its_end(std::mem::take(inherited));
        }
        // What still ran on the co-processor is overwritten.
        self.places.insert(place.clone(), Slot::new(boot, Some(machine)));
        Ok(())
    }

    fn console(&mut self, place: &Place) -> Result<OwnedFd, Failure> {
        let machine = self.places.get(place).and_then(|slot| slot.machine.as_ref());
        let Some(machine) = machine else { return Err(Failure::new(format!("{place} has no guest"))) };
        let line = machine.line.try_clone();
        line.map(OwnedFd::from).map_err(|error| Failure::new(format!("the serial line of {place}: {error}")))
    }

    fn ask_off(&mut self, place: &Place) {
        let Some(slot) = self.places.get_mut(place) else { return };
        slot.asked_off = true;
        let deaf = slot.deaf;
        if let Some(machine) = slot.machine.as_ref().filter(|_| !deaf) {
            machine.end_soon();
        }
    }

    fn end(&mut self, place: &Place) -> Result<(), Failure> {
        self.forget_ended_domains();
        match place {
            Place::Domain(_) => {
                let removed = self.places.remove(place);
                removed.map(drop).ok_or_else(|| Failure::new(format!("{place} does not exist")))
            }
            _ => {
                if let Some(slot) = self.places.get_mut(place) {
                    slot.machine = None;
                }
                Ok(())
            }
        }
    }

    fn release(&mut self, place: &Place) {
        self.places.remove(place);
    }

    fn wrote_off(&mut self, place: &Place) -> bool {
        self.off.contains(place)
    }

    fn xl(&mut self, arguments: &[&str]) -> Result<(), Failure> {
        self.forget_ended_domains();
        let refused = |why: &str| Err(Failure::new(format!("xl {}: {why}", arguments.join(" "))));
        let (domain, value, pins) = match arguments {
            ["sched-credit2", "-d", domain, _, value] => (domain, value, false),
            ["vcpu-pin", domain, "all", value] => (domain, value, true),
            [_, domain, value] => (domain, value, false),
            _ => return refused("not understood"),
        };
        let digits = value.trim_end_matches('m');
        let fits = if pins { is_cpu_list(value, self.cores) } else { digits.parse::<u32>().is_ok() };
        match self.places.contains_key(&Place::Domain((*domain).to_owned())) {
            true if fits => Ok(()),
            true => refused("invalid value"),
            false => refused("no such domain"),
        }
    }

    fn guests(&mut self) -> Vec<Guest> {
        self.forget_ended_domains();
        let is_there = |place: &Place, slot: &Slot| match &slot.machine {
            Some(machine) => machine.is_alive(),
            None => matches!(place, Place::Domain(_)),
        };
        let slots = self.places.iter().filter(|(place, slot)| is_there(place, slot));
        slots
            .map(|(place, slot)| Guest {
                name: slot.name.clone(),
                place: place.clone(),
                pid: slot.machine.as_ref().map(Machine::pid),
            })
            .collect()
    }

    fn trick(&mut self, name: &str, trick: Trick) -> Result<(), Failure> {
        let found = self.places.iter_mut().find(|(_, slot)| slot.name == name && slot.machine.is_some());
        let Some((place, slot)) = found else {
            return Err(Failure::new(format!("there is no guest {name}")));
        };
        if trick == Trick::Off {
            self.off.insert(place.clone());
        }
        match (&slot.machine, trick) {
            (_, Trick::Deaf) => slot.deaf = true,
            (Some(machine), Trick::Die | Trick::Off) => machine.end(),
            (None, _) => {}
        }
        Ok(())
    }

    fn end_all(&mut self) {
        self.places.clear();
    }
}

impl Slot {
    fn new(boot: &Boot, machine: Option<Machine>) -> Slot {
        Slot { name: boot.name.clone(), machine, deaf: false, asked_off: false, inherited: Vec::new() }
    }
}

/// The built-in board that people mean by an architecture.
fn usual_board(firmware: &Path) -> Result<&'static str, Failure> {
    let mut head = [0; 20];
    File::open(firmware)
        .and_then(|mut file| file.read_exact(&mut head))
        .map_err(|error| Failure::new(format!("cannot read {}: {error}", firmware.display())))?;
    // ELF: the class at 4 (2 is 64 bits), e_machine at 18.
    match Arch::from_elf(u16::from_le_bytes([head[18], head[19]]), head[4] == 2) {
        Some(Arch::Aarch64) => Ok("qemu_arm64"),
        Some(Arch::Arm) => Ok("qemu_cortex_m3"),
        Some(Arch::Riscv64) => Ok("qemu-riscv64"),
        Some(Arch::Riscv32) => Ok("qemu_riscv32"),
        Some(Arch::X86) => Ok("qemu_x86"),
        other => Err(Failure::new(format!("no built-in board runs a firmware for {other:?}: name one"))),
    }
}

/// Whether xl would take this as CPUs of a machine with so many: `0-3,5`, `all`.
fn is_cpu_list(text: &str, cores: u32) -> bool {
    let known = |number: &str| number.parse::<u32>().ok().filter(|core| *core < cores);
    text == "all"
        || text.split(',').all(|part| match part.split_once('-') {
            Some((first, last)) => matches!((known(first), known(last)), (Some(a), Some(b)) if a <= b),
            None => known(part).is_some(),
        })
}
