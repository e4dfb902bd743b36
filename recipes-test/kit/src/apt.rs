//! Packages of another Debian release, fetched by apt itself with a configuration of its own: signatures are
//! checked as ever, proxies of the machine are used, and nothing of the machine's own apt changes.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{packages, shell};

/// The keys of the Debian archive, from the package debian-archive-keyring.
pub const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Overrides the mirror, for machines whose own mirror lacks other releases.
pub const MIRROR_VARIABLE: &str = "MICRUN_DEBIAN_MIRROR";

/// An apt that sees one suite of Debian and installs nothing.
#[derive(Debug)]
pub struct PrivateApt {
    config: PathBuf,
    suite: String,
    /// Where packages are downloaded to that bring others with them.
    archives: PathBuf,
}

impl PrivateApt {
    /// Writes its configuration below `dir` and reads the suite's index.
    ///
    /// # Errors
    /// If the mirror cannot be reached, lacks the suite, or its signature is wrong.
    pub fn new(dir: &Path, suite: &str) -> Result<Self> {
        let mirror = mirror()?;
        let source = format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n");
        Self::with_sources(dir, suite, &source, &[])
            .with_context(|| format!("{MIRROR_VARIABLE}=URL names another mirror than {mirror}"))
    }

    /// The same for a stable suite with its security updates, and for other architectures than the machine's; what is
    /// downloaded without a word on it is of the first one.
    ///
    /// # Errors
    /// As [`PrivateApt::new`].
    pub fn stable(dir: &Path, suite: &str, architectures: &[&str]) -> Result<Self> {
        let (mirror, security) = (mirror()?, security_mirror()?);
        let options = format!("[signed-by={KEYRING} arch={}]", architectures.join(","));
        let sources = format!(
            "deb {options} {mirror} {suite} main\n\
             deb {options} {security} {suite}-security main\n"
        );
        Self::with_sources(dir, suite, &sources, architectures)
            .with_context(|| format!("{MIRROR_VARIABLE}=URL names another mirror than {mirror}"))
    }

