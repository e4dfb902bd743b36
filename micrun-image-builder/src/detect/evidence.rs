//! The traces that an operating system leaves in an ELF file, collected in one pass over each part.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::ControlFlow;

use aho_corasick::{AhoCorasick, MatchKind};

use super::rtos::PROFILES;
use crate::elf::Elf;
use crate::source;

/// Bytes behind a text that are kept, to find a version in them.
const BEHIND: usize = 64;
/// Places of one text that are kept. It may occur in a help text too; a handful is enough to find the real one.
const MAX_PLACES: usize = 16;

/// Everything that profiles match against.
pub(super) struct Traces {
    sections: BTreeSet<Vec<u8>>,
    /// Only the symbols that some profile asks for.
    symbols: BTreeSet<&'static str>,
    /// Has an absolute symbol that begins with `CONFIG_`.
    pub(super) has_config_symbols: bool,
    /// The texts that some profile asks for and that are loaded, with what stands behind each.
    texts: BTreeMap<&'static str, Vec<Vec<u8>>>,
}

impl Traces {
    pub(super) fn collect(elf: &Elf<'_>) -> io::Result<Self> {
        let mut traces = Traces {
            sections: elf.sections.iter().map(|section| section.name.clone()).collect(),
            symbols: BTreeSet::new(),
            has_config_symbols: false,
            texts: BTreeMap::new(),
        };
        traces.collect_symbols(elf)?;
        traces.collect_texts(elf)?;
        Ok(traces)
    }

    fn collect_symbols(&mut self, elf: &Elf<'_>) -> io::Result<()> {
        let wanted: BTreeMap<&[u8], &'static str> = PROFILES
            .iter()
            .flat_map(|profile| profile.symbols)
            .map(|name| (name.as_bytes(), *name))
            .collect();
        // A file has tens of thousands of symbols, and most begin like none of these.
        let mut beginnings = [false; 256];
        for first in wanted.keys().filter_map(|name| name.first()) {
            beginnings[usize::from(*first)] = true;
        }
        elf.each_symbol(|symbol| {
            let first = symbol.name.first().copied().unwrap_or_default();
            if beginnings[usize::from(first)]
                && let Some(&known) = wanted.get(symbol.name)
            {
                self.symbols.insert(known);
            }
            self.has_config_symbols |= symbol.absolute && symbol.name.starts_with(b"CONFIG_");
            ControlFlow::Continue(())
        })
    }

    fn collect_texts(&mut self, elf: &Elf<'_>) -> io::Result<()> {
        let texts: BTreeSet<&'static str> = PROFILES.iter().flat_map(|profile| profile.texts()).collect();
        // Where one text begins with another, looking for the shorter one finds both.
        let shortest: Vec<&str> = texts
            .iter()
            .copied()
            .filter(|text| !texts.iter().any(|other| other != text && text.starts_with(other)))
            .collect();
        // Only this kind may be searched for with vector instructions.
        let finder = AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(&shortest);
        let finder = finder.map_err(io::Error::other)?;
        let longest = texts.iter().map(|text| text.len()).max().unwrap_or_default();
        for range in elf.loaded_ranges() {
            source::scan(elf.file(), range, longest + BEHIND, |piece, beginnings| {
                let found = finder.find_iter(piece).map(|found| found.start());
                for at in found.take_while(|&at| at < beginnings) {
                    self.add_texts(&texts, &piece[at..]);
                }
                ControlFlow::Continue(())
            })?;
        }
        Ok(())
    }

    fn add_texts(&mut self, texts: &BTreeSet<&'static str>, bytes: &[u8]) {
        for &text in texts.iter().filter(|text| bytes.starts_with(text.as_bytes())) {
            let places = self.texts.entry(text).or_default();
            if places.len() < MAX_PLACES {
                let behind = &bytes[text.len()..];
                places.push(behind[..behind.len().min(BEHIND)].to_vec());
            }
        }
    }

    pub(super) fn has_section(&self, name: &str) -> bool {
        self.sections.contains(name.as_bytes())
    }

    pub(super) fn has_symbol(&self, name: &str) -> bool {
        self.symbols.contains(name)
    }

    pub(super) fn has_string(&self, text: &str) -> bool {
        self.texts.contains_key(text)
    }

    /// What follows the first places of a text in the loaded bytes, up to 64 bytes each.
    pub(super) fn texts_after(&self, prefix: &str) -> impl Iterator<Item = &[u8]> {
        self.texts.get(prefix).into_iter().flatten().map(Vec::as_slice)
    }
}
