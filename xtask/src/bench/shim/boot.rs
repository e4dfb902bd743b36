//! What the shim adds to the time that a hypervisor takes to boot a guest.
//!
//! The guest's first sign of life is the first byte of its banner. Under the shim, the time until then is that of the
//! calls Create and Start together (nothing that a caller does between them counts), from the request to the byte.
//! From it goes what QEMU takes without us: started by hand with the arguments that the shim gave it, from its start
//! to the answer to its first command (its machine is built then), and from `cont` to the byte.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result};
use micrun_testkit::firmware::OURS_ARM64;
use micrun_testkit::{Containerd, Product, step, wait};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use super::report::{Report, Row, median};
use super::subject::Subject;
use super::task::{Bundle, Task};

/// Milliseconds of the two halves: until the guest could run, and from then to its first byte.
type Halves = [f64; 2];

/// Measures both, in turns.
pub fn measure(
    containerd: &Containerd,
    product: &Product,
    ours: &Subject,
    runs: u32,
    report: &mut Report,
) -> Result<()> {
    step(format_args!("Booting a guest with the shim and without it, {runs} times each, in turns"));
    let firmware = OURS_ARM64.elf(product.firmware());
    let mut samples: [[Vec<f64>; 2]; 2] = Default::default();
    for _ in 0..runs {
        let (with_us, arguments) = with_shim(containerd, ours, &firmware)?;
        let without_us = by_hand(&arguments, &firmware)?;
        for (halves, samples) in [with_us, without_us].into_iter().zip(&mut samples) {
            halves.into_iter().zip(samples).for_each(|(half, samples)| samples.push(half));
        }
    }
    let [[create, start], [made, run]] = samples.map(|halves| halves.map(median));
    report.add(Row::of_ours("Create and Start to the guest's first byte", "ms", create + start));
    report.add(Row::of_ours("  of that, QEMU by hand", "ms", made + run));
    report.add(
        Row::of_ours("  beyond QEMU, Create and Start", "ms", create + start - made - run).at_most(12.0),
    );
    report.add(Row::of_ours("  beyond QEMU, Start alone", "ms", start - run).at_most(12.0));
    Ok(())
}

/// The bundle of a guest, with a root file system that needs no mount.
pub fn our_bundle(containerd: &Containerd, firmware: &Path) -> Result<Bundle> {
    let bundle = Bundle::new(containerd, "guest", "{\"ociVersion\":\"1.0.2\"}")?;
    bundle.write(
        "rootfs/client.conf",
        "[Mica]\nName=bench\nClientPath=/firmware.elf\nPedestal=qemu\nPedestalConf=\n\n[MicRun]\nboard=qemu_arm64\n",
    )?;
    bundle.copy(firmware, "rootfs/firmware.elf")?;
    Ok(bundle)
}

/// Boots one under the shim; also gives what the emulator was started with.
fn with_shim(containerd: &Containerd, ours: &Subject, firmware: &Path) -> Result<(Halves, Vec<String>)> {
    let bundle = our_bundle(containerd, firmware)?;
    let path = std::env::var("PATH").context("PATH is no text")?;
    let mut task = Task::of(containerd, ours, bundle, &[("PATH", &path)])?;
    let start = Instant::now();
    task.create(false)?;
    let created = start.elapsed();
    let arguments = emulator(containerd)?;
    let start = Instant::now();
    task.start()?;
    task.read(&mut [0; 1])?;
    let booted = start.elapsed();
    task.end(containerd)?;
    Ok(([created, booted].map(|time| time.as_secs_f64() * 1e3), arguments))
}

fn emulator(containerd: &Containerd) -> Result<Vec<String>> {
    let processes = containerd.namespace().processes()?;
    let qemu = processes.into_iter().find(|process| process.program().starts_with("qemu-system-"));
    let pid = qemu.context("no emulator is running")?.pid;
    let line =
        std::fs::read(format!("/proc/{pid}/cmdline")).context("cannot read the emulator's arguments")?;
    let line = line.strip_suffix(b"\0").unwrap_or(&line);
    Ok(line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect())
}

/// Boots one without the shim: the same arguments, the same two sockets, no jail.
fn by_hand(arguments: &[String], firmware: &Path) -> Result<Halves> {
    let (control, control_theirs) = UnixStream::pair().context("cannot make a socket")?;
    let (mut console, console_theirs) = UnixStream::pair().context("cannot make a socket")?;
    let (program, arguments) = arguments.split_first().context("the emulator has no arguments")?;
    let mut command = Command::new(program);
    command.args(arguments.iter().map(|argument| match argument.as_str() {
        "/firmware.elf" => firmware.display().to_string(),
        text if text.starts_with("socket,id=control,fd=") => fd_of("control", &control_theirs),
        text if text.starts_with("socket,id=console,fd=") => fd_of("console", &console_theirs),
        other => other.to_owned(),
    }));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let theirs = [OwnedFd::from(control_theirs), OwnedFd::from(console_theirs)];
    for fd in &theirs {
        fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty())).context("cannot hand a socket over")?;
    }
    console.set_read_timeout(Some(wait::DEADLINE)).context("cannot set a timeout")?;

    let start = Instant::now();
    let mut qemu = command.spawn().with_context(|| format!("cannot start {program}"))?;
    drop(theirs);
    let mut qmp = BufReader::new(control);
    let times = (|| {
        ask(&mut qmp, "qmp_capabilities")?;
        let made = start.elapsed();
        let start = Instant::now();
        ask(&mut qmp, "cont")?;
        console.read_exact(&mut [0; 1]).context("the guest said nothing")?;
        Ok([made, start.elapsed()].map(|time| time.as_secs_f64() * 1e3))
    })();
    qemu.kill().context("cannot kill QEMU")?;
    qemu.wait().context("cannot wait for QEMU")?;
    times
}

fn fd_of(name: &str, socket: &UnixStream) -> String {
    format!("socket,id={name},fd={}", socket.as_raw_fd())
}

/// Sends a command and waits for its answer.
fn ask(qmp: &mut BufReader<UnixStream>, command: &str) -> Result<()> {
    let doing = || format!("QEMU's command {command}");
    qmp.get_ref().set_read_timeout(Some(wait::DEADLINE)).context("cannot set a timeout")?;
    qmp.get_mut().write_all(format!("{{\"execute\":\"{command}\"}}\n").as_bytes()).with_context(doing)?;
    let mut line = String::new();
    while !line.contains("\"return\"") {
        line.clear();
        let length = qmp.read_line(&mut line).with_context(doing)?;
        anyhow::ensure!(length > 0, "QEMU ended before it answered {command}");
    }
    Ok(())
}
