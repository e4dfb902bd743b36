//! Firmware that is no ELF file: raw bytes and Intel HEX.

use micrun_image_builder::boot::raw::{Address, RawOptions, wrap};
use micrun_image_builder::check::{Report, examine};
use micrun_image_spec::firmware::Arch;

use super::check_findings;

/// Wraps it into an ELF file, once as it says itself and once at an address; what comes out has to be one.
pub fn run(bytes: &[u8]) {
    for (arch, load_address) in [(Arch::Arm, None), (Arch::Aarch64, Some(Address(0x4000_0000)))] {
        let options = RawOptions { arch: Some(arch), load_address, ..RawOptions::default() };
        let mut report = Report::default();
        let wrapped = wrap(&bytes, &options, &mut report);
        assert!(wrapped.is_ok(), "bytes in memory can be read");
        if let Some(elf) = wrapped.ok().flatten() {
            assert!(examine(&elf, &mut report).is_some(), "{report:?}");
        } else {
            assert!(report.has_errors() || report.iter().next().is_some());
        }
        check_findings(&report);
    }
}
