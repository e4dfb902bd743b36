//! What a plan may know about the node.

use std::path::{Path, PathBuf};

use micrun_image_spec::board::{BoardError, Boards};
use rustix::fs::{Access, access};

use crate::cgroup::{Hierarchies, systemd};
use crate::resources::CpuSet;

/// Where a node keeps board profiles of its own. Outside `/etc/mica` itself: micad reads every file there.
pub const BOARDS_DIR: &str = "/etc/mica/micrun/boards.d";

/// Where a node says how the shells of its guests look.
pub const OS_DIR: &str = "/etc/mica/micrun/os.d";

/// The cores that the machine has, also those that Linux was told to leave alone.
const PRESENT_CPUS: &str = "/sys/devices/system/cpu/present";

/// The cores that Linux runs on.
const ONLINE_CPUS: &str = "/sys/devices/system/cpu/online";

/// Says `xen` in the domain that controls it, and in others.
const HYPERVISOR: &str = "/sys/hypervisor/type";

/// Looked through after `PATH`, which an engine may hand over empty.
const PROGRAM_DIRS: [&str; 4] = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/libexec"];

/// Whether this machine runs on Xen.
pub fn on_xen() -> bool {
    std::fs::read_to_string(HYPERVISOR).is_ok_and(|text| text.trim() == "xen")
}

/// The Linux host, as far as plans look at it.
#[derive(Clone, Debug)]
pub struct Node {
    /// The boards that guests of this node can be built for.
    pub boards: Boards,
    /// Where this node's OS profiles are. They are read when a guest needs one.
    pub os_dir: PathBuf,
    /// Where micad has its sockets, where it runs.
    pub micad: PathBuf,
    /// Whether this machine runs on Xen.
    pub on_xen: bool,
    /// The cores that Linux knows of. On Xen these are Dom0's own.
    pub cores: CpuSet,
    /// Those of them that Linux runs on.
    pub online: CpuSet,
    /// The hierarchies of cgroups.
    pub cgroups: Hierarchies,
    /// Where systemd listens, where it runs.
    pub systemd: PathBuf,
    program_dirs: Vec<PathBuf>,
}

impl Node {
    /// Reads the node: built-in boards, those of `/etc/mica/micrun/boards.d`, and `PATH`.
    ///
    /// # Errors
    ///
    /// A board file that cannot be read or is not valid.
    pub fn read() -> Result<Node, BoardError> {
        Ok(Node { boards: Boards::load(&[PathBuf::from(BOARDS_DIR)])?, ..Node::without_own_boards() })
    }

    /// Reads the node without the boards of its own.
    pub fn without_own_boards() -> Node {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let dirs = std::env::split_paths(&path).chain(PROGRAM_DIRS.map(PathBuf::from));
        let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
        Node {
            on_xen: on_xen(),
            // A kernel that does not say has at least the one that this runs on.
            cores: read(PRESENT_CPUS).parse().unwrap_or_else(|_| CpuSet::first(1)),
            online: read(ONLINE_CPUS).parse().unwrap_or_else(|_| CpuSet::first(1)),
            cgroups: Hierarchies::read(),
            ..Node::new(Boards::builtin(), dirs)
        }
    }

    /// A node of one core, without cgroups, with these boards, that looks for programs in these folders.
    pub fn new(boards: Boards, program_dirs: impl IntoIterator<Item = PathBuf>) -> Node {
        Node {
            boards,
            os_dir: PathBuf::from(OS_DIR),
            micad: PathBuf::from(libmica::client::DIRECTORY),
            on_xen: false,
            cores: CpuSet::first(1),
            online: CpuSet::first(1),
            cgroups: Hierarchies::None,
            systemd: PathBuf::from(systemd::SOCKET),
            program_dirs: program_dirs.into_iter().filter(|dir| dir.is_absolute()).collect(),
        }
    }

    /// The first executable file of this name.
    pub fn find_program(&self, name: &str) -> Option<PathBuf> {
        let runnable = |path: &PathBuf| Path::is_file(path) && access(path, Access::EXEC_OK).is_ok();
        self.program_dirs.iter().map(|dir| dir.join(name)).find(runnable)
    }
}
