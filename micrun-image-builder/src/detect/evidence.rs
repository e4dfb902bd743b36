//! The traces that an operating system leaves in an ELF file, collected in one pass.

use std::collections::BTreeSet;

use memchr::memmem;

use crate::elf::Elf;

/// Everything that profiles match against.
pub(super) struct Traces<'a> {
    sections: BTreeSet<&'a [u8]>,
    /// Only the symbols that some profile asks for.
    symbols: BTreeSet<&'static str>,
    /// Has an absolute symbol that begins with `CONFIG_`.
    pub(super) has_config_symbols: bool,
    loaded: Vec<&'a [u8]>,
}

impl<'a> Traces<'a> {
    pub(super) fn collect(elf: &Elf<'a>) -> Self {
        let mut traces = Traces {
            sections: elf.sections.iter().map(|section| section.name).collect(),
            symbols: BTreeSet::new(),
            has_config_symbols: false,
            loaded: elf.loaded_bytes(),
        };
        let wanted: BTreeSet<&'static str> =
            super::rtos::PROFILES.iter().flat_map(|profile| profile.symbols).copied().collect();
        for symbol in elf.symbols() {
            let Ok(name) = std::str::from_utf8(symbol.name) else { continue };
            if let Some(&known) = wanted.get(name) {
                traces.symbols.insert(known);
            }
            traces.has_config_symbols |= symbol.absolute && name.starts_with("CONFIG_");
        }
        traces
    }

    pub(super) fn has_section(&self, name: &str) -> bool {
        self.sections.contains(name.as_bytes())
    }

    pub(super) fn has_symbol(&self, name: &str) -> bool {
        self.symbols.contains(name)
    }

    pub(super) fn has_string(&self, text: &str) -> bool {
        let finder = memmem::Finder::new(text);
        self.loaded.iter().any(|bytes| finder.find(bytes).is_some())
    }

    /// What follows each occurrence of a text in the loaded bytes, up to 64 bytes.
    pub(super) fn texts_after(&self, prefix: &'static str) -> impl Iterator<Item = &'a [u8]> {
        const WINDOW: usize = 64;
        self.loaded.iter().flat_map(move |&bytes| {
            memmem::find_iter(bytes, prefix).map(move |at| {
                let start = at + prefix.len();
                &bytes[start..bytes.len().min(start + WINDOW)]
            })
        })
    }
}
