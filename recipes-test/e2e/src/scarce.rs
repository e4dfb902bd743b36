//! Full disks, no descriptors, read-only folders, damaged files, dead emulators, under a shim without containerd. The
//! user gets a sentence with the remedy, nothing is left, and when there is room again the next container starts.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use containerd_shim_protos::api::{PauseRequest, StartRequest, StateRequest, Status};
use libtest_mimic::Trial;
use micrun_testkit::firmware::OURS_RISCV64;
use micrun_testkit::{Product, console, trials, wait};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::bare::{Bare, Streams, Task, soon};
use crate::{kill_process, signal_process};

/// The container's id in each trial.
const ID: &str = "scarce";
/// Where all state is, inside.
const STATE: &str = "/run/micrun";

type Tell = fn(&Bare) -> Result<()>;

pub fn trials(product: &Product) -> Vec<Trial> {
    let table: [(&str, Tell); 10] = [
        ("no inode is left for the state", no_inodes),
        ("no room is left for the state", no_room),
        ("no room is left in the bundle", full_bundle),
        ("no room is left for the log", full_log),
        ("the state directory is read-only", read_only),
        ("no descriptor is left", no_descriptors),
        ("state is damaged", damaged_state),
        ("state is a newer build's", newer_state),
        ("QEMU is killed: created, running, paused", killed_emulator),
        ("QEMU hangs when its container is deleted", hanging_emulator),
    ];
    let product = Arc::new(product.clone());
    let trial = |(name, tell): (&str, Tell)| {
        let product = Arc::clone(&product);
        trials::trial(name, move || {
            let bare = Bare::new(product.bin(), &product)?;
            tell(&bare)?;
            bare.assert_clean()
        })
    };
    table.map(trial).into()
}

/// A tmpfs with options, inside. Unmounted when dropped.
struct Tmpfs<'b> {
    bare: &'b Bare,
    at: PathBuf,
}

impl<'b> Tmpfs<'b> {
    fn mount(bare: &'b Bare, at: impl Into<PathBuf>, options: &str) -> Result<Self> {
        let at = at.into();
        std::fs::create_dir_all(bare.namespace.path(&at))?;
        run(bare, Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&at))?;
        Ok(Self { bare, at })
    }

    fn remount(&self, options: &str) -> Result<()> {
        run(self.bare, Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.at))
    }

    /// What is there.
    fn files(&self) -> Result<Vec<PathBuf>> {
        let entries = self.bare.namespace.path(&self.at).read_dir()?;
        Ok(entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?)
    }
}

impl Drop for Tmpfs<'_> {
    fn drop(&mut self) {
        let _ = run(self.bare, Command::new("umount").arg("--lazy").arg(&self.at));
        let _ = std::fs::remove_dir(self.bare.namespace.path(&self.at));
    }
}

/// Runs a program inside.
fn run(bare: &Bare, command: &mut Command) -> Result<()> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = bare.namespace.spawn(command)?.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed: {said}");
    Ok(())
}

/// The sentence of a refusal has all these words.
fn refused<T>(result: Result<T>, words: &[&str]) -> Result<()> {
    let Err(error) = result else { bail!("it should have failed, with {words:?}") };
    let said = format!("{error:#}");
    for word in words {
        ensure!(said.contains(word), "the error should say {word:?}: {said}");
    }
    Ok(())
}

/// Create fails for want of each inode in turn, until there are enough.
fn no_inodes(bare: &Bare) -> Result<()> {
    // The first one is the root's.
    fill_until_it_fits(bare, (2..20).map(|count| format!("nr_inodes={count}")), 3)
}

/// Create fails wherever the disk becomes full: in the firmware's copy, in the state, in the state with the record.
fn no_room(bare: &Bare) -> Result<()> {
    let firmware = bare.firmware().metadata()?.len().div_ceil(4096);
    let pages = [1, firmware / 2].into_iter().chain(firmware - 1..firmware + 10);
    fill_until_it_fits(bare, pages.map(|pages| format!("size={}k", 4 * pages)), 4)
}

/// One shim, one state directory that grows: it is as empty after each failure as before.
fn fill_until_it_fits(bare: &Bare, sizes: impl Iterator<Item = String>, failures: usize) -> Result<()> {
    let mut sizes = sizes.peekable();
    let state = Tmpfs::mount(bare, STATE, sizes.peek().context("no sizes")?)?;
    bare.bundle(ID)?;
    let task = bare.start(ID)?;
    let mut failed = 0;
    for size in sizes {
        state.remount(&size)?;
        if let Err(error) = bare.create(&task, ID, &Streams::default()) {
            let words = ["No space left on device", STATE, "free space", ID];
            refused(Err::<(), _>(error), &words).with_context(|| size.clone())?;
            ensure!(state.files()?.is_empty(), "{size}: left behind: {:?}", state.files()?);
            ensure!(bare.emulators()?.is_empty(), "{size}: an emulator is left");
            failed += 1;
            continue;
        }
        ensure!(failed >= failures, "with {size} it fits already, after {failed} failures");
        start(bare, &task)?;
        bare.end(&task, ID)?;
        ensure!(state.files()?.is_empty(), "left behind: {:?}", state.files()?);
        return Ok(());
    }
    bail!("nothing was enough")
}

