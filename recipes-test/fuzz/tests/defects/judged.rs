//! Everything that can be said about a file without a command line.

use micrun_image_builder::boot::raw::{Address, RawOptions, wrap};
use micrun_image_builder::boot::{check_given, make};
use micrun_image_builder::check::{Code, Place, Report, Severity, advise, examine, resource_table};
use micrun_image_builder::detect::identify;
use micrun_image_builder::source::ReadAt;
use micrun_image_spec::board::Boards;
use micrun_image_spec::firmware::{Arch, Pedestal};

use crate::test_elf::TestElf;

/// The codes of the findings in a file of this folder of the corpus.
pub fn codes(file: &str, bytes: &[u8]) -> Vec<Code> {
    let mut report = Report::default();
    match file.split_once('/') {
        Some(("boot_image", _)) => boot_image(&bytes, &mut report),
        Some(("resource_table", _)) => {
            elf(&TestElf::new().with_resource_table(bytes).bytes(), &mut report);
        }
        Some(("raw_firmware", name)) => raw(name, &bytes, &mut report),
        _ => elf(&bytes, &mut report),
    }
    report.iter().map(|finding| finding.code).collect()
}

/// The errors in an ELF file, whatever it is for.
pub fn errors(bytes: &[u8]) -> Vec<Code> {
    let mut report = Report::default();
    examine(&bytes, &mut report);
    let errors = report.iter().filter(|finding| finding.severity == Severity::Error);
    errors.map(|finding| finding.code).collect()
}

fn elf(file: &dyn ReadAt, report: &mut Report) {
    let Some(elf) = examine(file, report) else { return };
    advise(&elf, identify(&elf).unwrap().as_ref(), report);
    let boards = Boards::builtin();
    for pedestal in Pedestal::ALL {
        resource_table(&elf, Some(pedestal), boards.get("qemu_arm64"), report);
        make(&elf, pedestal, report).unwrap();
    }
}

fn boot_image(file: &dyn ReadAt, report: &mut Report) {
    let firmware = TestElf::new().bytes();
    let elf = examine(&firmware, report).unwrap();
    let place = Place::Option("--boot-image".to_owned());
    for pedestal in [Pedestal::Xen, Pedestal::Hetero] {
        check_given(&elf, pedestal, file, &place, report).unwrap();
    }
}

/// Intel HEX says its addresses itself, raw bytes do not.
fn raw(name: &str, file: &dyn ReadAt, report: &mut Report) {
    let load_address = name.ends_with(".bin").then_some(Address(0xffff_ff00));
    let options = RawOptions { arch: Some(Arch::Arm), load_address, ..RawOptions::default() };
    wrap(file, &options, report).unwrap();
}
