//! Does a table ask for what hosts give?
//!
//! The rules are those of the hosts: Linux (drivers/remoteproc/remoteproc_core.c), OpenAMP (rsc_table_parser.c) and
//! micad (library/remoteproc, library/rpmsg_device of openEuler's mcs). What one of them needs and the others do not
//! is asked only on its pedestals.

use micrun_image_spec::firmware::Pedestal;

use super::{
    Entry, EntryError, Located, Resource, ResourceTable, VIRTIO_ID_RPMSG, Vdev, Vring, is_known_type,
};

/// A broken table may have thousands of broken entries; these are enough to see what is wrong with it.
const MAX_FAULTS: usize = 16;
/// Linux, RVDEV_NUM_VRINGS; RPMsg has one for each direction.
const MAX_VRINGS: usize = 2;
/// What micad gives to the table: a page of Linux, which on most nodes is this.
const PAGE: u64 = 4096;

/// What a host asks of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// It is in a segment that is loaded.
    Loaded,
    /// It fits into a page of shared memory.
    OnePage,
    /// Header and offsets can be read.
    Readable,
    /// Reserved fields are zero.
    ReservedZero,
    /// Entries lie in the table.
    Inside,
    /// Entries do not overlap.
    Apart,
    /// Types are known.
    KnownType,
    /// A virtio device has as many vrings as it should.
    VringCount,
    /// Sizes and alignments of vrings are powers of two.
    VringShape,
    /// A carveout has a length.
    CarveoutLength,
    /// The first virtio device is RPMsg's.
    RpmsgDevice,
    /// On Xen the guest is told where the vrings are.
    VringOffsets,
}

/// A rule that a table breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which.
    pub rule: Rule,
    /// Where, as an offset in the file; none for the section as a whole.
    pub at: Option<u64>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: &'static str,
}

/// The pedestals whose guests micad starts; Xen's it may.
pub fn is_for_micad(pedestal: Pedestal) -> bool {
    matches!(pedestal, Pedestal::Baremetal | Pedestal::Jailhouse | Pedestal::Hetero | Pedestal::Xen)
}

impl Located {
    /// What is wrong with the table on a pedestal, or on any; of its contents the first 16 faults.
    pub fn faults(&self, pedestal: Option<Pedestal>) -> Vec<Fault> {
        let pedestal = pedestal.filter(|&pedestal| is_for_micad(pedestal));
        let mut faults = Vec::new();
        self.section(pedestal, &mut faults);
        match &self.contents {
            Ok(table) => {
                let mut judge = Judge { table_at: self.offset, left: MAX_FAULTS, faults };
                judge.table(table);
                if let Some(pedestal) = pedestal {
                    judge.for_micad(table, pedestal);
                }
                judge.faults
            }
            Err(error) => {
                faults.push(Fault {
                    rule: Rule::Readable,
                    at: None,
                    message: format!("the resource table cannot be read: {error}"),
                    remedy: "see that the section holds the table and nothing else, and that structures in it are packed",
                });
                faults
            }
        }
    }

    /// What concerns the section as a whole.
    fn section(&self, pedestal: Option<Pedestal>, faults: &mut Vec<Fault>) {
        if !self.loaded {
            faults.push(Fault {
                rule: Rule::Loaded,
                at: None,
                message: "the resource table is in no segment that is loaded".to_owned(),
                remedy: "make the section allocatable and put it into a segment of the linker script",
            });
        }
        let one_page = pedestal.filter(|&pedestal| pedestal != Pedestal::Baremetal);
        if let Some(pedestal) = one_page.filter(|_| self.size > PAGE) {
            let size = self.size;
            faults.push(Fault {
                rule: Rule::OnePage,
                at: None,
                message: format!(
                    "the resource table has {size} bytes, and on {pedestal} micad has {PAGE} for it"
                ),
                remedy: "leave out resources that nobody uses",
            });
        }
    }
}

struct Judge {
    table_at: u64,
    /// Faults that may still be told.
    left: usize,
    faults: Vec<Fault>,
}

impl Judge {
    /// Adds a fault at a place in the table.
    fn add(&mut self, rule: Rule, offset: u32, message: String, remedy: &'static str) {
        if self.left > 0 {
            self.left -= 1;
            let at = Some(self.table_at.saturating_add(offset.into()));
            self.faults.push(Fault { rule, at, message, remedy });
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
                Rule::ReservedZero,
                8,
                format!("the table's reserved words are {first:#x} and {second:#x}{meaning}"),
                "give the file that the linker wrote, with zeros there",
            );
        }
        for broken in &table.broken {
            let rule = match broken.error {
                EntryError::Overlaps { .. } => Rule::Apart,
                _ => Rule::Inside,
            };
            let place = 16 + 4 * broken.index as u32;
            let message = format!("entry {} {}", broken.index, broken.error);
            self.add(rule, place, message, "compute offsets with offsetof() from a packed structure");
        }
        for entry in &table.entries {
            self.entry(entry);
        }
    }

    fn entry(&mut self, entry: &Entry) {
        let name = format!("entry {} ({})", entry.index, entry.type_name());
        if !is_known_type(entry.kind) {
            self.add(
                Rule::KnownType,
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
                Rule::ReservedZero,
                entry.offset,
                format!("{name} has something else than 0 in its reserved field"),
                "write 0 there; see that the structure is packed and that no field is missing",
            );
        }
        match &entry.resource {
            Resource::Carveout(carveout) if carveout.len == 0 => self.add(
                Rule::CarveoutLength,
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
                Rule::VringCount,
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
                    Rule::VringShape,
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
                Rule::RpmsgDevice,
                0,
                format!("the table has no virtio device, and on {pedestal} micad needs one for RPMsg"),
                "add an entry of type 3 with virtio id 7 and two vrings",
            );
            return;
        };
        if vdev.id != VIRTIO_ID_RPMSG {
            self.add(
                Rule::RpmsgDevice,
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
                Rule::VringOffsets,
                entry.offset,
                "the host is to choose where the vrings lie, and the table has no entry of type 130 to tell it"
                    .to_owned(),
                "add an entry of type 130 with eight offsets, as mcs does for Xen",
            );
        }
    }
}
