//! bitbake, in build directories of the tests' own.
//!
//! ```no_run
//! let bitbake = Bitbake::new(workspace, clones, "images", Kind::Whole)?.set("DISTRO = \"micrun\"");
//! let said = bitbake.machine("genericarm64").run(&["-n", "micrun-image"])?;
//! ```
//!
//! - [`Kind`]: what a build directory is for
//! - [`user`]: who runs it, since root may not
//! - [`product`]: the copy of this clone that it builds, whose layers it reads
//! - [`tools`]: the compiler and the crates, which are not OpenEmbedded's

mod conf;
mod product;
mod tools;
mod user;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use micrun_testkit::{Workspace, note, packages, shell, step};

pub use conf::Kind;
pub use user::User;

use crate::clones::Clones;

/// How many lines of a log an error repeats.
const TAIL: usize = 40;

/// A build directory, and how bitbake is called in it.
#[derive(Debug)]
pub struct Bitbake {
    user: User,
    /// Shared by all build directories: the user's home, tools, downloads, the copy of this clone.
    common: PathBuf,
    dir: PathBuf,
    clones: PathBuf,
    local: String,
    layers: String,
    machine: String,
}

/// What a run left.
#[derive(Debug)]
pub struct Said {
    /// stdout and stderr.
    pub text: String,
    /// Where that is kept.
    pub log: PathBuf,
    pub success: bool,
}

impl Bitbake {
    /// A build directory of this name, which stays for the next time; the copy of this clone is brought up to date.
    ///
    /// # Errors
    /// If the machine lacks something, or there is nobody to run bitbake as.
    pub fn new(workspace: &Workspace, clones: &Clones, name: &str, kind: Kind) -> Result<Self> {
        packages::ensure("running bitbake", &[&packages::BITBAKE])?;
        let user = User::find(&clones.layer("bitbake"))?;
        let common = workspace.kit("oe")?;
        let product = common.join("product");
        let downloads = common.join("downloads");
        let dir = common.join(name);
        for folder in [&common, &common.join("home"), &product, &downloads, &dir, &dir.join("conf")] {
            fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
            user.owns(folder)?;
        }
        user.reads(&common)?;
        user.reads(&clones.layer("bitbake").join("bin/bitbake"))?;
        write(&common.join("home/.gitconfig"), GIT)?;
        product::copy(workspace, user, &product)?;
        let mut own = Vec::new();
        if kind != Kind::Core {
            own.extend([product.join("meta-micrun"), product.join("recipes-test")]);
        }
        if matches!(kind, Kind::Native | Kind::Aarch64) {
            prepare_builds(workspace, &common, &downloads)?;
            own.push(product.join("recipes-test/layer/meta-stand-in"));
        }
        let local = conf::local(kind, &downloads);
        let layers = conf::bblayers(kind, clones, &own);
        let machine = "qemuarm64".to_owned();
        Ok(Self { user, common, dir, clones: clones.folder().to_owned(), local, layers, machine })
    }

    /// Adds a line to `local.conf`.
    #[must_use]
    pub fn set(mut self, line: &str) -> Self {
        self.local.push_str(line);
        self.local.push('\n');
        self
    }

    /// Builds for another machine than `qemuarm64`.
    #[must_use]
    pub fn machine(mut self, machine: &str) -> Self {
        machine.clone_into(&mut self.machine);
        self
    }

    /// The build directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What all build directories share.
    pub fn common(&self) -> &Path {
        &self.common
    }

    /// The user that runs all of it.
    pub fn user(&self) -> User {
        self.user
    }

    /// The copy of this clone that is built.
    pub fn product(&self) -> PathBuf {
        self.common.join("product")
    }

    /// Gives that copy a tag, and returns the commit.
    ///
    /// # Errors
    /// If git fails.
    pub fn tag(&self, name: &str) -> Result<String> {
        product::tag(self.user, &self.product(), name)
    }

    /// Runs `bitbake` with these arguments.
    ///
    /// # Errors
    /// If it fails, with the end of its log.
    pub fn run(&self, arguments: &[&str]) -> Result<Said> {
        self.call("bitbake", arguments)
    }

