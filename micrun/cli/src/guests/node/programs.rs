//! The programs that bring and verify images. `ctr` comes with each containerd and does it with that one's own rules:
//! mirrors, unpacking, snapshots. The image builder has the keys.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use micrun_image_spec::digest::Sha256Digest;
use micrun_image_spec::text::excerpt;
use serde::Deserialize;

use super::Node;
use super::images::repository;

/// Where containerd's clients read how to reach registries.
const HOSTS: &str = "/etc/containerd/certs.d";

/// How long one image may take. Firmware is small; a registry that does not answer must not keep the others waiting.
const LONGEST: &str = "5m";

/// Why a program did not do its job.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// There is no such program.
    #[error("cannot start {program}: {source}; {remedy}")]
    Start {
        /// Its name.
        program: &'static str,
        /// The system's answer.
        source: io::Error,
        /// What to do.
        remedy: &'static str,
    },
    /// It failed.
    #[error("{doing}: {said}")]
    Failed {
        /// What it was to do.
        doing: String,
        /// The last that it said.
        said: String,
    },
    /// A registry did not give an image: the network may not be there yet.
    #[error("pulling {name}: {said}")]
    NotPulled {
        /// The image.
        name: String,
        /// The last that was said.
        said: String,
    },
    /// Somebody else's image.
    #[error("{key} did not sign {image}: {said}; sign it with that key, or correct `verify.key`")]
    NotSigned {
        /// The key.
        key: String,
        /// The image.
        image: String,
        /// What the verification said.
        said: String,
    },
}

impl Node {
    /// Imports an archive under names of a guest's own.
    ///
    /// # Errors
    ///
    /// If `ctr` fails.
    pub fn import(&self, guest: &str, archive: &Path) -> Result<(), ProgramError> {
        let mut ctr = self.ctr(["image", "import", "--digests", "--base-name"]);
        ctr.arg(repository(guest)).args(["--snapshotter", &self.snapshotter]).arg(archive);
        run(&mut ctr, format!("importing {}", archive.display())).map(drop)
    }

    /// Pulls an image by its full name.
    ///
    /// # Errors
    ///
    /// If `ctr` fails.
    pub fn pull(&self, name: &str) -> Result<(), ProgramError> {
        let mut ctr = self.ctr(["image", "pull", "--snapshotter", &self.snapshotter]);
        if Path::new(HOSTS).is_dir() {
            ctr.args(["--hosts-dir", HOSTS]);
        }
        match run(ctr.arg(name), String::new()) {
            Err(ProgramError::Failed { said, .. }) => {
                Err(ProgramError::NotPulled { name: name.to_owned(), said })
            }
            other => other.map(drop),
        }
    }

    /// Unpacks an image that was only loaded.
    ///
    /// # Errors
    ///
    /// If `ctr` fails.
    pub fn unpack(&self, digest: Sha256Digest) -> Result<(), ProgramError> {
        let mut ctr = self.ctr(["snapshot", "--snapshotter", &self.snapshotter, "unpack"]);
        run(ctr.arg(digest.to_string()), format!("unpacking {digest}")).map(drop)
    }

    fn ctr<const N: usize>(&self, arguments: [&str; N]) -> Command {
        let mut ctr = Command::new("ctr");
        ctr.arg("--address").arg(&self.address).args(["--namespace", &self.namespace]);
        ctr.args(["--connect-timeout", "10s", "--timeout", LONGEST]).args(arguments);
        ctr
    }
}

/// Makes sure that a key has signed exactly this image.
///
/// # Errors
///
/// If it has not, or that cannot be found out.
pub fn verify(key: &Path, location: &OsStr, digest: Sha256Digest) -> Result<(), ProgramError> {
    #[derive(Deserialize)]
    struct Verdict {
        digest: Sha256Digest,
        verified: bool,
    }
    let mut builder = Command::new("micrun-image-builder");
    builder.args(["verify", "--format", "json", "--key"]).arg(key).arg(location);
    let not_signed = |said: String| ProgramError::NotSigned {
        key: key.display().to_string(),
        image: location.to_string_lossy().into_owned(),
        said,
    };
    let text = match run(&mut builder, String::new()) {
        Err(ProgramError::Failed { said, .. }) => return Err(not_signed(said)),
        other => other?,
    };
    match serde_json::from_slice(&text) {
        Ok(Verdict { digest: found, verified: true }) if found == digest => Ok(()),
        Ok(Verdict { digest: found, .. }) => Err(not_signed(format!("what was verified is {found}"))),
        Err(error) => Err(not_signed(format!("its answer cannot be read: {error}"))),
    }
}

/// The location of an archive as the builder names it.
pub fn archive_location(path: &Path) -> OsString {
    let mut location = OsString::from("oci-archive:");
    location.push(path);
    location
}

/// Runs a program to its end, and gives its output.
fn run(command: &mut Command, doing: String) -> Result<Vec<u8>, ProgramError> {
    let program = if command.get_program() == "ctr" { "ctr" } else { "micrun-image-builder" };
    let remedy = match program {
        "ctr" => "install it: it belongs to containerd",
        _ => "install it on the node, or leave out `verify.key`",
    };
    command.stdin(Stdio::null());
    let output = command.output().map_err(|source| ProgramError::Start { program, source, remedy })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it did not say why");
    // Its errors are one line, and what matters is at its end.
    let said: String = last.chars().skip(last.chars().count().saturating_sub(400)).collect();
    let said =
        if said.len() > 60 { said.chars().flat_map(char::escape_debug).collect() } else { excerpt(&said) };
    Err(ProgramError::Failed { doing, said })
}
