//! Whether a guest is healthy.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use micrun_image_spec::text::excerpt;

use super::model::{Health, Restart};
use super::node::tasks::TaskStatus;
use super::node::{Node, NodeError};

/// How often is looked.
const PAUSE: Duration = Duration::from_millis(100);
/// How often a command is typed into a guest, which has other things to do.
const TYPED: Duration = Duration::from_secs(1);
/// What the restart monitor may need to put a new run in the place of one that ended.
const REPLACED: Duration = Duration::from_millis(500);
/// The kernel's clock ticks for user space (USER_HZ), each second.
const TICKS: u64 = 100;

/// A guest that is looked at.
pub(super) struct Patient<'a> {
    pub(super) name: &'a str,
    pub(super) node: &'a Node,
    pub(super) health: &'a Health,
    pub(super) restart: Restart,
    /// The file with its output, and from where on it is of this run.
    pub(super) log: Option<(PathBuf, u64)>,
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It runs, in this process, and is healthy.
    Healthy(u32),
    /// It has done what it was to do, and ended.
    Done,
    /// It is not healthy: why.
    Unhealthy(String),
}

impl Patient<'_> {
    /// Waits until the guest is healthy, or as long as it may take to become so; with `once`, looks once, and gives a command in
    /// its shell so long.
    ///
    /// # Errors
    ///
    /// If containerd does not answer.
    pub(super) fn examine(&self, once: Option<Duration>) -> Result<Verdict, NodeError> {
        let begun = Instant::now();
        let mut ended = None;
        loop {
            let task = self.node.task(self.name)?;
            match task.as_ref().map(|task| (task.status(), task.pid, task.exit_status)) {
                Some((TaskStatus::Running | TaskStatus::Paused, pid, _)) => {
                    ended = None;
                    match self.ask(pid, begun, once)? {
                        None => return Ok(Verdict::Healthy(pid)),
                        Some(why) if once.is_some() || begun.elapsed() >= self.patience() => {
                            return Ok(Verdict::Unhealthy(why));
                        }
                        Some(_) => {}
                    }
                }
                Some((TaskStatus::Stopped, _, 0)) if self.restart != Restart::Always && self.may_end() => {
                    return Ok(Verdict::Done);
                }
                other => {
                    let why = match other {
                        Some((TaskStatus::Stopped, _, status)) => {
                            format!("it has ended with {status}{}", self.last_words())
                        }
                        _ => "it does not run".to_owned(),
                    };
                    if once.is_some() || *ended.get_or_insert(begun.elapsed()) + REPLACED <= begun.elapsed() {
                        return Ok(Verdict::Unhealthy(why));
                    }
                }
            }
            std::thread::sleep(if matches!(self.health, Health::Exec { .. }) { TYPED } else { PAUSE });
        }
    }

    /// One that is to run for a while may also come to its end; one that is to say something must say it.
    fn may_end(&self) -> bool {
        match self.health {
            Health::Runs(_) => true,
            Health::Console { text, .. } => self.has_said(text),
            Health::Exec { .. } => false,
        }
    }

    /// What is missing yet.
    fn ask(&self, pid: u32, begun: Instant, once: Option<Duration>) -> Result<Option<String>, NodeError> {
        Ok(match self.health {
            Health::Runs(time) => {
                let run = uptime(pid).unwrap_or(begun.elapsed());
                (run < *time).then(|| format!("it has run for less than {} s", time.as_secs()))
            }
            Health::Console { text, within } => (!self.has_said(text)).then(|| {
                format!(
                    "it has not printed \"{}\" within {} s{}",
                    excerpt(text),
                    within.as_secs(),
                    self.last_words()
                )
            }),
            Health::Exec { command, within } => {
                let left =
                    once.map_or_else(|| within.saturating_sub(begun.elapsed()), |left| left.min(*within));
                match self.node.exec(self.name, command, left.max(Duration::from_secs(1))) {
                    Ok(Some(0)) => None,
                    Ok(Some(status)) => {
                        Some(format!("`{}` ends with {status} in its shell", excerpt(command)))
                    }
                    Ok(None) => Some(format!("`{}` has not come to its end in its shell", excerpt(command))),
                    // No shell, no prompt yet, or it has ended: the next look tells.
                    Err(error @ NodeError::Call { .. }) => Some(error.to_string()),
                    Err(error) => return Err(error),
                }
            }
        })
    }

    fn patience(&self) -> Duration {
        match self.health {
            Health::Runs(time) => *time + Duration::from_secs(1),
            Health::Console { within, .. } | Health::Exec { within, .. } => *within,
        }
    }

    fn has_said(&self, text: &str) -> bool {
        let Some((path, from)) = &self.log else { return false };
        contains(path, *from, text.as_bytes())
    }

    /// The last line of its output, for people.
    fn last_words(&self) -> String {
        let tail = self.log.as_ref().and_then(|(path, from)| {
            let length = path.metadata().ok()?.len();
            let from = if *from <= length { *from } else { 0 };
            read(path, from.max(length.saturating_sub(1024))).ok()
        });
        let tail = String::from_utf8_lossy(&tail.unwrap_or_default()).into_owned();
        let last = tail.lines().rev().find(|line| !line.trim().is_empty());
        last.map(|line| format!("; its last line is \"{}\"", excerpt(line.trim()))).unwrap_or_default()
    }
}

/// How long a log is, bytes.
pub(super) fn length(path: Option<&Path>) -> u64 {
    path.and_then(|path| path.metadata().ok()).map_or(0, |meta| meta.len())
}

fn read(path: &Path, from: u64) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether a file holds a text behind this place. One that is shorter was begun anew.
fn contains(path: &Path, from: u64, text: &[u8]) -> bool {
    const PIECE: usize = 64 << 10;
    let open = || {
        let mut file = File::open(path)?;
        let from = if from <= file.metadata()?.len() { from } else { 0 };
        file.seek(SeekFrom::Start(from))?;
        Ok::<_, std::io::Error>(file)
    };
    let Ok(mut file) = open() else { return false };
    let mut bytes = Vec::new();
    let mut piece = vec![0; PIECE];
    while let Ok(count @ 1..) = file.read(&mut piece) {
        bytes.extend_from_slice(&piece[..count]);
        if bytes.windows(text.len()).any(|window| window == text) {
            return true;
        }
        // A text may lie across two pieces.
        bytes.drain(..bytes.len().saturating_sub(text.len()));
    }
    false
}

/// How long a process runs; `None` if there is no telling.
fn uptime(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Behind the name, which may hold anything, field 3 is the first and field 22 the start (proc(5)).
    let started: u64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let now = std::fs::read_to_string("/proc/uptime").ok()?;
    let now: f64 = now.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_secs_f64(now).saturating_sub(Duration::from_millis(started * 1000 / TICKS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_behind_a_place_and_across_pieces() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut bytes = vec![b'x'; (64 << 10) - 2];
        bytes.extend(b"ready");
        std::fs::write(&path, &bytes).unwrap();
        assert!(contains(&path, 0, b"ready"));
        assert!(!contains(&path, bytes.len() as u64, b"ready"));
        assert!(contains(&path, 1 << 30, b"ready"), "a log that was begun anew");
        assert!(!contains(&dir.path().join("none"), 0, b"ready"));
    }

    #[test]
    fn a_process_has_an_age() {
        assert!(uptime(std::process::id()).unwrap() < Duration::from_secs(3600));
        assert_eq!(uptime(u32::MAX), None);
    }
}
