//! Starts the emulator confined: own mount, network, IPC and UTS namespaces, a user that nothing else has, no
//! capabilities, nothing open but /dev/null, its control socket, its console, its error stream and, where the guest
//! has its pod's interface, the tap.
//!
//! A dynamically linked emulator needs its libraries to start and nothing afterwards. So its root is an
//! empty tmpfs on which the system's program folders are mounted read-only; once it has answered on QMP
//! they are taken away ([`Root::empty`]), and what runs the guest sees an empty directory that nobody
//! can write to.

use std::ffi::{CStr, CString, OsStr};
use std::fs;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use micrun_image_spec::board::Nic;
use rustix::fs::{CWD, Gid, Mode, OFlags, Uid};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::process::{Pid, Resource, Rlimit, Signal};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

use super::plan::{FIRMWARE_IN_JAIL, QemuPlan};
use crate::cgroup::Cgroup;
use crate::namespace;
use crate::network::Tap;
use crate::pedestal::DriverError;
use crate::sys;

/// An emulator that was started and has not been heard of yet.
pub struct Process {
    /// The child process.
    pub child: Emulator,
    /// QMP.
    pub control: UnixStream,
    /// The guest's console.
    pub console: UnixStream,
    /// What the emulator writes to its error stream.
    pub stderr: PipeReader,
    /// What it sees of the node.
    pub root: Root,
}

/// The child process. It does not outlive this handle.
pub struct Emulator(Child);

impl Emulator {
    /// Its pid.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Ends it.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn kill(&mut self) -> io::Result<()> {
        self.0.kill()
    }

    /// Takes its exit status. Blocks until there is one.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.0.wait()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            // Nothing more can be done about a kernel that refuses.
            let _ = self.0.kill().and_then(|()| self.0.wait());
        }
    }
}

/// Starts the emulator.
///
/// # Errors
///
/// The step that failed, with the system's answer.
pub fn spawn(
    plan: &QemuPlan,
    cgroup: Option<&Cgroup>,
    tap: Option<(Tap, Nic)>,
) -> Result<Process, DriverError> {
    let doing = |what: &str| DriverError::io::<io::Error>(format!("{what} for {}", plan.program.display()));
    let (control, control_theirs) = UnixStream::pair().map_err(doing("making a control socket"))?;
    let (console, console_theirs) = UnixStream::pair().map_err(doing("making a console socket"))?;
    let (mut stderr, stderr_theirs) = io::pipe().map_err(doing("making a pipe"))?;
    fs::create_dir_all(&plan.jail).map_err(DriverError::io(format!(
        "making {} for {}",
        plan.jail.display(),
        plan.program.display()
    )))?;
    let jail = Jail::new(plan).map_err(doing("preparing the root directory"))?;
    let doors = cgroup.map(Cgroup::doors).transpose().map_err(super::cgroup_failed)?.unwrap_or_default();

    let mut command = Command::new(&plan.program);
    command
        .args(&plan.arguments)
        .args(socket_arguments(control_theirs.as_fd(), console_theirs.as_fd()))
        .args(tap.iter().flat_map(|(tap, nic)| network_arguments(tap, *nic)))
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr_theirs);
    let sockets: [OwnedFd; 2] = [control_theirs.into(), console_theirs.into()];
    let inherited: Vec<OwnedFd> = sockets.into_iter().chain(tap.map(|(tap, _)| tap.fd)).collect();
    let shim = rustix::process::getpid();
    let root = jail.root();
    // SAFETY: the closure runs between fork and exec. It makes system calls only, on paths and numbers
    // computed before the fork: it does not allocate, takes no lock and touches no state of the shim.
    unsafe {
        command.pre_exec(move || {
            step("entering the cgroup of", || pass(&doors))?;
            jail.enter(&inherited, shim)
        });
    }
    let child = command.spawn();
    drop(command); // closes this side's copies of the emulator's ends
    match child {
        Ok(child) => Ok(Process { child: Emulator(child), control, console, stderr, root }),
        Err(source) => {
            let mut step = String::new();
            // The child has exited, so this ends; without a step it was the exec itself.
            let _ = stderr.read_to_string(&mut step);
            let step = if step.is_empty() { "starting" } else { step.trim_end() };
            Err(DriverError::Io { doing: format!("{step} {}", plan.program.display()), source })
        }
    }
}

