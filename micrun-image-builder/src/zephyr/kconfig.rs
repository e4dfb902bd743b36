//! `.config`, as Kconfig writes it: `CONFIG_NAME=value`, and a remark for what is off.

use std::collections::BTreeMap;

/// The options that have a value, by name without `CONFIG_`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kconfig(BTreeMap<String, String>);

impl Kconfig {
    /// Reads the lines that set something. Of an option that is set twice, the later line counts, as for Kconfig.
    pub fn parse(text: &str) -> Self {
        let set = |line: &str| {
            let (name, value) = line.trim().strip_prefix("CONFIG_")?.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        };
        Kconfig(text.lines().filter_map(set).collect())
    }

    /// True for an option that is `y`.
    pub fn is_set(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| value == "y")
    }

    /// A number, decimal or hexadecimal.
    pub fn number(&self, name: &str) -> Option<u64> {
        let value = self.0.get(name)?;
        match value.strip_prefix("0x").or_else(|| value.strip_prefix("0X")) {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => value.parse().ok(),
        }
    }

    /// A text that is not empty. None too for one with a quote or backslash in it: no name has those.
    pub fn string(&self, name: &str) -> Option<&str> {
        let text = self.0.get(name)?.strip_prefix('"')?.strip_suffix('"')?;
        (!text.is_empty() && !text.contains(['"', '\\'])).then_some(text)
    }
}
