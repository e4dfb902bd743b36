//! Bundles for the node, made and signed with RAUC itself on this machine.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::rauc::Rauc;
use super::slots::{Bundle, COMPATIBLE, Flaw, slot_image};
use crate::{Workspace, shell};

/// Makes development keys, in meta-micrun.
pub(super) const KEYS: &str = "scripts/micrun-dev-keys";

/// What is in a bundle.
#[derive(Clone, Debug)]
pub enum Content {
    /// A whole root file system: the release of this version.
    Release(&'static str),
    /// A megabyte for the slot, for bundles that never get as far as a boot.
    Token,
    /// Images of guests, by the names of the artifacts.
    Guests(Vec<(&'static str, PathBuf)>),
}

impl Content {
    /// The files here that go in, with their places there.
    pub(super) fn files(&self) -> Vec<(PathBuf, PathBuf)> {
        match self {
            Self::Guests(guests) => guests.iter().map(|(name, file)| (file.clone(), name.into())).collect(),
            Self::Release(_) | Self::Token => Vec::new(),
        }
    }
}

/// Where bundles are made and signed.
pub(super) struct Workshop<'a> {
    workspace: &'a Workspace,
    rauc: Rauc,
    keys: PathBuf,
    bundles: PathBuf,
}

impl<'a> Workshop<'a> {
    /// Makes keys into one folder, and bundles into another.
    pub fn open(workspace: &'a Workspace, keys: &Path, bundles: &Path) -> Result<Self> {
        let script = workspace.root().join("meta-micrun").join(KEYS);
        for owner in ["ours", "strangers"] {
            shell::quietly(Command::new(&script).arg(keys.join(owner)))?;
        }
        fs::create_dir_all(bundles).with_context(|| format!("cannot create {}", bundles.display()))?;
        Ok(Self {
            workspace,
            rauc: Rauc::get(workspace)?,
            keys: keys.to_owned(),
            bundles: bundles.to_owned(),
        })
    }

    /// The certificate that nodes trust.
    pub fn keyring(&self) -> PathBuf {
        self.keys.join("ours/ca.cert.pem")
    }

    /// Makes one. The images of releases are in `part`.
    pub fn make(&self, bundle: &Bundle, part: &Path) -> Result<()> {
        let content = part.join("content");
        let doing = || format!("cannot make the bundle {}", bundle.name);
        fs::create_dir(&content).with_context(doing)?;
        let compatible = if bundle.flaw == Flaw::OtherBoard { "another-board" } else { COMPATIBLE };
        let mut manifest = format!(
            "[update]\ncompatible={compatible}\nversion={}\n\n[bundle]\nformat=verity\n",
            bundle.version
        );
        let mut image = |section: &str, file: &str| {
            manifest.push_str(&format!("\n[image.{section}]\nfilename={file}\n"));
            content.join(file)
        };
        match &bundle.content {
            Content::Release(version) => {
                let to = image("rootfs", "rootfs.ext4");
                fs::hard_link(slot_image(part, version), to).with_context(doing)?;
            }
            Content::Token => fs::write(image("rootfs", "rootfs.ext4"), token()).with_context(doing)?,
            Content::Guests(guests) => {
                for (name, file) in guests {
                    let to = image(&format!("guests/{name}"), &format!("{name}.tar"));
                    fs::copy(file, to).with_context(doing)?;
                }
            }
        }
        fs::write(content.join("manifest.raucm"), manifest).with_context(doing)?;
        let file = self.bundles.join(format!("{}.raucb", bundle.name));
        self.sign(&content, bundle.flaw, &file)?;
        spoil(&file, bundle.flaw).with_context(doing)?;
        fs::remove_dir_all(&content).with_context(doing)
    }

    fn sign(&self, content: &Path, flaw: Flaw, file: &Path) -> Result<()> {
        let keys = self.keys.join(if flaw == Flaw::Stranger { "strangers" } else { "ours" });
        let mut rauc = self.rauc.command();
        rauc.arg("bundle").arg(format!("--cert={}", keys.join("development.cert.pem").display()));
        rauc.arg(format!("--key={}", keys.join("development.key.pem").display()));
        // Compressed, it would be the emulated machine's work to unpack it.
        rauc.arg("--mksquashfs-args=-noI -noD -noF -noX");
        shell::quietly(rauc.arg(content).arg(file).current_dir(self.workspace.root()))
    }
}

/// A megabyte that no file system would take for its own.
fn token() -> Vec<u8> {
    (0..1_u32 << 18).flat_map(|number| number.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect()
}

/// Does to a signed bundle what somebody might who has no key.
fn spoil(bundle: &Path, flaw: Flaw) -> Result<()> {
    let mut file = fs::File::options().read(true).write(true).open(bundle)?;
    let length = file.metadata()?.len();
    match flaw {
        Flaw::None | Flaw::Stranger | Flaw::OtherBoard => {}
        Flaw::Unsigned => {
            // At the end: the signature, and its length as a big-endian number of eight bytes.
            let mut last = [0; 8];
            file.seek(SeekFrom::End(-8))?;
            file.read_exact(&mut last)?;
            let rest = length.checked_sub(8 + u64::from_be_bytes(last));
            file.set_len(rest.context("the bundle has no signature")?)?;
        }
        Flaw::Tampered => {
            let mut byte = [0];
            file.seek(SeekFrom::Start(length / 2))?;
            file.read_exact(&mut byte)?;
            file.seek(SeekFrom::Start(length / 2))?;
            file.write_all(&[byte[0] ^ 1])?;
        }
    }
    Ok(())
}
