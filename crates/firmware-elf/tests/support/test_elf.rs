//! ELF files made to order, for the tests of this crate and of the image builder, and for the fuzzers' corpus.

use std::path::Path;

pub const EXEC: u16 = 2;
pub const AARCH64: u16 = 183;
pub const ARM: u16 = 40;
pub const RISCV: u16 = 243;
pub const LOAD: u32 = 1;
pub const RX: u32 = 5;
pub const RWX: u32 = 7;

/// A program header to be written. Its contents are put behind the headers.
#[derive(Clone)]
pub struct Segment {
    pub kind: u32,
    pub flags: u32,
    pub vaddr: u64,
    pub paddr: u64,
    pub data: Vec<u8>,
    pub memsz: u64,
}

/// A section header to be written.
#[derive(Clone)]
pub struct Section {
    pub name: &'static str,
    pub kind: u32,
    pub flags: u64,
    pub data: Vec<u8>,
    pub link: u32,
    /// Its bytes are those of this segment, and `data` is left out.
    pub segment: Option<usize>,
}

/// A symbol to be written.
#[derive(Clone, Copy, Default)]
pub struct Symbol<'a> {
    pub name: &'a str,
    pub value: u64,
    pub size: u64,
    /// A variable, and not an absolute number.
    pub is_object: bool,
}

/// A little ELF file. What `new` makes is a good firmware; tests spoil it.
#[derive(Clone)]
pub struct TestElf {
    pub is_64_bit: bool,
    pub big_endian: bool,
    pub os_abi: u8,
    pub kind: u16,
    pub machine: u16,
    pub entry: u64,
    /// `e_flags`.
    pub flags: u32,
    /// The first segment begins with the ELF header, as in Linux programs.
    pub loads_headers: bool,
    pub segments: Vec<Segment>,
    pub sections: Vec<Section>,
}

impl Segment {
    pub fn load(address: u64, data: &[u8]) -> Self {
        let data = data.to_vec();
        Segment { kind: LOAD, flags: RX, vaddr: address, paddr: address, memsz: data.len() as u64, data }
    }

    pub fn of_kind(kind: u32, data: &[u8]) -> Self {
        Segment { kind, ..Segment::load(0, data) }
    }
}

impl Section {
    pub fn named(name: &'static str) -> Self {
        Section { name, kind: 1, flags: 2, data: vec![0; 4], link: 0, segment: None }
    }
}

impl TestElf {
    /// A good firmware for aarch64: 256 bytes at 0x40080000, and one section.
    pub fn new() -> Self {
        TestElf {
            is_64_bit: true,
            big_endian: false,
            os_abi: 0,
            kind: EXEC,
            machine: AARCH64,
            entry: 0x4008_0000,
            flags: 0,
            loads_headers: false,
            segments: vec![Segment::load(0x4008_0000, &[0x55; 256])],
            sections: vec![Section::named(".text")],
        }
    }

    /// The same for a 32-bit machine.
    pub fn new_32_bit(machine: u16, address: u64) -> Self {
        let segments = vec![Segment::load(address, &[0x55; 256])];
        TestElf { is_64_bit: false, machine, entry: address, segments, ..TestElf::new() }
    }

    pub fn with_segment(mut self, segment: Segment) -> Self {
        self.segments.push(segment);
        self
    }

    pub fn with_section(mut self, section: Section) -> Self {
        self.sections.push(section);
        self
    }

    /// Puts a text into the first segment.
    pub fn with_text(mut self, text: &str) -> Self {
        let segment = &mut self.segments[0];
        segment.data.extend_from_slice(text.as_bytes());
        segment.memsz = segment.data.len() as u64;
        self
    }

    /// Adds a symbol table with absolute symbols of these names.
    pub fn with_symbols(self, names: &[&str]) -> Self {
        let symbols: Vec<_> = names.iter().map(|name| Symbol { name, ..Symbol::default() }).collect();
        self.with_symbol_table(&symbols)
    }

