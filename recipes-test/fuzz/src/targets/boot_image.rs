//! Boot images that the user made.

use micrun_image_builder::boot::check_given;
use micrun_image_builder::check::{Place, Report, examine};
use micrun_image_spec::firmware::Pedestal;

use super::check_findings;

/// The firmware to which they are said to belong.
const FIRMWARE: &[u8] = include_bytes!("../../corpus/elf/good.elf");

/// Judges the file for both pedestals that boot one.
pub fn run(bytes: &[u8]) {
    let place = Place::Option("--boot-image".to_owned());
    for pedestal in [Pedestal::Xen, Pedestal::Hetero] {
        let mut report = Report::default();
        let elf = examine(&FIRMWARE, &mut report);
        let checked = elf.map(|elf| check_given(&elf, pedestal, &bytes, &place, &mut report));
        assert!(matches!(checked, Some(Ok(()))), "bytes in memory can be read: {checked:?}");
        check_findings(&report);
    }
}