    /// Runs another program of bitbake or openembedded-core: `yocto-check-layer`, `bitbake-getvar`.
    ///
    /// # Errors
    /// If it fails, with the end of its log.
    pub fn call(&self, program: &str, arguments: &[&str]) -> Result<Said> {
        let said = self.attempt(program, arguments)?;
        if said.success {
            return Ok(said);
        }
        let lines: Vec<&str> = said.text.lines().collect();
        let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n");
        bail!("`{program} {}` failed; {} ends with\n{tail}", arguments.join(" "), said.log.display())
    }

    /// The same for a run that may fail.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn attempt(&self, program: &str, arguments: &[&str]) -> Result<Said> {
        for (name, text) in [("local.conf", &self.local), ("bblayers.conf", &self.layers)] {
            let file = self.dir.join("conf").join(name);
            write(&file, text)?;
            // yocto-check-layer writes them, too.
            self.user.owns(&file)?;
        }
        self.watch(self.command(program, arguments), program, arguments)
    }

    /// Runs a command of the caller's own making in this folder, and keeps what it says. The name and the arguments are for people.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn watch(&self, mut command: Command, program: &str, arguments: &[&str]) -> Result<Said> {
        command.current_dir(&self.dir);
        self.user.runs(&mut command);
        let log = self.log(program, arguments)?;
        let file = fs::File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        let both = file.try_clone().with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(file).stderr(both);
        step(format_args!(
            "{program} {} (MACHINE {}; log: {})",
            arguments.join(" "),
            self.machine,
            log.display()
        ));
        let start = Instant::now();
        let status = command.status().with_context(|| format!("cannot start {program}"))?;
        note(format_args!("{} after {} s", shell::ending(status), start.elapsed().as_secs()));
        let text = fs::read(&log).with_context(|| format!("cannot read {}", log.display()))?;
        Ok(Said { text: String::from_utf8_lossy(&text).into_owned(), log, success: status.success() })
    }

    /// A file named after the run, so that each has its own.
    fn log(&self, program: &str, arguments: &[&str]) -> Result<PathBuf> {
        let folder = self.dir.join("logs");
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let words = std::iter::once(program).chain(arguments.iter().copied()).chain([self.machine.as_str()]);
        let name: Vec<String> =
            words.map(|word| word.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', "_")).collect();
        Ok(folder.join(name.join("+").chars().take(200).chain(".log".chars()).collect::<String>()))
    }

    /// What `oe-init-build-env` does, without writing into the clones, and nothing of the caller's environment.
    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let (bitbake, core) = (self.clones.join("bitbake"), self.clones.join("openembedded-core"));
        let path = format!(
            "{}:{}:{}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            self.common.join("tools").display(),
            core.join("scripts").display(),
            bitbake.join("bin").display()
        );
        let mut command = Command::new("sh");
        command.args(["-c", "umask 022; exec \"$@\"", "sh", program]).args(arguments);
        command.env_clear();
        command.env("PATH", path).env("HOME", self.common.join("home")).env("LANG", "en_US.UTF-8");
        command.env("BUILDDIR", &self.dir).env("BBPATH", &self.dir).env("BITBAKEDIR", &bitbake);
        command.env("PYTHONPATH", bitbake.join("lib"));
        command.env("MACHINE", &self.machine).env("BB_ENV_PASSTHROUGH_ADDITIONS", "MACHINE");
        command
    }
}

/// What only builds need, and parsing does not.
fn prepare_builds(workspace: &Workspace, common: &Path, downloads: &Path) -> Result<()> {
    packages::ensure("building recipes", &[&packages::CROSS, &packages::RELEASES])?;
    let tools = common.join("tools");
    fs::create_dir_all(&tools).with_context(|| format!("cannot create {}", tools.display()))?;
    tools::fill(workspace, &tools)?;
    tools::crates(workspace, downloads)
}

/// The clones may belong to somebody else.
const GIT: &str = "[safe]\n\tdirectory = *\n";

/// Writes only what is new: bitbake reads everything again when a configuration is touched.
fn write(path: &Path, text: &str) -> Result<()> {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