    /// Adds a symbol table.
    pub fn with_symbol_table(mut self, table: &[Symbol<'_>]) -> Self {
        let mut strings = vec![0];
        let mut symbols = Writer { bytes: vec![0; if self.is_64_bit { 24 } else { 16 }], big_endian: false };
        for symbol in table {
            symbols.u32(strings.len() as u32);
            strings.extend_from_slice(symbol.name.as_bytes());
            strings.push(0);
            // Global; an object in section 1, or an absolute number.
            let kind = if symbol.is_object { [0x11, 0, 1, 0] } else { [0x10, 0, 0xf1, 0xff] };
            if self.is_64_bit {
                symbols.bytes.extend_from_slice(&kind);
            }
            symbols.word(symbol.value, self.is_64_bit);
            symbols.word(symbol.size, self.is_64_bit);
            if !self.is_64_bit {
                symbols.bytes.extend_from_slice(&kind);
            }
        }
        // The null section comes first, so the string table's index is one more than its place here.
        let link = self.sections.len() as u32 + 1;
        self.sections.push(Section { kind: 3, flags: 0, data: strings, ..Section::named(".strtab") });
        self.sections.push(Section {
            kind: 2,
            flags: 0,
            data: symbols.bytes,
            link,
            ..Section::named(".symtab")
        });
        self
    }

    /// Adds a resource table, loaded behind everything else.
    pub fn with_resource_table(mut self, table: &[u8]) -> Self {
        let segment = Segment { flags: 6, ..Segment::load(self.entry + 0x10_0000, table) };
        self.segments.push(segment);
        let segment = Some(self.segments.len() - 1);
        self.with_section(Section { segment, ..Section::named(".resource_table") })
    }

    pub fn without_sections(mut self) -> Self {
        self.sections.clear();
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let (header_size, segment_size) = if self.is_64_bit { (64, 56) } else { (52, 32) };
        let mut data_at = header_size + segment_size * self.segments.len();
        let mut out = Writer { bytes: Vec::new(), big_endian: self.big_endian };
        let mut data = Vec::new();
        let mut segments = Writer { bytes: Vec::new(), big_endian: self.big_endian };
        for (index, segment) in self.segments.iter().enumerate() {
            let skipped = if self.loads_headers && index == 0 { data_at } else { 0 };
            self.write_segment(&mut segments, segment, data_at - skipped, skipped);
            data.extend_from_slice(&segment.data);
            data_at += segment.data.len();
        }
        let sections_at = if self.sections.is_empty() { 0 } else { self.write_sections(&mut data, data_at) };
        let section_count = if self.sections.is_empty() { 0 } else { self.sections.len() as u16 + 2 };

        let class = if self.is_64_bit { 2 } else { 1 };
        let order = if self.big_endian { 2 } else { 1 };
        out.bytes.extend_from_slice(&[
            0x7f,
            b'E',
            b'L',
            b'F',
            class,
            order,
            1,
            self.os_abi,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
        ]);
        out.u16(self.kind);
        out.u16(self.machine);
        out.u32(1);
        out.word(self.entry, self.is_64_bit);
        out.word(header_size as u64, self.is_64_bit);
        out.word(sections_at as u64, self.is_64_bit);
        out.u32(self.flags);
        out.u16(header_size as u16);
        out.u16(segment_size as u16);
        out.u16(self.segments.len() as u16);
        out.u16(if self.is_64_bit { 64 } else { 40 });
        out.u16(section_count);
        out.u16(section_count.saturating_sub(1));
        [out.bytes, segments.bytes, data].concat()
    }

    fn write_segment(&self, out: &mut Writer, segment: &Segment, offset: usize, before: usize) {
        let (wide, before) = (self.is_64_bit, before as u64);
        let (filesz, memsz) = (segment.data.len() as u64 + before, segment.memsz + before);
        out.u32(segment.kind);
        if wide {
            out.u32(segment.flags);
        }
        for value in [offset as u64, segment.vaddr, segment.paddr, filesz, memsz] {
            out.word(value, wide);
        }
        if !wide {
            out.u32(segment.flags);
        }
        out.word(4, wide);
    }

    fn segment_offset(&self, index: usize) -> usize {
        let (header_size, segment_size) = if self.is_64_bit { (64, 56) } else { (52, 32) };
        let before: usize = self.segments[..index].iter().map(|segment| segment.data.len()).sum();
        header_size + segment_size * self.segments.len() + before
    }

    /// Puts section contents and headers behind the segments' data; gives the headers' offset.
    fn write_sections(&self, data: &mut Vec<u8>, data_at: usize) -> usize {
        let start = data_at - data.len();
        let mut names = vec![0];
        let mut headers =
            Writer { bytes: vec![0; if self.is_64_bit { 64 } else { 40 }], big_endian: self.big_endian };
        let names_section = Section { kind: 3, flags: 0, ..Section::named(".shstrtab") };
        for section in self.sections.iter().chain([&names_section]) {
            let name = names.len() as u32;
            names.extend_from_slice(section.name.as_bytes());
            names.push(0);
            let (contents, offset) = match section.segment {
                Some(index) => (&self.segments[index].data, self.segment_offset(index) as u64),
                None if section.name == ".shstrtab" => (&names, (start + data.len()) as u64),
                None => (&section.data, (start + data.len()) as u64),
            };
            let wide = self.is_64_bit;
            headers.u32(name);
            headers.u32(section.kind);
            for value in [section.flags, 0, offset, contents.len() as u64] {
                headers.word(value, wide);
            }
            headers.u32(section.link);
            headers.u32(0);
            headers.word(4, wide);
            headers.word(0, wide);
            if section.segment.is_none() {
                data.extend_from_slice(contents);
            }
        }
        let at = start + data.len();
        data.extend_from_slice(&headers.bytes);
        at
    }

    pub fn write_to(&self, path: &Path) {
        std::fs::write(path, self.bytes()).unwrap();
    }
}

struct Writer {
    bytes: Vec<u8>,
    big_endian: bool,
}

impl Writer {
    fn put(&mut self, value: u64, size: usize) {
        let bytes = value.to_le_bytes();
        if self.big_endian {
            self.bytes.extend(bytes[..size].iter().rev());
        } else {
            self.bytes.extend_from_slice(&bytes[..size]);
        }
    }

