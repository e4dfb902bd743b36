//! What can run a firmware, as far as its file tells. The node may still say no.

use std::io;

use micrun_image_spec::board::BoardProfile;
use micrun_image_spec::firmware::{Arch, Pedestal};
use serde::Serialize;

use crate::boot;
use crate::check::{self, Report, Severity};
use crate::elf::Elf;

/// Whether a pedestal can run it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PedestalFit {
    /// The pedestal.
    pub pedestal: Pedestal,
    /// False if the file itself stands against it.
    pub possible: bool,
    /// Why.
    pub because: String,
}

pub(super) fn fits(elf: &Elf<'_>, board: Option<&BoardProfile>) -> io::Result<Vec<PedestalFit>> {
    Pedestal::ALL.into_iter().map(|pedestal| fit(elf, pedestal, board)).collect()
}

fn fit(elf: &Elf<'_>, pedestal: Pedestal, board: Option<&BoardProfile>) -> io::Result<PedestalFit> {
    let fit = |possible, because: String| Ok(PedestalFit { pedestal, possible, because });
    if pedestal == Pedestal::Qemu {
        let board = board.filter(|board| board.arch == elf.arch && board.pedestals.contains(&pedestal));
        return match board {
            Some(board) => fit(true, format!("as board {board}")),
            None => fit(false, "no known board fits".to_owned()),
        };
    }
    if pedestal == Pedestal::Hetero && !matches!(elf.arch, Arch::Riscv32 | Arch::Riscv64) {
        return fit(false, "micad runs RISC-V cores there".to_owned());
    }
    let mut report = Report::default();
    check::resource_table(elf, Some(pedestal), None, &mut report);
    boot::make(elf, pedestal, &mut report)?;
    match report.iter().max_by_key(|finding| finding.severity) {
        Some(worst) if worst.severity == Severity::Error => fit(false, worst.message.clone()),
        Some(worst) => fit(true, format!("but {}", worst.message)),
        None => fit(true, "with its resource table".to_owned()),
    }
}
