//! Is there a resource table where one is needed, and does it ask for what hosts give?
//!
//! The rules are those of the hosts: Linux (drivers/remoteproc/remoteproc_core.c), OpenAMP (rsc_table_parser.c) and
//! micad (library/remoteproc, library/rpmsg_device of openEuler's mcs). What one of them needs and the others do not
//! is asked only on its pedestals.

use std::io;

use micrun_image_spec::board::BoardProfile;
use micrun_image_spec::firmware::Pedestal;

use super::{Code, Place, Report, shared_memory};
use crate::elf::resource_table::{
    self, Entry, EntryError, Resource, ResourceTable, SECTION, VIRTIO_ID_RPMSG, Vdev, Vring,
};
use crate::elf::{Elf, Section};

/// A broken table may have thousands of broken entries; these are enough to see what is wrong with it.
const MAX_FINDINGS: usize = 16;
/// Linux, RVDEV_NUM_VRINGS; RPMsg has one for each direction.
const MAX_VRINGS: usize = 2;
/// What micad gives to the table: a page of Linux, which on most nodes is this.
const PAGE: u64 = 4096;

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
    // Linker scripts of some vendors make the section also where nothing is put into it.
    let Some(section) = elf.sections.named(SECTION).filter(|section| section.size > 0) else {
        report_missing(elf, pedestal, report);
        return Ok(());
    };
    check_section(elf, section, pedestal, report);
    let contents = elf.section_bytes(SECTION, resource_table::MAX_BYTES)?.unwrap_or_default();
    match resource_table::decode(&contents) {
        Ok(table) => {
            let mut judge = Judge { section_at: section.offset, findings: 0, report };
            judge.table(&table);
            if let Some(pedestal) = pedestal.filter(|&pedestal| is_for_micad(pedestal)) {
                judge.for_micad(&table, pedestal);
            }
            shared_memory::check(elf, section.offset, &table, board, report)?;
        }
        Err(error) => report.add(
            Code::BadResourceTable,
            here(),
            format!("the resource table cannot be read: {error}"),
            "see that the section holds the table and nothing else, and that structures in it are packed",
        ),
    }
    Ok(())
}

/// The pedestals whose guests micad starts; Xen's it may.
fn is_for_micad(pedestal: Pedestal) -> bool {
    matches!(pedestal, Pedestal::Baremetal | Pedestal::Jailhouse | Pedestal::Hetero | Pedestal::Xen)
}

fn here() -> Option<Place> {
    Some(Place::Section(String::from_utf8_lossy(SECTION).into_owned()))
}

fn report_missing(elf: &Elf<'_>, pedestal: Option<Pedestal>, report: &mut Report) {
    let (code, consequence) = match pedestal {
        Some(Pedestal::Xen) => (Code::XenWithoutResourceTable, "which micad needs".to_owned()),
        Some(Pedestal::Remoteproc) => (Code::NoResourceTable, "so there is no console".to_owned()),
        Some(pedestal) if is_for_micad(pedestal) => {
            (Code::ResourceTableMissing, format!("which pedestal {pedestal} needs"))
        }
        _ => return,
    };
    let (message, remedy) = if elf.sections.is_empty() {
        (
            "without section headers there is no resource table",
            "give the file from before they were stripped: hosts find the table by its section's name",
        )
    } else {
        (
            "the firmware has no resource table",
            "build it with OpenAMP (Zephyr: CONFIG_OPENAMP and CONFIG_OPENAMP_RSC_TABLE), and keep the section \
             .resource_table in the linker script",
        )
    };
    report.add(code, None, format!("{message}, {consequence}"), remedy);
}

/// What concerns the section as a whole.
fn check_section(elf: &Elf<'_>, section: &Section, pedestal: Option<Pedestal>, report: &mut Report) {
    let loaded = elf.loads().any(|segment| {
        let start = section.offset.checked_sub(segment.offset);
        let rest = start.and_then(|start| segment.filesz.checked_sub(start));
        rest.is_some_and(|rest| section.file_size() <= rest)
    });
    if !loaded {
        report.add(
            Code::ResourceTableNotLoaded,
            here(),
            "the resource table is in no segment that is loaded",
            "make the section allocatable and put it into a segment of the linker script",
        );
    }
    let one_page = pedestal.filter(|&p| is_for_micad(p) && p != Pedestal::Baremetal);
    if let Some(pedestal) = one_page.filter(|_| section.size > PAGE) {
        report.add(
            Code::ResourceTableTooLarge,
            here(),
            format!(
                "the resource table has {} bytes, and on {pedestal} micad has {PAGE} for it",
                section.size
            ),
            "leave out resources that nobody uses",
        );
    }
}

struct Judge<'a> {
    section_at: u64,
    findings: usize,
    report: &'a mut Report,
}

