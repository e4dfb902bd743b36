//! What is counted before and after: in containerd, in one shim, on the node.

use anyhow::{Result, ensure};
use micrun_testkit::{Containerd, observe};

/// By how much a figure may grow.
#[derive(Clone, Copy, Debug)]
enum Growth {
    /// Every one more is a leak.
    Nothing,
    /// A garbage collector and a heap breathe: so much of what there was, and so much besides.
    Breathing { percent: u64, besides: u64 },
}

/// How far the shim's memory may go: a few pages that a heap has not given back. A leak of 200 bytes in each of 500
/// cycles is more.
const SHIM_MEMORY: Growth = Growth::Breathing { percent: 2, besides: 64 };

/// containerd is a Go program that keeps some history.
const DAEMON_MEMORY: Growth = Growth::Breathing { percent: 25, besides: 4096 };

/// Go starts a thread when all others are busy, and keeps it.
const DAEMON_THREADS: Growth = Growth::Breathing { percent: 25, besides: 4 };

/// A figure of one moment.
#[derive(Debug)]
struct Count {
    name: &'static str,
    value: u64,
    growth: Growth,
}

/// All figures of one moment.
#[derive(Debug)]
pub struct Counts(Vec<Count>);

impl Counts {
    /// Counts now. `shim` is the one that lives through all cycles.
    ///
    /// # Errors
    /// If containerd or the shim is gone.
    pub fn take(containerd: &Containerd, shim: u32) -> Result<Self> {
        let daemon = containerd.pid()?;
        let node = containerd.census()?;
        let descriptors = |pid| observe::descriptors(pid).map(|open| open.len() as u64);
        let count = |name, value, growth| Count { name, value, growth };
        Ok(Self(vec![
            count("containerd: descriptors", descriptors(daemon)?, Growth::Nothing),
            count("containerd: threads", observe::threads(daemon)?, DAEMON_THREADS),
            count("containerd: anonymous memory, kB", observe::anonymous_kb(daemon)?, DAEMON_MEMORY),
            count("shim: descriptors", descriptors(shim)?, Growth::Nothing),
            count("shim: threads", observe::threads(shim)?, Growth::Nothing),
            count("shim: anonymous memory, kB", observe::anonymous_kb(shim)?, SHIM_MEMORY),
            count("shim: PSS, kB", observe::pss_kb(shim)?, SHIM_MEMORY),
            count("node: processes", node.processes as u64, Growth::Nothing),
            count("node: mounts", node.mounts as u64, Growth::Nothing),
            count("node: files below /run", node.files as u64, Growth::Nothing),
            count("node: cgroups of containers", node.cgroups as u64, Growth::Nothing),
            count("node: addresses of pods", containerd.addresses()?.len() as u64, Growth::Nothing),
        ]))
    }

    /// Prints both, and what the later may be at most.
    ///
    /// # Errors
    /// If a figure has grown beyond that.
    pub fn compare(&self, later: &Counts) -> Result<()> {
        println!("{:<36} {:>9} {:>9} {:>9}", "", "before", "after", "at most");
        let mut grown = Vec::new();
        for (before, after) in self.0.iter().zip(&later.0) {
            let most = before.at_most();
            let verdict = if after.value <= most { "ok" } else { "GROWN" };
            println!("{:<36} {:>9} {:>9} {most:>9} {verdict}", before.name, before.value, after.value);
            if after.value > most {
                grown.push(before.name);
            }
        }
        ensure!(grown.is_empty(), "these have grown: {}", grown.join("; "));
        Ok(())
    }
}

impl Count {
    fn at_most(&self) -> u64 {
        match self.growth {
            Growth::Nothing => self.value,
            Growth::Breathing { percent, besides } => self.value + self.value * percent / 100 + besides,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_told_from_breathing() {
        let counts = |open, memory| {
            let open = Count { name: "open", value: open, growth: Growth::Nothing };
            Counts(vec![open, Count { name: "memory", value: memory, growth: SHIM_MEMORY }])
        };
        counts(20, 1000).compare(&counts(20, 1084)).unwrap();
        counts(20, 1000).compare(&counts(18, 900)).unwrap();
        let said = counts(20, 1000).compare(&counts(21, 1085)).unwrap_err().to_string();
        assert_eq!(said, "these have grown: open; memory");
    }
}
