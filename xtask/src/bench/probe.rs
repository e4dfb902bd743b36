//! A shim as containerd starts it, but without containerd: how long until it answers.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::containerd::{ADDRESS, HOME};
use micrun_testkit::{Containerd, shell, ttrpc, wait};
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

    let start = Instant::now();
    let mut stream = connect(containerd, subject, id, &bundle).with_context(|| {
        let mut said = vec![0; 4096];
        let length = log.read(&mut said).unwrap_or_default();
        format!("{} does not start: {}", subject.shim.display(), String::from_utf8_lossy(&said[..length]))
    })?;
    ttrpc::call(&mut stream, SERVICE, "Connect", id)?;
    let time = start.elapsed();

    // Some exit before they have answered this.
    let _ = ttrpc::call(&mut stream, SERVICE, "Shutdown", id);
    let name = subject.shim.file_name().unwrap_or_default().to_string_lossy().into_owned();
    wait::until(&format!("{name} to exit"), || {
        let processes = containerd.namespace().processes()?;
        Ok((!processes.iter().any(|process| process.program() == name)).then_some(()))
    })?;
    fs::remove_dir_all(&seen).with_context(|| format!("cannot remove {}", seen.display()))?;
    Ok(time.as_secs_f64() * 1e3)
}

/// Runs `start` with the flags and variables of containerd 1.7, and dials the address that it prints.
fn connect(containerd: &Containerd, subject: &Subject, id: &str, bundle: &str) -> Result<UnixStream> {
    let mut command = containerd.program(&subject.shim);
    command.args(["-namespace", containerd.containers(), "-address", ADDRESS, "-publish-binary"]);
    command.arg(containerd.release().bin.join("containerd")).args(["-id", id, "start"]);
    command.env("TTRPC_ADDRESS", format!("{ADDRESS}.ttrpc")).env("GRPC_ADDRESS", ADDRESS);
    command.env("NAMESPACE", containerd.containers()).env("MAX_SHIM_VERSION", "2").env("GOMAXPROCS", "2");
    command.current_dir(bundle).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = containerd.namespace().spawn(&mut command).map(Child::wait_with_output)?;
    let output = output.with_context(|| format!("cannot wait for `{}`", shell::line(&command)))?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    // A bare address, or JSON that holds one.
    let address = said.split_once("unix://").context("it printed no unix:// address")?.1;
    let address = address.split(['"', '\n']).next().unwrap_or_default();
    containerd.namespace().inside(|| {
        let stream = UnixStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
        stream.set_read_timeout(Some(Duration::from_secs(60))).context("cannot set a timeout")?;
        Ok(stream)
    })
}
