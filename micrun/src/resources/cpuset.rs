//! Sets of processor cores, as kernel, engines and hypervisors write them: `0-3,5`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The highest core number that is taken: Linux' own limit on the architectures of today (`NR_CPUS` 8192).
const LAST_CORE: u32 = 8191;

/// Cores by number. Not empty where it came from text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CpuSet(BTreeSet<u32>);

/// Why a text is no set of cores.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is no list of cores: write numbers up to {LAST_CORE} and ranges, such as 1-3,5")]
pub struct InvalidCpuSet {
    text: String,
}

impl CpuSet {
    /// The cores from 0 on.
    pub fn first(count: u32) -> CpuSet {
        (0..count.min(LAST_CORE + 1)).collect()
    }

    /// How many.
    pub fn len(&self) -> u32 {
        // At most LAST_CORE + 1.
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    /// None at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In rising order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().copied()
    }

    /// Those that are in both.
    pub fn within(&self, other: &CpuSet) -> CpuSet {
        CpuSet(self.0.intersection(&other.0).copied().collect())
    }

    /// Those that are not in the other.
    pub fn without(&self, other: &CpuSet) -> CpuSet {
        CpuSet(self.0.difference(&other.0).copied().collect())
    }
}

impl FromIterator<u32> for CpuSet {
    fn from_iter<T: IntoIterator<Item = u32>>(cores: T) -> CpuSet {
        CpuSet(cores.into_iter().collect())
    }
}

impl FromStr for CpuSet {
    type Err = InvalidCpuSet;

    fn from_str(text: &str) -> Result<CpuSet, InvalidCpuSet> {
        let invalid = || InvalidCpuSet { text: text.chars().take(64).collect() };
        let mut cores = BTreeSet::new();
        for part in text.trim().split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (core(first).ok_or_else(invalid)?, core(last).ok_or_else(invalid)?);
            if first > last {
                return Err(invalid());
            }
            cores.extend(first..=last);
        }
        Ok(CpuSet(cores))
    }
}

fn core(text: &str) -> Option<u32> {
    let digits = text.trim();
    let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()?;
    (number <= LAST_CORE).then_some(number)
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cores = self.iter().peekable();
        let mut comma = "";
        while let Some(first) = cores.next() {
            let mut last = first;
            while let Some(next) = cores.next_if_eq(&(last + 1)) {
                last = next;
            }
            match last - first {
                0 => write!(f, "{comma}{first}")?,
                _ => write!(f, "{comma}{first}-{last}")?,
            }
            comma = ",";
        }
        Ok(())
    }
}

impl TryFrom<String> for CpuSet {
    type Error = InvalidCpuSet;

    fn try_from(text: String) -> Result<CpuSet, InvalidCpuSet> {
        if text.is_empty() { Ok(CpuSet::default()) } else { text.parse() }
    }
}

impl From<CpuSet> for String {
    fn from(set: CpuSet) -> String {
        set.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_are_read_and_written() {
        for (text, written) in
            [("3", "3"), ("0-3,5", "0-3,5"), ("5,0,1", "0-1,5"), (" 2 , 3-4\n", "2-4"), ("7-7", "7")]
        {
            assert_eq!(text.parse::<CpuSet>().unwrap().to_string(), written, "{text}");
        }
    }

    #[test]
    fn what_is_no_list_is_refused_and_a_huge_range_costs_nothing() {
        for text in
            ["", ",", "1,", "-1", "3-1", "a", "+1", "1-", "0-4294967295", "8192", "99999999999999999999"]
        {
            assert!(text.parse::<CpuSet>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_is_read_back(cores in proptest::collection::btree_set(0..LAST_CORE, 1..40)) {
            let set = CpuSet(cores);
            prop_assert_eq!(set.to_string().parse::<CpuSet>().unwrap(), set);
        }

        #[test]
        fn any_text_is_taken_or_refused(text in "[-0-9, ]{0,40}") {
            let _ = text.parse::<CpuSet>();
        }
    }
}