/// The address is written by `start` and again by Create; no server stays of a start that failed.
fn full_bundle(bare: &Bare) -> Result<()> {
    let path = bare.bundle(ID)?;
    let config = std::fs::read(path.join("config.json"))?;
    // The root, config.json, rootfs: and nothing for the address.
    let bundle = Tmpfs::mount(bare, &path, "nr_inodes=3")?;
    std::fs::write(bare.namespace.path(&path).join("config.json"), config)?;
    std::fs::create_dir(bare.namespace.path(&path).join("rootfs"))?;
    refused(bare.start(ID).map(drop), &["address", "No space left on device", "free space"])?;
    ensure!(bare.shims()?.is_empty(), "a server was started");
    ensure!(bundle.files()?.len() == 2, "left behind: {:?}", bundle.files()?);
    bundle.remount("nr_inodes=4")?;
    let task = bare.start(ID)?;
    let create = bare.create(&task, ID, &Streams::default());
    refused(create, &["address", "No space left on device", "free space"])?;
    bundle.remount("nr_inodes=20")?;
    bare.create(&task, ID, &Streams::default())?;
    start(bare, &task)?;
    bare.end(&task, ID)
}

/// A guest does not stop because nobody can keep its words; when there is room again, they are kept again.
fn full_log(bare: &Bare) -> Result<()> {
    let logs = bare.scratch.path().join("logs");
    let room = Tmpfs::mount(bare, &logs, "size=16k")?;
    let stdin = bare.scratch.path().join("stdin");
    mkfifo(&stdin, Mode::S_IRWXU)?;
    let log = logs.join("guest.log");
    let streams = Streams { stdin: stdin.display().to_string(), stdout: format!("file://{}", log.display()) };
    bare.bundle(ID)?;
    let task = bare.start(ID)?;
    bare.create(&task, ID, &streams)?;
    bare.ask(task.client().start(soon(), &StartRequest { id: ID.to_owned(), ..Default::default() }))?;
    let seen = bare.namespace.path(&log);
    console::wait_for_log(&seen, OURS_RISCV64.banner)?;
    let mut keys = OpenOptions::new().read(true).write(true).open(&stdin)?;
    keys.write_all(b"flood 2000\n")?;
    wait::until("the log to be full", || Ok((seen.metadata()?.len() == 16 << 10).then_some(())))?;
    // The end of the flood is among what is lost; the guest answers all the same.
    wait::until("the log to go on", || {
        File::create(&seen)?;
        keys.write_all(b"echo still here\n")?;
        std::thread::sleep(Duration::from_millis(50));
        Ok(std::fs::read_to_string(&seen)?.contains("\nstill here").then_some(()))
    })?;
    ensure!(status(bare, &task)? == Status::RUNNING, "the guest does not run any more");
    bare.end(&task, ID)?;
    drop(room);
    Ok(())
}

/// Both actions and Create say what is read-only.
fn read_only(bare: &Bare) -> Result<()> {
    let words = ["Read-only file system", "mount it writable"];
    let state = Tmpfs::mount(bare, STATE, "ro")?;
    bare.bundle(ID)?;
    let task = bare.start(ID)?;
    refused(bare.create(&task, ID, &Streams::default()), &[&words[..], &[STATE]].concat())?;
    state.remount("rw")?;
    bare.create(&task, ID, &Streams::default())?;
    start(bare, &task)?;
    bare.end(&task, ID)?;
    drop(state);
    let sockets = Tmpfs::mount(bare, "/run/containerd", "ro")?;
    refused(bare.start(ID).map(drop), &[&words[..], &["/run/containerd/s"]].concat())?;
    drop(sockets);
    Ok(())
}

/// A shim that can open nothing more says so, waits without spinning, and goes on when it can.
fn no_descriptors(bare: &Bare) -> Result<()> {
    bare.bundle(ID)?;
    let task = bare.start(ID)?;
    let shim = bare.shims()?.first().context("there is no shim")?.clone();
    ensure!(status(bare, &task).is_err(), "there is a container already");
    let limit = |count: &str| {
        let limit = format!("--nofile={count}:4096");
        run(bare, Command::new("prlimit").args(["--pid", &shim.inner_pid.to_string(), &limit]))
    };
    limit("24")?;
    let socket = bare.namespace.path(bare.socket(ID)?);
    let visitors: Vec<UnixStream> =
        (0..40).map(|_| UnixStream::connect(&socket)).collect::<Result<_, _>>()?;
    let create = || bare.create(&task, ID, &Streams::default());
    refused(create(), &["Too many open files", "LimitNOFILE"])?;
    let (before, begun) = (ticks(shim.pid)?, Instant::now());
    std::thread::sleep(Duration::from_secs(1));
    let (used, passed) = (ticks(shim.pid)? - before, begun.elapsed());
    // A hundred ticks are a second of processor time; a shim that spins uses what the machine has.
    ensure!(used < 20, "it used {used} ticks in {} ms: it spins", passed.as_millis());
    ensure!(!bare.namespace.path(STATE).exists(), "Create left something behind");
    drop(visitors);
    wait::until("the shim to take connections again", || Ok(status(bare, &bare.connect_to(ID)?).err()))?;
    limit("1024")?;
    create()?;
    start(bare, &task)?;
    bare.end(&task, ID)
}