    fn with_sources(dir: &Path, suite: &str, lines: &str, architectures: &[&str]) -> Result<Self> {
        for folder in ["state/lists/partial", "cache/archives/partial"] {
            let folder = dir.join(folder);
            std::fs::create_dir_all(&folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let sources = dir.join("sources.list");
        write(&sources, lines)?;
        let config = dir.join("apt.conf");
        write(&config, &configuration(dir, &sources, architectures))?;
        let apt = Self { config, suite: suite.to_owned(), archives: dir.join("cache/archives") };
        shell::quietly(apt.command("apt-get").arg("update"))
            .with_context(|| format!("cannot read Debian {suite}"))?;
        Ok(apt)
    }

    /// Downloads a package into `dir` and returns the file.
    ///
    /// # Errors
    /// If the suite has no such package or the download fails.
    pub fn download(&self, package: &str, dir: &Path) -> Result<PathBuf> {
        download(&mut self.command("apt-get"), package, dir)
            .with_context(|| format!("cannot download {package} of Debian {}", self.suite))
    }

    /// Downloads packages with all that they depend on, and unpacks everything into `root`, without running any of
    /// it. Not `without`, which are names of packages: what the machine has anyway.
    ///
    /// # Errors
    /// If the suite lacks one of them, or there is no room.
    pub fn unpack_all(&self, packages: &[&str], without: &[&str], root: &Path) -> Result<()> {
        let doing = || format!("cannot get {} of Debian {}", packages.join(", "), self.suite);
        let mut apt_get = self.command("apt-get");
        apt_get.args(["install", "--yes", "--download-only", "--no-install-recommends"]).args(packages);
        shell::quietly(&mut apt_get).with_context(doing)?;
        let entries = self.archives.read_dir().with_context(doing)?;
        for entry in entries {
            let deb = entry.with_context(doing)?.path();
            let name = deb.file_name().unwrap_or_default().to_string_lossy();
            let Some((package, _)) = name.split_once('_').filter(|_| name.ends_with(".deb")) else {
                continue;
            };
            if !without.contains(&package) {
                unpack(&deb, root)?;
            }
            std::fs::remove_file(&deb).with_context(doing)?;
        }
        Ok(())
    }

    /// The packages that one depends on by itself: the one behind a name without a version, such as linux-image-arm64.
    ///
    /// # Errors
    /// If the suite has no such package.
    pub fn depends(&self, package: &str) -> Result<Vec<String>> {
        let mut apt_cache = self.command("apt-cache");
        apt_cache.args(["depends", "--important", package]);
        let text = shell::output(&mut apt_cache)
            .with_context(|| format!("Debian {} has no {package}", self.suite))?;
        let depends = text.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
        Ok(depends.map(str::to_owned).collect())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", &self.config);
        command
    }
}

/// Unpacks a package into a folder. `dpkg-deb -x` would replace `bin`, where it is a symbolic link to `usr/bin`, by
/// a folder; tar is told to go through it.
///
/// # Errors
/// If it is damaged, or there is no room.
pub fn unpack(deb: &Path, root: &Path) -> Result<()> {
    unpack_only(deb, &[], root)
}

/// The same for some of its files, named from the root on (`usr/lib/x`); all of them where none is named.
///
/// # Errors
/// If it is damaged or has no such file, or there is no room.
pub fn unpack_only(deb: &Path, files: &[&str], root: &Path) -> Result<()> {
    let mut contents = Command::new("dpkg-deb");
    contents.arg("--fsys-tarfile").arg(deb).stdout(Stdio::piped());
    let mut reader =
        contents.spawn().with_context(|| format!("cannot start `{}`", shell::line(&contents)))?;
    let stdout = reader.stdout.take().context("dpkg-deb has no stdout")?;
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--keep-directory-symlink", "--directory"]).arg(root).stdin(stdout);
    tar.args(files.iter().map(|file| format!("./{file}")));
    let unpacked = shell::run(&mut tar);
    let read = reader.wait().context("cannot wait for dpkg-deb")?;
    unpacked.with_context(|| format!("cannot unpack {}", deb.display()))?;
    ensure!(read.success(), "`{}` failed with {}", shell::line(&contents), shell::ending(read));
    Ok(())
}

/// Downloads a package of the machine's own release into `dir`.
///
/// # Errors
/// If apt knows no such package or the download fails.
pub fn download_own(package: &str, dir: &Path) -> Result<PathBuf> {
    download(Command::new("apt-get").args(["-o", "APT::Sandbox::User=root"]), package, dir)
        .with_context(|| format!("cannot download {package}; `apt-get update` may help"))
}

fn download(apt_get: &mut Command, package: &str, dir: &Path) -> Result<PathBuf> {
    shell::quietly(apt_get.args(["download", package]).current_dir(dir))?;
    let entries = dir.read_dir().with_context(|| format!("cannot read {}", dir.display()))?;
    // `package:architecture` is apt's way to say that it is another one than the machine's.
    let start = format!("{}_", package.split(':').next().unwrap_or(package));
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(&start) && name.ends_with(".deb") {
            return Ok(path);
        }
    }
    bail!("apt-get wrote no {start}*.deb into {}", dir.display())
}

fn configuration(dir: &Path, sources: &Path, architectures: &[&str]) -> String {
    let dir = dir.display();
    let mut native = String::new();
    if let [first, ..] = architectures {
        let all: String = architectures.iter().map(|name| format!("\"{name}\";")).collect();
        native = format!("APT::Architecture \"{first}\";\nAPT::Architectures {{{all}}};\n");
    }
    format!(
        "Dir::Etc::SourceList \"{}\";\n\
         Dir::Etc::SourceParts \"/dev/null\";\n\
         Dir::State \"{dir}/state\";\n\
         Dir::State::status \"/dev/null\";\n\
         Dir::Cache \"{dir}/cache\";\n\
         APT::Sandbox::User \"root\";\n\
         Acquire::Languages \"none\";\n\
         #clear APT::Update::Post-Invoke-Success;\n\
         #clear APT::Update::Post-Invoke;\n\
         #clear Acquire::IndexTargets::deb::DEP-11;\n\
         {native}",
        sources.display()
    )
}

/// Where Debian comes from: the variable, else the machine's own sources if it is a Debian, else what the
/// debootstrap package says.
fn mirror() -> Result<String> {
    if let Ok(mirror) = std::env::var(MIRROR_VARIABLE) {
        return Ok(mirror);
    }
    if let Some(mirror) = own_mirror("") {
        return Ok(mirror);
    }
    packages::ensure("finding a Debian mirror", &[&packages::MIRROR])?;
    for file in [
        "/usr/share/debootstrap/scripts/sid",
        "/usr/share/debootstrap/scripts/debian-common",
        "/usr/sbin/debootstrap",
    ] {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if let Some(mirror) = first_mirror(&text) {
            return Ok(mirror);
        }
    }
    bail!("no Debian mirror is known here: set {MIRROR_VARIABLE} to the URL of one (it ends with /debian)")
}

/// Where security updates come from: the machine's own source of them, else the folder beside Debian itself.
fn security_mirror() -> Result<String> {
    if std::env::var_os(MIRROR_VARIABLE).is_none()
        && let Some(mirror) = own_mirror("-security")
    {
        return Ok(mirror);
    }
    Ok(format!("{}-security", mirror()?))
}

/// The mirror of the running release in the machine's own sources, in whichever format they are written: apt
/// itself reads them.
fn own_mirror(suffix: &str) -> Option<String> {
    let release = std::fs::read_to_string("/etc/os-release").ok()?;
    let field = |key: &str| {
        release
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
            .map(|v| v.trim_matches('"'))
    };
    if field("ID")? != "debian" {
        return None;
    }
    let codename = field("VERSION_CODENAME")?;
    let targets = shell::output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(REPO_URI) $(RELEASE) $(COMPONENT)",
        "Created-By: Packages",
    ]));
    mirror_of(&targets.ok()?, &format!("{codename}{suffix}"))
}