    fn u16(&mut self, value: u16) {
        self.put(value.into(), 2);
    }

    fn u32(&mut self, value: u32) {
        self.put(value.into(), 4);
    }

    fn word(&mut self, value: u64, wide: bool) {
        self.put(value, if wide { 8 } else { 4 });
    }
}

/// The build attributes of a Cortex-M program.
pub fn cortex_m_attributes() -> Section {
    let data = b"A\x11\0\0\0aeabi\0\x01\x09\0\0\0\x06\x0a\x07M".to_vec();
    Section { kind: 0x7000_0003, flags: 0, data, ..Section::named(".ARM.attributes") }
}

/// A resource table of these entries, each a list of words.
pub fn resource_table(entries: &[Vec<u32>]) -> Vec<u8> {
    let mut offset = 16 + 4 * entries.len() as u32;
    let mut words = vec![1, entries.len() as u32, 0, 0];
    for entry in entries {
        words.push(offset);
        offset += 4 * entry.len() as u32;
    }
    words.extend(entries.iter().flatten());
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// An RPMsg device with two vrings whose addresses the host chooses: what UniProton and Zephyr have.
pub fn rpmsg_device() -> Vec<u32> {
    const ANY: u32 = u32::MAX;
    vec![3, 7, 2, 1, 0, 0, 2 << 8, ANY, 4, 8, 0, 0, ANY, 4, 8, 1, 0]
}

/// A note as it stands in a PT_NOTE segment.
pub fn note(owner: &str, kind: u32, contents: &[u8]) -> Vec<u8> {
    let mut out = Writer { bytes: Vec::new(), big_endian: false };
    out.u32(owner.len() as u32 + 1);
    out.u32(contents.len() as u32);
    out.u32(kind);
    for part in [[owner.as_bytes(), b"\0"].concat(), contents.to_vec()] {
        out.bytes.extend_from_slice(&part);
        out.bytes.resize(out.bytes.len().next_multiple_of(4), 0);
    }
    out.bytes
}
