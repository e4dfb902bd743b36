//! What the tests share: a client that writes bytes, and firmware.
#![allow(dead_code, reason = "not every test program uses all of it")]
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use micad_sim::{Options, Sim};
use nix::fcntl::OFlag;
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};

/// A create message, packed by hand.
pub struct Message<'a> {
    pub name: &'a str,
    pub path: &'a Path,
    pub pedestal: &'a str,
    pub conf: &'a Path,
    pub cpu: &'a str,
    pub debug: bool,
    /// vcpus, max_vcpus, weight, capacity, memory, max_memory.
    pub numbers: [i32; 6],
}

impl<'a> Message<'a> {
    pub fn bare(name: &'a str, path: &'a Path, cpu: &'a str) -> Message<'a> {
        Message { name, path, pedestal: "", conf: Path::new(""), cpu, debug: false, numbers: [-1; 6] }
    }

    pub fn xen(name: &'a str, path: &'a Path) -> Message<'a> {
        Message {
            pedestal: "xen",
            conf: path,
            numbers: [1, -1, -1, -1, 64, -1],
            ..Message::bare(name, path, "")
        }
    }

    pub fn pack(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut text = |value: &str, length: usize| {
            let end = bytes.len() + length;
            bytes.extend(value.bytes());
            bytes.resize(end, 0);
        };
        text(self.name, 66);
        text(self.path.to_str().unwrap(), 256);
        text(self.pedestal, 16);
        text(self.conf.to_str().unwrap(), 256);
        text(if self.debug { "\u{1}" } else { "" }, 1);
        text(self.cpu, 129);
        bytes.extend(self.numbers.iter().flat_map(|number| number.to_le_bytes()));
        bytes.resize(1772, 0);
        bytes
    }
}

/// Connects, writes once, and reads the answer.
pub fn ask(socket: &Path, message: &[u8]) -> String {
    let mut connection = UnixStream::connect(socket).unwrap();
    connection.write_all(message).unwrap();
    answer(&mut connection)
}

/// Whatever comes until a marker or the end. After a start on Xen there is no end while the domain lives.
pub fn answer(connection: &mut UnixStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 512];
    while !bytes.ends_with(b"MICA-SUCCESS") && !bytes.ends_with(b"MICA-FAILED") {
        match connection.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => bytes.extend(&buffer[..length]),
            // The daemon closed with bytes unread.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error}"),
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// A simulator and what tests ask it.
pub struct Daemon {
    pub sim: Sim,
    /// For firmware files of the test's own.
    pub folder: tempfile::TempDir,
}

impl Daemon {
    pub fn start(change: impl FnOnce(&mut Options)) -> Daemon {
        Daemon { sim: Sim::for_test(change).unwrap(), folder: tempfile::tempdir().unwrap() }
    }

    pub fn socket(&self, name: &str) -> PathBuf {
        self.sim.dir().join(format!("{name}.socket"))
    }

    pub fn create(&self, message: &Message<'_>) -> String {
        ask(&self.socket("mica-create"), &message.pack())
    }

    pub fn tell(&self, name: &str, command: &str) -> String {
        ask(&self.socket(name), command.as_bytes())
    }

    pub fn order(&self, order: &str) {
        self.sim.order(order).unwrap();
    }

    /// The word in the third column of the status of a client with a short name.
    pub fn state(&self, name: &str) -> String {
        self.tell(name, "status")[50..70].trim().to_owned()
    }

    /// The names of the guests that there are.
    pub fn guests(&self) -> Vec<String> {
        self.sim.guests().unwrap().into_iter().map(|guest| guest.name).collect()
    }

    /// A file with these bytes.
    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Waits for the links to this many ttys, and returns the last.
    pub fn tty(&self, count: usize) -> PathBuf {
        until("a tty", || {
            let mut links: Vec<PathBuf> =
                fs::read_dir(self.sim.dev()).unwrap().map(|entry| entry.unwrap().path()).collect();
            links.sort();
            (links.len() == count).then(|| links.pop()).flatten()
        })
    }
}

/// Creates a client and starts it.
pub fn started(daemon: &Daemon, message: &Message<'_>) {
    assert_eq!(daemon.create(message), "MICA-SUCCESS");
    assert_eq!(daemon.tell(message.name, "start"), "MICA-SUCCESS", "{:?}", daemon.sim.journal());
}

/// A client's end of a tty.
pub struct Tty(pub File);

impl Tty {
    pub fn open(path: &Path) -> Tty {
        let flags = (OFlag::O_NOCTTY | OFlag::O_NONBLOCK).bits();
        Tty(OpenOptions::new().read(true).write(true).custom_flags(flags).open(path).unwrap())
    }

    pub fn raw(path: &Path) -> Tty {
        let tty = Tty::open(path);
        let mut modes = tcgetattr(&tty.0).unwrap();
        cfmakeraw(&mut modes);
        tcsetattr(&tty.0, SetArg::TCSANOW, &modes).unwrap();
        tty
    }

    pub fn read(&mut self) -> String {
        let mut buffer = [0; 4096];
        match self.0.read(&mut buffer) {
            Ok(length) => String::from_utf8_lossy(&buffer[..length]).into_owned(),
            Err(_) => String::new(),
        }
    }

    pub fn expect(&mut self, text: &str) -> String {
        let mut seen = String::new();
        until(text, || {
            seen += &self.read();
            seen.contains(text).then_some(())
        });
        seen
    }
}

/// Waits for something that will happen.
pub fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < end, "waited for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The test firmware, which has a resource table.
pub fn firmware() -> &'static Path {
    static BUILT: LazyLock<(tempfile::TempDir, PathBuf)> = LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        micrun_testkit::product::build_firmware("qemu_arm64", folder.path(), "").unwrap();
        let elf = folder.path().join("qemu_arm64.elf");
        (folder, elf)
    });
    &BUILT.1
}

/// The test firmware with its resource table's section renamed, as if it had none.
pub fn firmware_without_table() -> Vec<u8> {
    let mut bytes = fs::read(firmware()).unwrap();
    let name = b".resource_table\0";
    let at = bytes.windows(name.len()).position(|window| window == name).unwrap();
    bytes[at + 1] = b'R';
    bytes
}

/// The test firmware with another byte at this place of its resource table.
pub fn firmware_with((offset, byte): (usize, u8)) -> Vec<u8> {
    let mut bytes = fs::read(firmware()).unwrap();
    let table: Vec<u8> = [1_u32, 2, 0, 0, 24, 92].iter().flat_map(|word| word.to_le_bytes()).collect();
    let at = bytes.windows(table.len()).position(|window| window == table).unwrap();
    bytes[at + offset] = byte;
    bytes
}

/// Of an unknown version.
pub const BAD_TABLE: (usize, u8) = (0, 2);
/// Its device is a trace buffer instead of RPMsg's.
pub const NO_RPMSG: (usize, u8) = (24, 2);
/// Its list of vrings is a pair of ring buffers for the debugger: nobody tells a domain where the vrings are.
pub const RING_BUFFERS: (usize, u8) = (92, 129);