fn socket_arguments(control: BorrowedFd<'_>, console: BorrowedFd<'_>) -> [String; 8] {
    [
        "-chardev".to_owned(),
        format!("socket,id=control,fd={}", control.as_raw_fd()),
        "-mon".to_owned(),
        "chardev=control,mode=control".to_owned(),
        "-chardev".to_owned(),
        format!("socket,id=console,fd={}", console.as_raw_fd()),
        "-serial".to_owned(),
        "chardev:console".to_owned(),
    ]
}

/// The guest's frames, as they are: no checksum or segment is left to the node.
fn network_arguments(tap: &Tap, nic: Nic) -> [String; 4] {
    let no_rom = if nic.is_pci() { ",romfile=" } else { "" };
    [
        "-netdev".to_owned(),
        format!("tap,id=pod,fd={}", tap.fd.as_raw_fd()),
        "-device".to_owned(),
        format!("{},netdev=pod,mac={}{no_rom}", nic.device(), tap.mac),
    ]
}

/// What an emulator sees of the node while it starts.
#[derive(Clone)]
pub struct Root {
    mounts: Vec<(CString, bool)>,
    links: Vec<CString>,
}

impl Root {
    /// Takes all of it away from the emulator `pid`: from now on it sees an empty directory.
    ///
    /// # Errors
    ///
    /// The system's answer; the emulator is then better ended than left as it is.
    pub async fn empty(self, pid: u32) -> Result<(), DriverError> {
        let doing = || format!("emptying the root of QEMU (process {pid})");
        let mounts =
            rustix::fs::open(format!("/proc/{pid}/ns/mnt"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .map_err(DriverError::io(doing()))?;
        let empty = move || self.remove_all().map_err(io::Error::from);
        namespace::within(mounts, LinkNameSpaceType::Mount, empty).await.map_err(DriverError::io(doing()))
    }

    /// Runs inside the emulator's mount namespace.
    fn remove_all(&self) -> rustix::io::Result<()> {
        for link in &self.links {
            rustix::fs::unlink(link.as_c_str())?;
        }
        for (target, is_dir) in &self.mounts {
            rustix::mount::unmount(target.as_c_str(), UnmountFlags::DETACH)?;
            if *is_dir {
                rustix::fs::rmdir(target.as_c_str())?;
            } else {
                rustix::fs::unlink(target.as_c_str())?;
            }
        }
        match rustix::fs::rmdir(ETC) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
        rustix::mount::mount_remount(c"/", MountFlags::RDONLY | MountFlags::BIND | ROOT_FLAGS, c"")
    }
}

/// The one folder that is made for a file below it (`ld.so.cache`).
const ETC: &CStr = c"/etc";

/// What holds for the root as long as it exists.
const ROOT_FLAGS: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// Below the emulators' user ids. Each gets this plus its own pid: a user that no other process has, so
/// that no guest can signal another. The range is one that systemd leaves alone (UIDS-GIDS.md: containers end
/// at 0x6fffffff), and pids have 22 bits at most.
const FIRST_UID: u32 = 0x7000_0000;

/// A file or folder of the node in the emulator's root.
struct Mount {
    source: CString,
    /// Absolute in the jail.
    target: CString,
    is_dir: bool,
}

/// Everything that the child needs after the fork, computed before it.
struct Jail {
    mount_point: CString,
    /// What the kernel lists as its source: the container's name.
    name: CString,
    mounts: Vec<Mount>,
    /// (target, link) such as `usr/lib`, `/lib` on systems with merged folders.
    links: Vec<(CString, CString)>,
}

/// Where programs and libraries are; those that a node does not have are left out. Some emulators are shell
/// scripts (Debian's qemu-system-i386), which want `/bin/sh`.
const SYSTEM_DIRS: [&str; 6] = ["/usr", "/bin", "/lib", "/lib32", "/lib64", "/libx32"];

impl Jail {
    fn new(plan: &QemuPlan) -> io::Result<Jail> {
        let name = CString::new(plan.root_name.as_str())?;
        let mut jail =
            Jail { mount_point: c_string(&plan.jail)?, name, mounts: Vec::new(), links: Vec::new() };
        for dir in SYSTEM_DIRS.map(Path::new) {
            match fs::symlink_metadata(dir) {
                Ok(meta) if meta.is_symlink() => {
                    jail.links.push((c_string(&fs::read_link(dir)?)?, c_string(dir)?));
                }
                Ok(meta) if meta.is_dir() => jail.mounts.push(Mount::same_place(dir, true)?),
                _ => {}
            }
        }
        // An emulator outside the system's folders brings its own: /opt/qemu/bin/x needs /opt.
        if let Some(top) = top_folder(&plan.program)
            && !SYSTEM_DIRS.iter().any(|dir| top == Path::new(dir))
        {
            jail.mounts.push(Mount::same_place(&top, true)?);
        }
        let cache = Path::new("/etc/ld.so.cache");
        if cache.exists() {
            jail.mounts.push(Mount::same_place(cache, false)?);
        }
        let firmware = c_string(&plan.firmware)?;
        jail.mounts.push(Mount {
            source: firmware,
            target: c_string(Path::new(FIRMWARE_IN_JAIL))?,
            is_dir: false,
        });
        Ok(jail)
    }

    /// What there will be to take away.
    fn root(&self) -> Root {
        Root {
            mounts: self.mounts.iter().map(|mount| (mount.target.clone(), mount.is_dir)).collect(),
            links: self.links.iter().map(|(_, link)| link.clone()).collect(),
        }
    }

    /// Confines the calling process. Runs after fork: system calls only.
    fn enter(&self, inherited: &[OwnedFd], shim: Pid) -> io::Result<()> {
        forget_oom_score();
        step("entering new namespaces for", || {
            let spaces =
                UnshareFlags::NEWNS | UnshareFlags::NEWNET | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
            sys::unshare(spaces)
        })?;
        step("making the root of", || self.make_root())?;
        step("entering the root of", || self.change_root())?;
        step("handing descriptors to", || {
            inherited.iter().try_for_each(|fd| rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty()))
        })?;
        step("dropping privileges for", drop_privileges)?;
        step("tying to the shim", || tie_to(shim))
    }

    fn make_root(&self) -> rustix::io::Result<()> {
        let root = self.mount_point.as_c_str();
        rustix::mount::mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        let source = self.name.as_c_str();
        rustix::mount::mount(source, root, c"tmpfs", ROOT_FLAGS, c"mode=0755,size=64k,nr_inodes=64")?;
        rustix::process::chdir(root)?;
        for (target, link) in &self.links {
            rustix::fs::symlinkat(target.as_c_str(), CWD, relative(link))?;
        }
        for mount in &self.mounts {
            mount.apply()?;
        }
        Ok(())
    }

    /// The working directory, the new root, becomes `/`.
    fn change_root(&self) -> rustix::io::Result<()> {
        match rustix::process::pivot_root(c".", c".") {
            // The old root lies on top of the new one now.
            Ok(()) => rustix::mount::unmount(c".", UnmountFlags::DETACH)?,
            // pivot_root(2): the root of an initramfs cannot be pivoted away from.
            Err(rustix::io::Errno::INVAL) => {
                rustix::mount::mount_move(c".", c"/")?;
                rustix::process::chroot(c".")?;
            }
            Err(errno) => return Err(errno),
        }
        rustix::process::chdir(c"/")
    }
}

impl Mount {
    fn same_place(path: &Path, is_dir: bool) -> io::Result<Mount> {
        Ok(Mount { source: c_string(path)?, target: c_string(path)?, is_dir })
    }

