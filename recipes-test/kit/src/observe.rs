//! What a process costs while it does nothing, read from `/proc`.

use std::path::Path;

use anyhow::{Context as _, Result};

/// Proportional set size in kB (`smaps_rollup`, Linux 4.14): memory shared with others counts by its share.
///
/// # Errors
/// If the process is gone or belongs to someone else.
pub fn pss_kb(pid: u32) -> Result<u64> {
    memory_kb(pid, "Pss:")
}

/// Memory that is backed by no file, in kB: heap, stacks, and what a program has written to of its own image.
///
/// # Errors
/// As [`pss_kb`].
pub fn anonymous_kb(pid: u32) -> Result<u64> {
    memory_kb(pid, "Anonymous:")
}

fn memory_kb(pid: u32, key: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    number(&text, key).with_context(|| format!("{path} shows no {key}"))
}

/// Number of threads.
///
/// # Errors
/// If the process is gone.
pub fn threads(pid: u32) -> Result<u64> {
    status(pid, "Threads")?.parse().context("Threads is no number")
}

/// A field of `/proc/PID/status`, see proc(5).
///
/// # Errors
/// If the process is gone, or this kernel has no such field.
pub fn status(pid: u32, key: &str) -> Result<String> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    Ok(value.with_context(|| format!("{path} shows no {key}"))?.trim().to_owned())
}

/// Context switches of all its threads so far, voluntary or not: their difference over a time is how often it woke up.
///
/// # Errors
/// If the process is gone.
pub fn switches(pid: u32) -> Result<u64> {
    let dir = format!("/proc/{pid}/task");
    let tasks = Path::new(&dir).read_dir().with_context(|| format!("cannot read {dir}"))?;
    let mut sum = 0;
    for task in tasks {
        let path = task.with_context(|| format!("cannot read {dir}"))?.path().join("status");
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        for key in ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"] {
            sum += number(&text, key).with_context(|| format!("{} shows no {key}", path.display()))?;
        }
    }
    Ok(sum)
}

/// What its open descriptors refer to, as `/proc/PID/fd` has it: `/dev/null`, `socket:[1]`, `anon_inode:[eventfd]`.
///
/// # Errors
/// If the process is gone or belongs to someone else.
pub fn descriptors(pid: u32) -> Result<Vec<String>> {
    let dir = format!("/proc/{pid}/fd");
    let links = Path::new(&dir).read_dir().with_context(|| format!("cannot read {dir}"))?;
    let target = |link: std::io::Result<std::fs::DirEntry>| {
        // Closed since the folder was listed.
        let target = std::fs::read_link(link.ok()?.path()).ok()?;
        Some(target.display().to_string())
    };
    Ok(links.filter_map(target).collect())
}

fn number(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_can_be_observed() {
        let pid = std::process::id();
        assert!(pss_kb(pid).unwrap() > 100);
        assert!(anonymous_kb(pid).unwrap() <= pss_kb(pid).unwrap());
        assert!(threads(pid).unwrap() >= 1);
        assert!(switches(pid).unwrap() >= 1);
        assert!(descriptors(pid).unwrap().len() >= 3);
    }

    #[test]
    fn a_key_is_found_at_the_start_of_a_line_only() {
        let text = "nonvoluntary_ctxt_switches:\t7\nvoluntary_ctxt_switches:\t5 \n";
        assert_eq!(number(text, "voluntary_ctxt_switches:"), Some(5));
        assert_eq!(number(text, "Threads:"), None);
    }
}
