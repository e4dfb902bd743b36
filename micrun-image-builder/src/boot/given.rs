//! A boot image that was not made here: can the pedestal boot it, and does it fit the ELF?

use std::io;

use micrun_image_spec::firmware::Pedestal;

use super::arm64::{HEADER_SIZE, ImageHeader};
use super::flat::FlatImage;
use super::xen;
use crate::check::{Code, Foreign, Place, Report};
use crate::elf::Elf;
use crate::source::{self, ReadAt};

/// Checks a boot image, given with `--boot-image` or found in an image. What is wrong with it goes into the report, with
/// `place`.
///
/// # Errors
/// If the file or the firmware cannot be read.
pub fn check_given(
    elf: &Elf<'_>,
    pedestal: Pedestal,
    given: &dyn ReadAt,
    place: &Place,
    report: &mut Report,
) -> io::Result<()> {
    if !pedestal.boots_raw_image() {
        report.add(
            Code::NoBootImageWanted,
            Some(place.clone()),
            format!("pedestal {pedestal} boots the ELF file itself"),
            "leave --boot-image out, or choose --pedestal xen or --pedestal hetero",
        );
        return Ok(());
    }
    let beginning = source::bytes(given, 0, HEADER_SIZE)?;
    if let Some((message, remedy)) = no_boot_image(&beginning) {
        report.add(Code::BadBootImage, Some(place.clone()), message, remedy);
        return Ok(());
    }
    let load_address = match pedestal {
        Pedestal::Xen => xen_load_address(elf, &beginning, given.size(), place, report),
        _ => Some(elf.entry_address()),
    };
    // Without segments to compare with, other findings say so.
    let (Some(load_address), Ok(flat)) = (load_address, FlatImage::new(elf.file(), elf.loads())) else {
        return Ok(());
    };
    // In an image of position-independent firmware the relocations may have been applied.
    if xen::is_movable(elf) {
        return Ok(());
    }
    if let Some(address) = first_difference(given, load_address, &flat)? {
        report.add(
            Code::BootImageDiffers,
            Some(place.clone()),
            format!("at {address:#x} the boot image has other contents than the ELF file"),
            "see that both come from the same build; a debugger would show the wrong source lines",
        );
    }
    Ok(())
}

/// Where Xen loads an image that begins like this. None if it does not; then the report says why.
fn xen_load_address(
    elf: &Elf<'_>,
    beginning: &[u8],
    size: u64,
    place: &Place,
    report: &mut Report,
) -> Option<u64> {
    if !xen::check_architecture(elf, report) {
        return None;
    }
    let Some(header) = ImageHeader::parse(beginning) else {
        report.add(
            Code::NoImageHeader,
            Some(place.clone()),
            "the boot image has no arm64 Image header: the magic ARM\\x64 is not at offset 0x38",
            "leave --boot-image out, and the builder makes one from the ELF; or put the header in front of the code",
        );
        return None;
    };
    xen::check_header(&header, size, Some(place), report)
}

/// What is certainly no boot image, and what to give instead.
fn no_boot_image(beginning: &[u8]) -> Option<(&'static str, &'static str)> {
    match beginning {
        [] => Some(("the boot image is empty", "make it again; objcopy may have failed")),
        [0x7f, b'E', b'L', b'F', ..] => Some((
            "the boot image is an ELF file, and the pedestal boots raw bytes",
            "leave --boot-image out, and the builder makes it from the ELF; or: objcopy -O binary FIRMWARE.elf image.bin",
        )),
        _ => Foreign::of(beginning).map(not_raw),
    }
}

fn not_raw(foreign: Foreign) -> (&'static str, &'static str) {
    match foreign {
        Foreign::IntelHex => (
            "the boot image is Intel HEX, and the pedestal boots raw bytes",
            "leave --boot-image out, and the builder makes it from the ELF; or: objcopy -I ihex -O binary image.hex image.bin",
        ),
        Foreign::SRecords => (
            "the boot image is S-records, and the pedestal boots raw bytes",
            "leave --boot-image out, and the builder makes it from the ELF; or: objcopy -I srec -O binary image.srec image.bin",
        ),
        Foreign::Uf2 => (
            "the boot image is UF2, and the pedestal boots raw bytes",
            "leave --boot-image out, and the builder makes it from the ELF",
        ),
        Foreign::Archive => (
            "the boot image is a library, and the pedestal boots raw bytes",
            "leave --boot-image out, and the builder makes it from the ELF",
        ),
        Foreign::Gzip => ("the boot image is compressed with gzip", "unpack it first"),
    }
}

/// The first address at which the given image, which lies at `load_address`, is not what the firmware's segments put
/// there. Zeros at the end may be missing.
fn first_difference(given: &dyn ReadAt, load_address: u64, flat: &FlatImage<'_>) -> io::Result<Option<u64>> {
    const PIECE: usize = 64 << 10;
    let Some(before) = flat.address().checked_sub(load_address) else { return Ok(Some(flat.address())) };
    let (mut ours, mut at) = (vec![0; PIECE], 0);
    loop {
        let n = flat.read_at(at, &mut ours)?;
        if n == 0 {
            return Ok(None);
        }
        let ours = &ours[..n];
        let mut theirs = source::bytes(given, before.saturating_add(at), n as u64)?;
        theirs.resize(n, 0);
        if let Some(place) = ours.iter().zip(&theirs).position(|(a, b)| a != b) {
            return Ok(Some(flat.address() + at + place as u64));
        }
        at += n as u64;
    }
}
