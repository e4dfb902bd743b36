//! A process named by pid and start time: a pid alone may belong to a stranger by the time it is used.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// A process as recorded on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// The pid.
    pub pid: u32,
    /// Clock ticks from boot to the process's start (`/proc/PID/stat`, field 22).
    pub start_time: u64,
}

impl ProcessId {
    /// The process that has this pid now.
    ///
    /// # Errors
    ///
    /// `NotFound` where there is none.
    pub fn of(pid: u32) -> io::Result<ProcessId> {
        Ok(ProcessId { pid, start_time: Stat::read(pid)?.start_time })
    }

    /// This very process.
    ///
    /// # Errors
    ///
    /// Only where /proc is not mounted.
    pub fn current() -> io::Result<ProcessId> {
        ProcessId::of(std::process::id())
    }

    /// True while the process runs. A zombie does not: nothing of it is left but its status.
    pub fn is_alive(self) -> bool {
        Stat::read(self.pid).is_ok_and(|stat| stat.start_time == self.start_time && stat.state != b'Z')
    }

    /// Kills the process with SIGKILL and waits until it is gone, 2 s at most.
    ///
    /// # Errors
    ///
    /// The kernel's refusal, or `TimedOut` for a process that the kernel does not let go.
    pub fn kill_and_wait(self) -> io::Result<()> {
        let Some(pidfd) = self.open()? else { return Ok(()) };
        match pidfd_send_signal(&pidfd, Signal::KILL) {
            Err(rustix::io::Errno::SRCH) => return Ok(()),
            other => other?,
        }
        let mut gone = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
        let limit = rustix::event::Timespec { tv_sec: 2, tv_nsec: 0 };
        match rustix::event::poll(&mut gone, Some(&limit))? {
            0 => Err(io::Error::new(io::ErrorKind::TimedOut, format!("process {} does not end", self.pid))),
            _ => Ok(()),
        }
    }

    /// A handle that pins the process; `None` where it is gone or the pid has a new owner.
    fn open(self) -> io::Result<Option<OwnedFd>> {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) if self.is_alive() => Ok(Some(pidfd)),
            Ok(_) | Err(rustix::io::Errno::SRCH) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// What `/proc/PID/stat` says of a process (proc_pid_stat(5)).
#[derive(Clone, Copy, Debug)]
pub struct Stat {
    /// State letter: `R`, `S`, `Z`...
    pub state: u8,
    /// Time in user mode, clock ticks.
    pub user_ticks: u64,
    /// Time in kernel mode, clock ticks.
    pub system_ticks: u64,
    /// Clock ticks from boot to the start of the process.
    pub start_time: u64,
    /// Resident memory, pages.
    pub resident_pages: u64,
}

impl Stat {
    /// Reads the file for one process.
    ///
    /// # Errors
    ///
    /// `NotFound` where there is no such process, `InvalidData` for a text that is not the kernel's.
    pub fn read(pid: u32) -> io::Result<Stat> {
        let text = fs::read(format!("/proc/{pid}/stat"))?;
        Stat::parse(&text).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn parse(text: &[u8]) -> Option<Stat> {
        // The second field is the command in parentheses and may itself hold blanks and parentheses.
        let after_command = text.iter().rposition(|b| *b == b')')? + 1;
        let rest = std::str::from_utf8(text.get(after_command..)?).ok()?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // fields[0] is field 3 of the manual page.
        let number = |field: usize| fields.get(field - 3)?.parse().ok();
        Some(Stat {
            state: *fields.first()?.as_bytes().first()?,
            user_ticks: number(14)?,
            system_ticks: number(15)?,
            start_time: number(22)?,
            resident_pages: number(24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_parentheses_does_not_shift_the_fields() {
        let text =
            b"7 (a) b) S 1 7 7 0 -1 4194560 9 0 0 0 11 12 0 0 20 0 1 0 345 1000 67 18446744073709551615";
        let stat = Stat::parse(text).unwrap();
        assert_eq!(
            (stat.state, stat.user_ticks, stat.system_ticks, stat.start_time, stat.resident_pages),
            (b'S', 11, 12, 345, 67)
        );
    }

    #[test]
    fn a_pid_with_another_start_time_is_a_stranger() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = ProcessId::of(child.id()).unwrap();
        let stranger = ProcessId { start_time: process.start_time + 1, ..process };

        stranger.kill_and_wait().unwrap();
        assert!(process.is_alive() && !stranger.is_alive());

        process.kill_and_wait().unwrap();
        assert!(!process.is_alive());
        child.wait().unwrap();
    }
}