fn mirror_of(targets: &str, codename: &str) -> Option<String> {
    targets.lines().find_map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
        [uri, release, "main"] if release == codename => Some(uri.trim_end_matches('/').to_owned()),
        _ => None,
    })
}

/// The first URL in a script that ends with `/debian`.
fn first_mirror(script: &str) -> Option<String> {
    script
        .split(|c: char| c.is_whitespace() || c == '"' || c == '\'' || c == '=')
        .find(|word| {
            (word.starts_with("http://") || word.starts_with("https://")) && word.ends_with("/debian")
        })
        .map(str::to_owned)
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_that_of_the_running_release() {
        let targets = "http://mirror.invalid/security/ bookworm-security main\n\
                       http://other.invalid/tools/ bookworm contrib\n\
                       http://mirror.invalid/debian/ bookworm main\n";
        assert_eq!(mirror_of(targets, "bookworm").as_deref(), Some("http://mirror.invalid/debian"));
        let security = mirror_of(targets, "bookworm-security");
        assert_eq!(security.as_deref(), Some("http://mirror.invalid/security"));
        assert_eq!(mirror_of(targets, "trixie"), None);
    }

    #[test]
    fn a_bootstrap_script_names_a_mirror() {
        assert_eq!(
            first_mirror("style release\nDEF_MIRROR=\"http://mirror.invalid/debian\"\n").as_deref(),
            Some("http://mirror.invalid/debian")
        );
        assert_eq!(first_mirror("default_mirror http://old.invalid/ubuntu"), None);
    }
}
