//! The action `start`: make sure that a shim serves the container, and say where.
//!
//! The socket is bound here, before the server exists, and handed over as its stdin: a client that connects
//! early waits in the queue instead of failing. Nothing else of this process reaches the server.

use std::fs;
use std::io::{IsTerminal, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};

use containerd_shim::bootstrap::{BootstrapParams, BootstrapResult};
use containerd_shim::protos::protobuf::Message;
use containerd_shim::{Flags, socket_address};
use rustix::fs::Mode;
use serde_json::json;

use super::address::{is_open, lock_sockets, path_of, write_address};
use super::{ACTION_SERVE, ActionError, EVENTS_ADDRESS, key};
use crate::bundle::Bundle;
use crate::sys;

/// Most that is read from stdin, bytes; containerd itself takes no more from a shim's.
const MAX_STDIN: u64 = 10 * 1024 * 1024;

/// The Task API that is announced. The third is a renamed copy, served on the same socket, and announcing
/// the second works from containerd 1.6 to 2.x.
const TASK_API: i32 = 2;

/// The Task API of a shim with the Sandbox service. containerd 2.x takes that for a sign that the shim needs no `start`
/// for each container of its pod.
const TASK_API_WITH_SANDBOX: i32 = 3;

/// The folder in which containerd 2.x keeps the bundles of shims that are sandboxes (`sandboxer = "shim"`): its parts are
/// this, the namespace and the id.
const SANDBOXES: &str = "io.containerd.sandbox.controller.v1.shim";

/// Starts a shim, or finds the one of the container's pod. Gives the reply for containerd.
pub fn start(flags: &Flags) -> Result<Vec<u8>, ActionError> {
    let key = key(flags)?;
    let caller = Caller::find(flags)?;
    let dir = std::env::current_dir().map_err(ActionError::when("finding the bundle"))?;
    let (pod, version) = match is_sandbox(&dir) {
        true => (key.id, TASK_API_WITH_SANDBOX),
        false => {
            let bundle = Bundle::open(&dir).and_then(|bundle| bundle.pod(&key.id));
            (bundle.map_err(ActionError::when(format!("container {}", key.id)))?, TASK_API)
        }
    };
    let address = socket_address(&flags.address, &flags.namespace, pod.as_str());
    // Before there is a server: a full disk leaves none behind.
    write_address(&dir, &address)?;
    crash_point!(StartAddressed);
    let socket = path_of(&address);
    let _others_wait = lock_sockets(&socket).map_err(ActionError::io(making(&socket)))?;
    if let Some(listener) = listen(&socket)?
        && let Err(error) = spawn_server(flags, &caller, &dir, &socket, listener)
    {
        let _ = fs::remove_file(&socket);
        return Err(error);
    }
    crash_point!(StartSpawned);
    caller.reply(&address, version)
}

/// Whether containerd asks for a shim that is a sandbox. There is no config.json then.
fn is_sandbox(bundle: &Path) -> bool {
    bundle.ancestors().nth(2).and_then(Path::file_name).is_some_and(|name| name == SANDBOXES)
}

fn making(socket: &Path) -> String {
    format!("making the socket {}", socket.display())
}

/// A socket to serve on, for root alone; none where a live shim serves there already.
fn listen(socket: &Path) -> Result<Option<UnixListener>, ActionError> {
    if is_open(socket) {
        return Ok(None);
    }
    // What a shim that was killed left behind.
    match fs::remove_file(socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(ActionError::io(making(socket))(error));
        }
        _ => {}
    }
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(socket);
    rustix::process::umask(before);
    crash_point!(StartBound);
    listener.map(Some).map_err(ActionError::io(making(socket)))
}

fn spawn_server(
    flags: &Flags,
    caller: &Caller,
    bundle: &Path,
    socket: &Path,
    listener: UnixListener,
) -> Result<(), ActionError> {
    let doing = "starting the shim";
    sys::close_on_exec_from_3().map_err(ActionError::when(doing))?;
    let program = std::env::current_exe().map_err(ActionError::when(doing))?;
    let mut command = Command::new(program);
    command
        .args(["-namespace", &flags.namespace, "-id", &flags.id, "-address", &flags.address])
        .arg("-bundle")
        .arg(bundle)
        .arg("-socket")
        .arg(socket)
        .args(flags.debug.then_some("-debug"))
        .arg(ACTION_SERVE)
        .env(EVENTS_ADDRESS, &caller.events_address)
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(listener)))
        // containerd waits for the end of both before it reads the reply.
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().map(drop).map_err(ActionError::io(doing))
}

/// The containerd that runs this action: where its events go, and what reply it reads. What tells the
/// versions apart was measured on 1.6.20, 1.7.24 and 2.1.9.
struct Caller {
    events_address: String,
    reply: Reply,
}

enum Reply {
    /// 1.6 dials whatever it reads.
    Address,
    /// 1.7 and 2.0 to 2.2.
    Json,
    /// 2.3 and later, which send parameters on stdin.
    Bootstrap,
}

impl Caller {
    fn find(flags: &Flags) -> Result<Caller, ActionError> {
        if let Some(parameters) = bootstrap_parameters(flags)? {
            return Ok(Caller {
                events_address: parameters.containerd_ttrpc_address,
                reply: Reply::Bootstrap,
            });
        }
        let events_address = std::env::var(EVENTS_ADDRESS)
            .map_err(ActionError::when(format!("reading {} from the environment", EVENTS_ADDRESS)))?;
        let reply = match std::env::var_os("MAX_SHIM_VERSION") {
            None => Reply::Address,
            Some(_) => Reply::Json,
        };
        Ok(Caller { events_address, reply })
    }

    fn reply(&self, address: &str, version: i32) -> Result<Vec<u8>, ActionError> {
        match self.reply {
            Reply::Address => Ok(address.into()),
            Reply::Json => {
                let reply = json!({ "version": version, "address": address, "protocol": "ttrpc" });
                Ok(reply.to_string().into())
            }
            Reply::Bootstrap => {
                let reply = BootstrapResult {
                    version,
                    address: address.to_owned(),
                    protocol: "ttrpc".to_owned(),
                    ..Default::default()
                };
                reply.write_to_bytes().map_err(ActionError::when("writing the reply"))
            }
        }
    }
}

/// What containerd 2.3 and later send on stdin. Older ones send runtime options or nothing; options are
/// another message, in which the id is not where it would have to be.
fn bootstrap_parameters(flags: &Flags) -> Result<Option<BootstrapParams>, ActionError> {
    let mut stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    (&mut stdin).take(MAX_STDIN).read_to_end(&mut bytes).map_err(ActionError::when("reading stdin"))?;
    let parameters = BootstrapParams::parse_from_bytes(&bytes).ok();
    Ok(parameters.filter(|found| found.instance_id == flags.id && found.namespace == flags.namespace))
}
