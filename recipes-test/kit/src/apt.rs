//! Packages of another Debian release, fetched by apt itself with a configuration of its own: signatures are
//! checked as ever, proxies of the machine are used, and nothing of the machine's own apt changes.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

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
}

impl PrivateApt {
    /// Writes its configuration below `dir` and reads the suite's index.
    ///
    /// # Errors
    /// If the mirror cannot be reached, lacks the suite, or its signature is wrong.
    pub fn new(dir: &Path, suite: &str) -> Result<Self> {
        let mirror = mirror()?;
        for folder in ["state/lists/partial", "cache/archives/partial"] {
            let folder = dir.join(folder);
            std::fs::create_dir_all(&folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let sources = dir.join("sources.list");
        write(&sources, &format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n"))?;
        let config = dir.join("apt.conf");
        write(&config, &configuration(dir, &sources))?;
        let apt = Self { config, suite: suite.to_owned() };
        shell::quietly(apt.command("apt-get").arg("update")).with_context(|| {
            format!("cannot read Debian {suite} from {mirror}; {MIRROR_VARIABLE}=URL names another mirror")
        })?;
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

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", &self.config);
        command
    }
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
    let start = format!("{package}_");
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(&start) && name.ends_with(".deb") {
            return Ok(path);
        }
    }
    bail!("apt-get wrote no {start}*.deb into {}", dir.display())
}

fn configuration(dir: &Path, sources: &Path) -> String {
    let dir = dir.display();
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
         #clear Acquire::IndexTargets::deb::DEP-11;\n",
        sources.display()
    )
}

/// Where Debian comes from: the variable, else the machine's own sources if it is a Debian, else what the
/// debootstrap package says.
fn mirror() -> Result<String> {
    if let Ok(mirror) = std::env::var(MIRROR_VARIABLE) {
        return Ok(mirror);
    }
    if let Some(mirror) = own_mirror() {
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

/// The mirror of the running release in the machine's own sources, in whichever format they are written: apt
/// itself reads them.
fn own_mirror() -> Option<String> {
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
    mirror_of(&targets.ok()?, codename)
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
