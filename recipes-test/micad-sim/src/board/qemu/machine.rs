//! One QEMU.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use micrun_image_spec::board::BoardProfile;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::getppid;

use super::super::Boot;

/// How long a guest takes to turn itself off after it was asked.
const OBEYS_AFTER: Duration = Duration::from_millis(100);
/// How often a domain's end is looked for.
const WATCH: Duration = Duration::from_millis(20);

/// A running QEMU, which ends with this handle, and with the thread that started it.
pub struct Machine {
    child: Arc<Mutex<Child>>,
    /// The other end of its serial line.
    pub line: UnixStream,
}

impl Machine {
    pub fn start(profile: &BoardProfile, boot: &Boot) -> io::Result<Machine> {
        let Some(qemu) = &profile.qemu else {
            return Err(io::Error::other(format!("QEMU has no board {}", profile.name)));
        };
        let (line, other_end) = UnixStream::pair()?;
        let mut command = Command::new(profile.arch.qemu_program());
        command.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]);
        command.args(["-machine", qemu.machine.as_str()]);
        command.args(qemu.cpu.iter().flat_map(|cpu| ["-cpu", cpu.as_str()]));
        command.args(["-m", &format!("{}M", boot.memory.unwrap_or(qemu.memory.0))]);
        command.args(["-chardev", "stdio,id=line,signal=off", "-serial", "chardev:line"]);
        command.arg("-kernel").arg(&boot.firmware).args(qemu.args.as_slice());
        command.stdin(OwnedFd::from(other_end.try_clone()?)).stdout(OwnedFd::from(other_end));
        command.stderr(Stdio::inherit());
        end_with_this_thread(&mut command);
        Ok(Machine { child: Arc::new(Mutex::new(command.spawn()?)), line })
    }

    pub fn pid(&self) -> u32 {
        lock(&self.child).id()
    }

    pub fn is_alive(&self) -> bool {
        matches!(lock(&self.child).try_wait(), Ok(None))
    }

    pub fn end(&self) {
        end(&self.child);
    }

    /// As an `xl` does that watches its domain.
    pub fn hold_until_its_end(&self, inherited: Vec<OwnedFd>) {
        if inherited.is_empty() {
            return;
        }
        let child = Arc::clone(&self.child);
        thread::spawn(move || {
            while matches!(lock(&child).try_wait(), Ok(None)) {
                thread::sleep(WATCH);
            }
            drop(inherited);
        });
    }

    pub fn end_soon(&self) {
        let child = Arc::clone(&self.child);
        thread::spawn(move || {
            thread::sleep(OBEYS_AFTER);
            end(&child);
        });
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.end();
    }
}

fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

fn end(child: &Mutex<Child>) {
    let mut child = lock(child);
    // Fails only where it has ended and was waited for.
    let _ = child.kill();
    let _ = child.wait();
}

/// The kernel ends the child with SIGKILL when the thread that spawns it ends, however that comes about.
fn end_with_this_thread(command: &mut Command) {
    let parent = nix::unistd::getpid();
    let tie = move || {
        set_pdeathsig(Signal::SIGKILL)?;
        if getppid() == parent { Ok(()) } else { Err(io::Error::other("the simulator ended")) }
    };
    // SAFETY: two system calls between fork and exec; nothing is allocated or locked where they succeed.
    unsafe { command.pre_exec(tie) };
}
