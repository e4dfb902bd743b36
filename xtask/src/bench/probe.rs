//! A shim as containerd starts it, but without containerd: how long until it answers.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::containerd::{ADDRESS, HOME};
use micrun_testkit::{Containerd, ttrpc, wait};
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use super::subject::Subject;

const SERVICE: &str = "containerd.task.v2.Task";

/// Milliseconds from the spawn of `SHIM … start` until a request for a task that does not exist is refused.
///
/// # Errors
/// If the shim does not start, or does not go away when told to.
pub fn start_to_reply(containerd: &Containerd, subject: &Subject, id: &str) -> Result<f64> {
    let bundle = format!("{HOME}/probe-{id}");
    let seen = containerd.namespace().path(&bundle);
    fs::create_dir(&seen).with_context(|| format!("cannot create {}", seen.display()))?;
    fs::write(seen.join("config.json"), "{\"ociVersion\":\"1.0.2\"}").context("cannot write config.json")?;
    // containerd holds the log FIFO open before it starts a shim.
    let fifo = seen.join("log");
    nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).context("cannot make the log FIFO")?;
    let log = File::options().read(true).write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&fifo);
    let mut log = log.context("cannot open the log FIFO")?;

    let mut shell = waiting(containerd, subject, id, &bundle)?;
    let start = Instant::now();
    let mut shim = go(containerd, &mut shell).with_context(|| {
        let mut said = vec![0; 4096];
        let length = log.read(&mut said).unwrap_or_default();
        format!("{} does not start: {}", subject.shim.display(), String::from_utf8_lossy(&said[..length]))
    })?;
    shim.call(SERVICE, "Connect", id)?;
    let time = start.elapsed();

    // Some exit before they have answered this.
    let _ = shim.call(SERVICE, "Shutdown", id);
    let name = subject.shim.file_name().unwrap_or_default().to_string_lossy().into_owned();
    wait::until(&format!("{name} to exit"), || {
        let processes = containerd.namespace().processes()?;
        Ok((!processes.iter().any(|process| process.program() == name)).then_some(()))
    })?;
    fs::remove_dir_all(&seen).with_context(|| format!("cannot remove {}", seen.display()))?;
    Ok(time.as_secs_f64() * 1e3)
}

/// A shell that will run `start` with the flags and variables of containerd 1.7 when it gets a line. A shim looks at
/// its parent, which must be in the same PID namespace.
fn waiting(containerd: &Containerd, subject: &Subject, id: &str, bundle: &str) -> Result<Child> {
    let mut command = containerd.program("sh");
    command.args(["-c", "read -r _; \"$@\" </dev/null", "sh"]).arg(&subject.shim);
    command.args(["-namespace", containerd.containers(), "-address", ADDRESS, "-publish-binary"]);
    command.arg(containerd.release().bin.join("containerd")).args(["-id", id, "start"]);
    command.env("TTRPC_ADDRESS", format!("{ADDRESS}.ttrpc")).env("GRPC_ADDRESS", ADDRESS);
    command.env("NAMESPACE", containerd.containers()).env("MAX_SHIM_VERSION", "2").env("GOMAXPROCS", "2");
    command.current_dir(bundle).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    containerd.namespace().spawn(&mut command)
}

/// Lets it go, and dials the address that it prints: bare, or in JSON.
fn go(containerd: &Containerd, shell: &mut Child) -> Result<ttrpc::Client> {
    let mut stdin = shell.stdin.take().context("the shell has no stdin")?;
    stdin.write_all(b"go\n").context("the shell has gone")?;
    let mut said = String::new();
    for stream in [shell.stdout.take().map(OwnedFd::from), shell.stderr.take().map(OwnedFd::from)] {
        let Some(stream) = stream else { continue };
        File::from(stream).read_to_string(&mut said).context("cannot read what the shim prints")?;
    }
    let status = shell.wait().context("cannot wait for the shell")?;
    ensure!(status.success(), "{said}");
    let address = said.split_once("unix://").with_context(|| format!("it printed no address: {said:?}"))?.1;
    let address = address.split(['"', '\n']).next().unwrap_or_default();
    containerd.namespace().inside(|| {
        let stream = UnixStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
        stream.set_read_timeout(Some(Duration::from_secs(60))).context("cannot set a timeout")?;
        Ok(ttrpc::Client::new(stream))
    })
}
