//! Firmware that does not come as an ELF file: raw binaries (`.bin`) and Intel HEX. With what they do not say, given by
//! the user, they are wrapped into an ELF file of our own, and everything after that is as usual.
//!
//! A raw binary stays in its file and is read while the image is written. Intel HEX is decoded into memory, up to
//! [`hex::MAX_DATA`].

use std::fmt;
use std::io::{self, BufReader};
use std::str::FromStr;

use goblin::elf::header::ELFMAG;
use micrun_image_spec::firmware::Arch;
use micrun_image_spec::text::excerpt;

mod elf_file;
pub mod hex;

pub use elf_file::WrappedElf;

use super::arm64::{HEADER_SIZE, ImageHeader};
use super::xen;
use crate::check::{Code, Foreign, Place, Report};
use crate::source::{self, ReadAt};
use elf_file::{Data, MAX_RANGES, address_end};

/// What the user says about firmware that is no ELF file.
#[derive(Debug, Clone, Default)]
pub struct RawOptions {
    /// Where the first byte is loaded.
    pub load_address: Option<Address>,
    /// The instruction set.
    pub arch: Option<Arch>,
    /// Where the program begins.
    pub entry: Option<Address>,
}

impl RawOptions {
    /// The first option that was given.
    pub fn first_given(&self) -> Option<&'static str> {
        let given = [
            (self.load_address.is_some(), "--load-address"),
            (self.arch.is_some(), "--arch"),
            (self.entry.is_some(), "--entry"),
        ];
        given.into_iter().find(|(is_given, _)| *is_given).map(|(_, option)| option)
    }
}

/// An address as people write it: `0x40000000` or decimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address(pub u64);

/// A text that is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no address: write it like 0x40000000")]
pub struct BadAddress(String);

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(digits) => (digits, 16),
            None => (text, 10),
        };
        let digits = Some(digits).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let value = digits.and_then(|digits| u64::from_str_radix(digits, radix).ok());
        value.map(Address).ok_or_else(|| BadAddress(excerpt(text)))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// Data at addresses.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// In order of address, with a gap between any two.
    pub ranges: Vec<Range>,
    /// The data of all ranges, one after the other.
    pub data: Vec<u8>,
}

/// Data without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Where the first byte is loaded.
    pub address: u64,
    /// Number of bytes.
    pub len: u64,
}

impl Contents {
    /// The first address behind all data.
    fn end(&self) -> Option<u64> {
        self.ranges.last().map(|range| range.address + range.len)
    }

    /// Adds a range at the end or behind it.
    fn push_range(&mut self, address: u64, len: u64) {
        match self.ranges.last_mut() {
            Some(last) if last.address + last.len == address => last.len += len,
            _ => self.ranges.push(Range { address, len }),
        }
    }
}

/// Wraps firmware that is no ELF file, if the user says what it is. None for ELF files, for files of which nothing is
/// said, and where wrapping fails; then the report says why.
///
/// # Errors
/// If the file cannot be read.
pub fn wrap<'a>(
    file: &'a dyn ReadAt,
    options: &RawOptions,
    report: &mut Report,
) -> io::Result<Option<WrappedElf<'a>>> {
    let Some(option) = options.first_given() else { return Ok(None) };
    let beginning = source::bytes(file, 0, HEADER_SIZE)?;
    if beginning.starts_with(ELFMAG) {
        report.add(
            Code::RawOptionNotUsed,
            Some(Place::Option(option.to_owned())),
            format!("{option} is for raw firmware, and this is an ELF file, which says itself what it is"),
            format!("leave {option} out"),
        );
        return Ok(None);
    }
    if beginning.is_empty() {
        report.add(
            Code::EmptyFile,
            None,
            "the file is empty",
            "build the firmware again; objcopy may have failed",
        );
        return Ok(None);
    }
    match Foreign::of(&beginning) {
        Some(Foreign::IntelHex) => wrap_hex(file, options, report),
        Some(foreign) => {
            report.add(
                Code::NotRaw,
                Some(Place::Offset(0)),
                format!("{option} is for raw binaries and Intel HEX, and this is {}", foreign.name()),
                "give the ELF file that it was made from, or make a raw binary of it with objcopy -O binary",
            );
            Ok(None)
        }
        None => wrap_binary(file, &beginning, options, report),
    }
}

fn wrap_binary<'a>(
    file: &'a dyn ReadAt,
    beginning: &[u8],
    options: &RawOptions,
    report: &mut Report,
) -> io::Result<Option<WrappedElf<'a>>> {
    let (Some(Address(address)), Some(arch)) = (options.load_address, options.arch) else {
        report_missing(options, beginning, report);
        return Ok(None);
    };
    let range = Range { address, len: file.size() };
    let entry = entry(options, None, arch, range, beginning);
    Ok(finish(arch, entry, &[range], Data::File(file), report))
}

