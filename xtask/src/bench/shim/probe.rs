//! A shim as containerd starts it, but without containerd: how long until it answers.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::containerd::ADDRESS;
use micrun_testkit::{Containerd, ttrpc, wait};

use super::subject::Subject;
use super::task::Bundle;

/// Milliseconds from the spawn of `SHIM … start` until a request for a task that does not exist is refused.
///
/// # Errors
/// If the shim does not start, or does not go away when told to.
pub fn start_to_reply(containerd: &Containerd, subject: &Subject, id: &str) -> Result<f64> {
    let bundle = Bundle::new(containerd, id, "{\"ociVersion\":\"1.0.2\"}")?;
    // containerd holds the log FIFO open before it starts a shim.
    let mut log = bundle.fifo("log")?;
    let mut shell = waiting(containerd, subject, id, &bundle.inside, &[])?;
    let start = Instant::now();
    let mut shim = go(containerd, &mut shell).with_context(|| {
        let mut said = vec![0; 4096];
        let length = log.read(&mut said).unwrap_or_default();
        format!("{} does not start: {}", subject.shim.display(), String::from_utf8_lossy(&said[..length]))
    })?;
    shim.call(subject.service, "Connect", id)?;
    let time = start.elapsed();
    shut_down(containerd, subject, &mut shim, id)?;
    Ok(time.as_secs_f64() * 1e3)
}

/// Has a shim without tasks end, and waits until it has.
pub fn shut_down(
    containerd: &Containerd,
    subject: &Subject,
    shim: &mut ttrpc::Client,
    id: &str,
) -> Result<()> {
    // Some exit before they have answered this.
    let _ = shim.call(subject.service, "Shutdown", id);
    let name = subject.program_name();
    wait::until(&format!("{name} to exit"), || {
        let processes = containerd.namespace().processes()?;
        Ok((!processes.iter().any(|process| process.program() == name)).then_some(()))
    })
}

/// A shell that will run `start` with the flags and variables of containerd 1.7 when it gets a line. A shim looks at
/// its parent, which must be in the same PID namespace.
pub fn waiting(
    containerd: &Containerd,
    subject: &Subject,
    id: &str,
    bundle: &str,
    variables: &[(&str, &str)],
) -> Result<Child> {
    let mut command = containerd.program("sh");
    command.args(["-c", "read -r _; \"$@\" </dev/null", "sh"]).arg(&subject.shim);
    command.args(["-namespace", containerd.containers(), "-address", ADDRESS, "-publish-binary"]);
    command.arg(containerd.release().bin.join("containerd")).args(["-id", id, "start"]);
    command.env("TTRPC_ADDRESS", format!("{ADDRESS}.ttrpc")).env("GRPC_ADDRESS", ADDRESS);
    command.env("NAMESPACE", containerd.containers()).env("MAX_SHIM_VERSION", "2").env("GOMAXPROCS", "2");
    command.envs(variables.iter().copied());
    command.current_dir(bundle).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    containerd.namespace().spawn(&mut command)
}

/// Lets it go, and dials the address that it prints: bare, or in JSON.
pub fn go(containerd: &Containerd, shell: &mut Child) -> Result<ttrpc::Client> {
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
