//! What a firmware brings for a debugger.

use std::io;

use micrun_image_spec::text::hex;
use serde::Serialize;

use crate::check::debug_info_size;
use crate::elf::Elf;

/// Debug information, symbols and the build's identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DebugInfo {
    /// Bytes of debug sections; 0 without any.
    pub size: u64,
    /// The version of DWARF; None where it cannot be told.
    pub dwarf: Option<u16>,
    /// Number of symbols.
    pub symbols: u64,
    /// The build ID, in hexadecimal digits.
    pub build_id: Option<String>,
}

pub(super) fn read(elf: &Elf<'_>, symbols: u64) -> io::Result<DebugInfo> {
    // The first unit's header: its length, 4 bytes or 12 where they begin with all ones, then the version.
    let header = elf.section_bytes(b".debug_info", 14)?.unwrap_or_default();
    let version_at = if header.starts_with(&[0xff; 4]) { 12 } else { 4 };
    let version = header.get(version_at..).and_then(|rest| rest.first_chunk()).copied();
    let build_id = elf.build_id()?.filter(|id| !id.is_empty());
    Ok(DebugInfo {
        size: debug_info_size(elf),
        // A compressed section begins with something else.
        dwarf: version.map(u16::from_le_bytes).filter(|version| (2..=5).contains(version)),
        symbols,
        build_id: build_id.map(|id| hex(&id)),
    })
}
