//! Is there a resource table where one is needed, and does it ask for what hosts give?
//!
//! The rules are in [`crate::elf::resource_table`], since the shim keeps to them as well. Here they get their codes.

use std::io;

use micrun_image_spec::board::BoardProfile;
use micrun_image_spec::firmware::Pedestal;

use super::{Code, Place, Report, shared_memory};
use crate::elf::Elf;
use crate::elf::resource_table::{Missing, Rule, SECTION, is_for_micad};

/// Judges the resource table for a pedestal, or for none in particular, and for a board's memory.
pub fn resource_table(
    elf: &Elf<'_>,
    pedestal: Option<Pedestal>,
    board: Option<&BoardProfile>,
    report: &mut Report,
) {
    if let Err(error) = check(elf, pedestal, board, report) {
        super::unreadable(&error, report);
    }
}

fn check(
    elf: &Elf<'_>,
    pedestal: Option<Pedestal>,
    board: Option<&BoardProfile>,
    report: &mut Report,
) -> io::Result<()> {
    let located = match elf.resource_table()? {
        Ok(located) => located,
        Err(missing) => {
            report_missing(missing, pedestal, report);
            return Ok(());
        }
    };
    for fault in located.faults(pedestal) {
        let place = fault.at.map_or_else(section, Place::Offset);
        report.add(code(fault.rule), Some(place), fault.message, fault.remedy);
    }
    match &located.contents {
        Ok(table) => shared_memory::check(elf, located.offset, table, board, report),
        Err(_) => Ok(()),
    }
}

fn section() -> Place {
    Place::Section(String::from_utf8_lossy(SECTION).into_owned())
}

fn code(rule: Rule) -> Code {
    match rule {
        Rule::Loaded => Code::ResourceTableNotLoaded,
        Rule::OnePage => Code::ResourceTableTooLarge,
        Rule::Readable => Code::BadResourceTable,
        Rule::ReservedZero => Code::ResourceReservedNotZero,
        Rule::Inside => Code::ResourceOutside,
        Rule::Apart => Code::ResourceOverlap,
        Rule::KnownType => Code::UnknownResource,
        Rule::VringCount => Code::WrongVringCount,
        Rule::VringShape => Code::BadVring,
        Rule::CarveoutLength => Code::EmptyCarveout,
        Rule::RpmsgDevice => Code::NoRpmsgDevice,
        Rule::VringOffsets => Code::VringOffsetsMissing,
    }
}

fn report_missing(missing: Missing, pedestal: Option<Pedestal>, report: &mut Report) {
    let (code, consequence) = match pedestal {
        Some(Pedestal::Xen) => (Code::XenWithoutResourceTable, "which micad needs".to_owned()),
        Some(Pedestal::Remoteproc) => (Code::NoResourceTable, "so there is no console".to_owned()),
        Some(pedestal) if is_for_micad(pedestal) => {
            (Code::ResourceTableMissing, format!("which pedestal {pedestal} needs"))
        }
        _ => return,
    };
    report.add(code, None, format!("{}, {consequence}", missing.message), missing.remedy);
}