/// Nothing but the name is left; the guest is found by it, and the next container starts.
fn damaged_state(bare: &Bare) -> Result<()> {
    for text in ["", "{\"version\":1,", "\0\0\0\0\0\0\0\0"] {
        freed_with_state(bare, Some(text))?;
    }
    freed_with_state(bare, None)
}

/// A newer build's words may mean nothing to this one.
fn newer_state(bare: &Bare) -> Result<()> {
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let boot_id = boot_id.trim();
    let newer = format!(r#"{{"version":99,"boot_id":"{boot_id}","pod":"{ID}","pid":1,"guest":null,"x":[]}}"#);
    freed_with_state(bare, Some(&newer))
}

/// The state is overwritten or removed below a live shim, whose guest does not die with it: `delete` frees it all the same.
fn freed_with_state(bare: &Bare, text: Option<&str>) -> Result<()> {
    bare.run(ID)?;
    let state = bare.namespace.path(STATE).join(&bare.containers).join(ID).join("state.json");
    let done = match text {
        Some(text) => std::fs::write(&state, text),
        None => std::fs::remove_file(&state),
    };
    done.with_context(|| format!("cannot damage {}", state.display()))?;
    bare.delete(ID)?;
    ensure!(bare.emulators()?.is_empty(), "the guest still runs, with state {text:?}");
    bare.kill_shims()?;
    bare.delete(ID)?;
    bare.assert_clean()?;
    bare.life(ID)
}

/// In every state in which there is a guest, the engine is told within a second, and the next container starts.
fn killed_emulator(bare: &Bare) -> Result<()> {
    let mut fastest = Duration::MAX;
    for state in [Status::CREATED, Status::RUNNING, Status::PAUSED] {
        bare.bundle(ID)?;
        let task = bare.start(ID)?;
        bare.create(&task, ID, &Streams::default())?;
        if state != Status::CREATED {
            start(bare, &task)?;
        }
        if state == Status::PAUSED {
            let pause = PauseRequest { id: ID.to_owned(), ..Default::default() };
            bare.ask(task.client().pause(soon(), &pause))?;
        }
        ensure!(status(bare, &task)? == state, "it is not {state:?}");
        let exits = bare.topics().iter().filter(|topic| *topic == "/tasks/exit").count();
        let begun = Instant::now();
        kill_process(bare.emulators()?.first().context("there is no QEMU")?.pid)?;
        ensure!(bare.wait(&task, ID)? == 255, "a guest whose QEMU was killed ends with 255");
        wait::until("the exit event", || {
            let topics = bare.topics();
            Ok((topics.iter().filter(|topic| *topic == "/tasks/exit").count() > exits).then_some(()))
        })?;
        fastest = fastest.min(begun.elapsed());
        ensure!(status(bare, &task)? == Status::STOPPED, "it is not stopped");
        bare.remove(&task, ID)?;
        bare.assert_clean().with_context(|| format!("after {state:?}"))?;
    }
    // The fastest of three: the machine may have other things to do.
    ensure!(fastest < Duration::from_secs(1), "the exit event took {} ms", fastest.as_millis());
    bare.life(ID)
}

/// A QEMU that is stopped answers nothing and ends nothing by itself; `delete` ends it, and Kill does.
fn hanging_emulator(bare: &Bare) -> Result<()> {
    bare.run(ID)?;
    signal_process(bare.emulators()?.first().context("there is no QEMU")?.pid, Signal::SIGSTOP)?;
    bare.kill_shims()?;
    bare.delete(ID)?;
    bare.assert_clean()?;
    let task = bare.run(ID)?;
    signal_process(bare.emulators()?.first().context("there is no QEMU")?.pid, Signal::SIGSTOP)?;
    bare.end(&task, ID)
}

fn start(bare: &Bare, task: &Task) -> Result<()> {
    bare.ask(task.client().start(soon(), &StartRequest { id: ID.to_owned(), ..Default::default() })).map(drop)
}

fn status(bare: &Bare, task: &Task) -> Result<Status> {
    let request = StateRequest { id: ID.to_owned(), ..Default::default() };
    Ok(bare.ask(task.client().state(soon(), &request))?.status.enum_value_or_default())
}

/// Processor time of a process, clock ticks (proc_pid_stat(5), fields 14 and 15).
fn ticks(pid: u32) -> Result<u64> {
    let text = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"))?;
    let rest = text.rsplit_once(')').context("no process status")?.1;
    let field =
        |number: usize| rest.split_whitespace().nth(number - 3).and_then(|text| text.parse::<u64>().ok());
    field(14).zip(field(15)).map(|(user, system)| user + system).context("no processor time")
}
