//! A client of the engine: it makes the FIFOs, names them in its Create, and sits at their other ends.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use containerd_shim_protos::api::CreateTaskRequest;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::support::{SOON, Shim, create_request, soon, start};

const NONBLOCK: i32 = 0o4000;

/// The FIFOs of a container and the client's ends of them.
pub struct Client {
    pub stdin: File,
    pub stdout: File,
    paths: [PathBuf; 2],
}

impl Client {
    pub fn new(dir: &Path) -> Client {
        Client::open(["stdin", "stdout"].map(|name| make_fifo(dir, name)))
    }

    pub fn open(paths: [PathBuf; 2]) -> Client {
        let stdin = OpenOptions::new().read(true).write(true).custom_flags(NONBLOCK).open(&paths[0]).unwrap();
        Client { stdin, stdout: open_reader(&paths[1]), paths }
    }

    /// Another client at the same FIFOs, after this one has gone.
    pub fn replace(&mut self) {
        let paths = self.paths.clone();
        let null = || File::open("/dev/null").unwrap();
        (self.stdin, self.stdout) = (null(), null());
        *self = Client::open(paths);
    }

    /// A Create with both streams.
    pub fn request(&self, shim: &Shim, terminal: bool) -> CreateTaskRequest {
        let [stdin, stdout] = self.paths.clone().map(|path| path.display().to_string());
        CreateTaskRequest { bundle: shim.bundle("a").text(), stdin, stdout, terminal, ..create_request("a") }
    }

    /// Reads until the text is there.
    pub async fn expect(&mut self, text: &str) -> String {
        let deadline = Instant::now() + SOON;
        let mut seen = String::new();
        while !seen.contains(text) {
            assert!(Instant::now() < deadline, "{text:?} did not come, but {seen:?}");
            seen.push_str(&self.read_some());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        seen
    }

    pub fn read_some(&mut self) -> String {
        let mut buffer = [0; 4096];
        match self.stdout.read(&mut buffer) {
            Ok(length) => String::from_utf8_lossy(&buffer[..length]).into_owned(),
            Err(_) => String::new(),
        }
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.stdin.write_all(bytes).unwrap();
    }

    /// Types bytes as fast as they are taken.
    pub async fn type_all(&mut self, bytes: &[u8]) {
        let deadline = Instant::now() + SOON;
        let mut typed = 0;
        while typed < bytes.len() {
            assert!(Instant::now() < deadline, "the guest stalled after {typed} bytes");
            match self.stdin.write(&bytes[typed..]) {
                Ok(length) => typed += length,
                Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    }

    /// Types so many bytes of which none stands in any other output.
    pub async fn flood(&mut self, count: usize) {
        self.type_all(&vec![b'x'; count]).await;
    }
}

/// Makes a FIFO, as engines do before they call the shim.
pub fn make_fifo(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    path
}

/// A reader that does not wait for a writer.
pub fn open_reader(path: &Path) -> File {
    OpenOptions::new().read(true).custom_flags(NONBLOCK).open(path).unwrap()
}

/// Creates and starts the container `a` with a client's streams.
pub async fn run(shim: &Shim, client: &Client, terminal: bool) {
    run_request(shim, &client.request(shim, terminal)).await;
}

/// Creates and starts the container `a`.
pub async fn run_request(shim: &Shim, request: &CreateTaskRequest) {
    shim.task.create(soon(), request).await.unwrap();
    shim.task.start(soon(), &start("a")).await.unwrap();
}

/// Kills the container `a` and waits for its end.
pub async fn kill(shim: &Shim) -> u32 {
    shim.task.kill(soon(), &crate::support::kill("a", 9)).await.unwrap();
    shim.task.wait(soon(), &crate::support::wait("a")).await.unwrap().exit_status
}