fn wrap_hex<'a>(
    file: &'a dyn ReadAt,
    options: &RawOptions,
    report: &mut Report,
) -> io::Result<Option<WrappedElf<'a>>> {
    if options.load_address.is_some() {
        report.add(
            Code::RawOptionNotUsed,
            Some(Place::Option("--load-address".to_owned())),
            "an Intel HEX file says itself where it is loaded",
            "leave --load-address out; objcopy --change-addresses moves the file's contents",
        );
        return Ok(None);
    }
    let Some(arch) = options.arch else {
        report_missing(options, b":", report);
        return Ok(None);
    };
    let read = hex::parse(BufReader::new(source::reader(file, 0..file.size())));
    let hex::HexFile { contents, entry: stated } = match read {
        Ok(hex) => hex,
        Err(hex::HexError::Io(error)) => return Err(error),
        Err(error) => {
            let remedy =
                "make the file again with: objcopy -O ihex FIRMWARE.elf; or pack the ELF file itself";
            report.add(Code::BadHexFile, None, format!("the Intel HEX file cannot be read: {error}"), remedy);
            return Ok(None);
        }
    };
    let entry = entry(options, stated, arch, contents.ranges[0], &contents.data);
    Ok(finish(arch, entry, &contents.ranges, Data::Memory(contents.data), report))
}

fn finish<'a>(
    arch: Arch,
    entry: u64,
    ranges: &[Range],
    data: Data<'a>,
    report: &mut Report,
) -> Option<WrappedElf<'a>> {
    if !check_ranges(ranges, arch, entry, report) {
        return None;
    }
    let first = ranges.first()?.address;
    let segments =
        if ranges.len() == 1 { "1 segment".to_owned() } else { format!("{} segments", ranges.len()) };
    report.add(
        Code::Wrapped,
        None,
        format!("raw firmware for {arch} became an ELF file: {segments} from {first:#x} on, entry point {entry:#x}"),
        "nothing, if that is right; --entry sets the entry point",
    );
    Some(WrappedElf::new(arch, entry, ranges, data))
}

/// Where the program begins: where the user or the file says, at the reset vector of a Cortex-M program, or at the
/// first byte.
fn entry(options: &RawOptions, stated: Option<u64>, arch: Arch, first: Range, beginning: &[u8]) -> u64 {
    let given = options.entry.map(|Address(entry)| entry);
    let vector = || reset_vector(beginning, first).filter(|_| arch == Arch::Arm);
    // A Cortex-M core begins at its reset vector, whatever the file states.
    given.or_else(vector).or(stated).unwrap_or(first.address)
}

/// The second word of a Cortex-M vector table (Armv7-M ARM, B1.5.3): an odd address inside the program. The first is the
/// initial stack pointer, a multiple of 4 in the SRAM region or above.
fn reset_vector(beginning: &[u8], first: Range) -> Option<u64> {
    const SRAM: u32 = 0x1000_0000;
    let word = |at: usize| beginning.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
    let (stack, reset) = (word(0)?, word(4)?);
    let inside = u64::from(reset & !1).checked_sub(first.address).is_some_and(|at| at < first.len);
    (stack >= SRAM && stack.is_multiple_of(4) && reset & 1 == 1 && inside).then_some(reset.into())
}

/// True if an ELF file of the architecture can say this.
fn check_ranges(ranges: &[Range], arch: Arch, entry: u64, report: &mut Report) -> bool {
    let end = ranges.last().map_or(0, |range| u128::from(range.address) + u128::from(range.len));
    let limit = address_end(arch);
    let message = if end > limit || u128::from(entry) >= limit {
        format!(
            "the firmware would take addresses up to {end:#x}, and begin at {entry:#x}: too high for {arch}"
        )
    } else if !ranges.iter().any(|range| entry >= range.address && entry - range.address < range.len) {
        format!("the firmware would begin at {entry:#x}, where it has nothing")
    } else if ranges.len() > MAX_RANGES {
        format!(
            "the data lie in {} separate pieces, and an ELF file has {MAX_RANGES} segments at most",
            ranges.len()
        )
    } else {
        return true;
    };
    report.add(
        Code::BadRawAddress,
        None,
        message,
        "check --load-address, --entry and --arch, or pack the ELF file",
    );
    false
}

fn report_missing(options: &RawOptions, beginning: &[u8], report: &mut Report) {
    let is_hex = beginning.first() == Some(&b':');
    let missing = match (options.arch, options.load_address) {
        (None, None) if !is_hex => "--arch and --load-address are",
        (None, _) => "--arch is",
        _ => "--load-address is",
    };
    let remedy = match ImageHeader::parse(beginning) {
        Some(header) => format!(
            "for an arm64 Image: --arch aarch64 --load-address {:#x}, which is where Xen loads this one; \
             better pack the ELF file that it was made from",
            xen::MEMORY.start.saturating_add(header.text_offset)
        ),
        None => "add it; or pack the ELF file that the raw one was made from, which says all this: \
                 build/zephyr/zephyr.elf of Zephyr, else what the linker wrote before objcopy"
            .to_owned(),
    };
    report.add(
        Code::RawFactsMissing,
        None,
        format!(
            "raw firmware does not say for which machine it is, or where it is loaded: {missing} missing"
        ),
        remedy,
    );
}