impl Judge<'_> {
    /// Adds a finding about a place in the table.
    fn add(&mut self, code: Code, offset: u32, message: String, remedy: &str) {
        self.findings += 1;
        if self.findings <= MAX_FINDINGS {
            let place = Place::Offset(self.section_at.saturating_add(offset.into()));
            self.report.add(code, Some(place), message, remedy);
        }
    }

    fn table(&mut self, table: &ResourceTable) {
        if table.reserved != [0, 0] {
            let meaning = match table.reserved[0] {
                // PSCI function numbers, which micad writes there.
                0x8400_0002 => ": it says that the guest is off",
                0xc400_0003 => ": it says that the guest runs",
                _ => "",
            };
            let [first, second] = table.reserved;
            self.add(
                Code::ResourceReservedNotZero,
                8,
                format!("the table's reserved words are {first:#x} and {second:#x}{meaning}"),
                "give the file that the linker wrote, with zeros there",
            );
        }
        for broken in &table.broken {
            let code = match broken.error {
                EntryError::Overlaps { .. } => Code::ResourceOverlap,
                _ => Code::ResourceOutside,
            };
            let place = 16 + 4 * broken.index as u32;
            let message = format!("entry {} {}", broken.index, broken.error);
            self.add(code, place, message, "compute offsets with offsetof() from a packed structure");
        }
        for entry in &table.entries {
            self.entry(entry);
        }
    }

    fn entry(&mut self, entry: &Entry) {
        let name = format!("entry {} ({})", entry.index, entry.type_name());
        if !resource_table::is_known_type(entry.kind) {
            self.add(
                Code::UnknownResource,
                entry.offset,
                format!("entry {} has the type {}, which no host knows", entry.index, entry.kind),
                "use 0 to 3 for Linux's resources and 128 to 512 for your own",
            );
        }
        let reserved = match &entry.resource {
            Resource::Carveout(request) | Resource::Devmem(request) => request.reserved != 0,
            Resource::Trace { reserved, .. } => *reserved != 0,
            Resource::Vdev(vdev) => vdev.reserved != [0, 0],
            _ => false,
        };
        if reserved {
            self.add(
                Code::ResourceReservedNotZero,
                entry.offset,
                format!("{name} has something else than 0 in its reserved field"),
                "write 0 there; see that the structure is packed and that no field is missing",
            );
        }
        match &entry.resource {
            Resource::Carveout(carveout) if carveout.len == 0 => self.add(
                Code::EmptyCarveout,
                entry.offset,
                format!("{name} asks for 0 bytes"),
                "state how many bytes the firmware needs, or leave the entry out",
            ),
            Resource::Vdev(vdev) => self.vdev(vdev, &name, entry.offset),
            _ => {}
        }
    }

    fn vdev(&mut self, vdev: &Vdev, name: &str, offset: u32) {
        let count = vdev.vrings.len();
        let wrong = match vdev.id {
            VIRTIO_ID_RPMSG if count != MAX_VRINGS => Some("and RPMsg needs two"),
            _ if count > MAX_VRINGS => Some("and Linux takes two at most"),
            _ => None,
        };
        if let Some(reason) = wrong {
            self.add(
                Code::WrongVringCount,
                offset,
                format!("{name} has {count} vrings, {reason}"),
                "describe one vring for each direction, and state their number",
            );
        }
        for (index, vring) in vdev.vrings.iter().enumerate() {
            self.vring(vring, &format!("vring {index} of {name}"), offset);
        }
    }

    fn vring(&mut self, vring: &Vring, name: &str, offset: u32) {
        for (what, value) in [("number of buffers", vring.num), ("alignment", vring.align)] {
            if !value.is_power_of_two() {
                self.add(
                    Code::BadVring,
                    offset,
                    format!("{name} has {value} as its {what}, which is no power of two"),
                    "use what the firmware's virtio code uses, often 8 or 256 buffers, aligned to 16 or 4096",
                );
            }
        }
    }

    fn for_micad(&mut self, table: &ResourceTable, pedestal: Pedestal) {
        let vdev = table.entries.iter().find_map(|entry| match &entry.resource {
            Resource::Vdev(vdev) => Some((entry, vdev)),
            _ => None,
        });
        let Some((entry, vdev)) = vdev else {
            self.add(
                Code::NoRpmsgDevice,
                0,
                format!("the table has no virtio device, and on {pedestal} micad needs one for RPMsg"),
                "add an entry of type 3 with virtio id 7 and two vrings",
            );
            return;
        };
        if vdev.id != VIRTIO_ID_RPMSG {
            self.add(
                Code::NoRpmsgDevice,
                entry.offset,
                format!(
                    "the first virtio device has the id {}, and micad uses it for RPMsg, which is 7",
                    vdev.id
                ),
                "put the RPMsg device first",
            );
        }
        let told = table.entries.iter().any(|entry| matches!(entry.resource, Resource::VringOffsets { .. }));
        if pedestal == Pedestal::Xen && !told && vdev.vrings.iter().any(|vring| vring.da.is_none()) {
            self.add(
                Code::VringOffsetsMissing,
                entry.offset,
                "the host is to choose where the vrings lie, and the table has no entry of type 130 to tell it"
                    .to_owned(),
                "add an entry of type 130 with eight offsets, as mcs does for Xen",
            );
        }
    }
}
