//! ELF files: everything that is done with one before it is packed.

use std::io;
use std::sync::LazyLock;

use micrun_image_builder::boot;
use micrun_image_builder::check::{Report, advise, examine, resource_table};
use micrun_image_builder::detect::{guess_board, identify, outside_memory};
use micrun_image_builder::elf::Elf;
use micrun_image_builder::elf::resource_table::{ForMicad, for_micad};
use micrun_image_builder::source::{self, ReadAt as _};
use micrun_image_spec::board::Boards;
use micrun_image_spec::firmware::Pedestal;

use super::check_findings;

static BOARDS: LazyLock<Boards> = LazyLock::new(Boards::builtin);

/// Most bytes of a boot image that are looked at: gaps in it are filled up.
const MAX_BOOT_IMAGE: u64 = 1 << 20;

/// Examines it, guesses what it is, and flattens it.
pub fn run(bytes: &[u8]) {
    let mut report = Report::default();
    if let Some(elf) = examine(&bytes, &mut report) {
        let unreadable = judge(&elf, &mut report);
        assert!(unreadable.is_ok(), "bytes in memory can be read: {unreadable:?}");
    }
    report.quote(&bytes);
    check_findings(&report);
}

fn judge(elf: &Elf<'_>, report: &mut Report) -> io::Result<()> {
    let identity = identify(elf)?;
    advise(elf, identity.as_ref(), report);
    let guess = guess_board(elf, identity.as_ref().map(|identity| &identity.rtos), &BOARDS);
    let board = guess.map(|guess| guess.board);
    if let Some(outside) = board.and_then(|board| outside_memory(elf, board)) {
        assert!(outside.size > 0);
    }
    for pedestal in Pedestal::ALL {
        resource_table(elf, Some(pedestal), board, report);
        match for_micad(elf.file(), pedestal) {
            Ok(ForMicad::Absent(why) | ForMicad::Broken(why)) => assert!(why.len() < 500, "{why}"),
            Ok(ForMicad::Ok) => {}
            Err(error) => panic!("it was read before: {error}"),
        }
    }
    for pedestal in [Pedestal::Xen, Pedestal::Hetero] {
        if let Some(image) = boot::make(elf, pedestal, report)? {
            assert!(image.load_address() <= image.memory_end());
            source::bytes(&image, 0, image.size().min(MAX_BOOT_IMAGE))?;
        }
    }
    Ok(())
}