    /// Mounts read-only below the working directory, the new root.
    fn apply(&self) -> rustix::io::Result<()> {
        let target = relative(&self.target);
        if self.is_dir {
            rustix::fs::mkdirat(CWD, target, Mode::from_raw_mode(0o755))?;
        } else {
            make_parent(target)?;
            let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
            drop(rustix::fs::openat(CWD, target, flags, Mode::from_raw_mode(0o444))?);
        }
        // With what is mounted below: a node may keep its libraries on a file system of their own.
        rustix::mount::mount_bind_recursive(self.source.as_c_str(), target)?;
        let read_only = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
        rustix::mount::mount_remount(target, read_only | MountFlags::BIND, c"")
    }
}

/// Makes `etc` for `etc/ld.so.cache`; the only file below a folder, so one level is enough.
fn make_parent(path: &CStr) -> rustix::io::Result<()> {
    if !path.to_bytes().contains(&b'/') {
        return Ok(());
    }
    match rustix::fs::mkdirat(CWD, relative(ETC), Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Into a cgroup, before anything is used that it counts.
fn pass(doors: &[OwnedFd]) -> rustix::io::Result<()> {
    doors.iter().try_for_each(|door| rustix::io::write(door, b"0").map(drop))
}

/// containerd's own score may tell the kernel to spare it (-999 under systemd); its guests are not spared.
fn forget_oom_score() {
    let file = rustix::fs::open(c"/proc/self/oom_score_adj", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
    if let Ok(file) = file {
        // Refused only where the score would be lowered, which nobody asked for.
        let _ = rustix::io::write(&file, b"0");
    }
}

/// The highest Linux capability number there is room for (capability.h: a 64-bit set).
const LAST_CAPABILITY: u32 = 63;

fn drop_privileges() -> rustix::io::Result<()> {
    use rustix::thread;
    let id = FIRST_UID + rustix::process::getpid().as_raw_nonzero().get().unsigned_abs();
    let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
    for number in 0..=LAST_CAPABILITY {
        let one = thread::CapabilitySet::from_bits_retain(1 << number);
        match thread::remove_capability_from_bounding_set(one) {
            Ok(()) => {}
            // Beyond the last capability that this kernel knows.
            Err(rustix::io::Errno::INVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    thread::set_thread_groups(&[])?;
    thread::set_thread_res_gid(gid, gid, gid)?;
    thread::set_thread_res_uid(uid, uid, uid)?;
    let none = thread::CapabilitySet::empty();
    thread::set_capabilities(
        None,
        thread::CapabilitySets { effective: none, permitted: none, inheritable: none },
    )?;
    thread::set_no_new_privs(true)?;
    let no_core_dump = Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(Resource::Core, no_core_dump)
}

/// The emulator dies with the shim. The signal is cleared by a change of uid, so this comes after it; a
/// shim that died meanwhile is noticed by the new parent.
fn tie_to(shim: Pid) -> rustix::io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if rustix::process::getppid() == Some(shim) { Ok(()) } else { Err(rustix::io::Errno::SRCH) }
}

/// Runs one step of the confinement; where it fails, its name goes to the error stream for the shim.
fn step(name: &str, action: impl FnOnce() -> rustix::io::Result<()>) -> io::Result<()> {
    action().map_err(|errno| {
        let _ = rustix::io::write(rustix::stdio::stderr(), name.as_bytes());
        errno.into()
    })
}

fn c_string(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::from)
}

/// An absolute path without its leading slash. Does not allocate.
fn relative(path: &CStr) -> &CStr {
    let bytes = path.to_bytes_with_nul();
    let start = bytes.iter().take_while(|byte| **byte == b'/').count();
    CStr::from_bytes_with_nul(&bytes[start..]).unwrap_or(c"")
}

/// `/opt` of `/opt/qemu/bin/x`.
fn top_folder(path: &Path) -> Option<PathBuf> {
    let first = path.components().nth(1)?;
    Some(Path::new(OsStr::new("/")).join(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_in_the_jail() {
        assert_eq!(relative(c"/etc/ld.so.cache"), c"etc/ld.so.cache");
        assert_eq!(relative(c"/"), c"");
        assert_eq!(top_folder(Path::new("/opt/qemu/bin/x")), Some(PathBuf::from("/opt")));
    }
}
