//! The log files of containers, in CRI's format: `TIME STREAM TAG TEXT`, where the tag `P` says that the line goes on in the next one.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::wait;

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When containerd got it, milliseconds of the day.
    pub at: u64,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// It goes on in the next one.
    pub is_partial: bool,
    /// What the guest wrote, without the line's end.
    pub text: String,
}

/// Reads a file.
///
/// # Errors
/// If it is not in the format.
pub fn read(path: &Path) -> Result<Vec<Line>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&String::from_utf8_lossy(&bytes))
}

/// What the guest wrote: lines that were cut are whole again.
pub fn text(lines: &[Line]) -> String {
    lines
        .iter()
        .map(|line| if line.is_partial { line.text.clone() } else { format!("{}\n", line.text) })
        .collect()
}

/// Waits until the text in a file holds this.
///
/// # Errors
/// If it does not come; with what came.
pub fn wait_for(path: &Path, wanted: &str) -> Result<()> {
    let mut seen = String::new();
    wait::until(&format!("{wanted:?} in {}", path.display()), || {
        // A line may be half written.
        if let Ok(lines) = read(path) {
            seen = text(&lines);
        }
        Ok(seen.contains(wanted).then_some(()))
    })
    .with_context(|| format!("it holds {seen:?}"))
}

fn parse(text: &str) -> Result<Vec<Line>> {
    text.split_terminator('\n')
        .map(|line| {
            let fields: Vec<&str> = line.splitn(4, ' ').collect();
            let [time, stream, tag, text] = fields[..] else { anyhow::bail!("no line of a log: {line:?}") };
            let at = milliseconds(time).with_context(|| format!("no time: {line:?}"))?;
            ensure!(["stdout", "stderr"].contains(&stream) && ["F", "P"].contains(&tag), "no tag: {line:?}");
            Ok(Line { at, stream: stream.to_owned(), is_partial: tag == "P", text: text.to_owned() })
        })
        .collect()
}

/// Of `2026-11-22T04:33:02.1Z` (RFC 3339) what a day has gone by.
fn milliseconds(time: &str) -> Option<u64> {
    let clock = time.get(11..)?.split(['Z', '+', '-']).next()?;
    let [hours, minutes, seconds] = clock.split(':').collect::<Vec<_>>()[..] else { return None };
    let minutes = hours.parse::<u64>().ok()? * 60 + minutes.parse::<u64>().ok()?;
    Some(minutes * 60_000 + (seconds.parse::<f64>().ok()? * 1e3) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_were_cut_are_whole_again() {
        let log = "2026-11-22T04:33:02.1Z stdout P ab\n2026-11-22T04:33:02.2Z stdout F c d\n";
        let lines = parse(log).unwrap();
        assert_eq!((lines.len(), lines[0].is_partial, lines[0].at), (2, true, 16_382_100));
        assert_eq!(text(&lines), "abc d\n");
        assert!(parse("MicRun test firmware").is_err());
    }
}
