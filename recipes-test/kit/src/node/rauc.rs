//! RAUC for this machine, and keys that it reaches on a token. Debian 12 has one that knows no artifacts, so it is the node's release of
//! Debian that gives it, unpacked with the libraries that it needs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::base::SUITE;
use crate::apt::PrivateApt;
use crate::unpacked::once;
use crate::{Workspace, note, shell};

/// Where everything is.
#[derive(Clone, Debug)]
pub struct Rauc(PathBuf);

/// A token made of files: SoftHSM. Who asks it for a signature needs its PIN.
#[derive(Debug)]
pub struct Token {
    tools: Rauc,
    configuration: PathBuf,
}

impl Rauc {
    /// Fetches it once. What it starts, mksquashfs, is this machine's.
    ///
    /// # Errors
    /// If it cannot be fetched, or is not for this machine.
    pub fn get(workspace: &Workspace) -> Result<Self> {
        ensure!(cfg!(target_arch = "x86_64"), "bundles are made on x86-64 machines only");
        let dir = workspace.kit("tools")?.join(format!("rauc-and-token-{SUITE}"));
        let announce = || {
            note(format_args!("fetching RAUC of Debian {SUITE}, which makes the bundles"));
            Ok(())
        };
        once(&dir, announce, |part| {
            let apt = PrivateApt::stable(&workspace.kit("apt")?.join("rauc"), SUITE, &["amd64"])?;
            let packages = ["rauc", "softhsm2", "libengine-pkcs11-openssl"];
            apt.unpack_all(&packages, &["systemd", "dbus", "mount"], part)?;
            shell::quietly(Self(part.to_owned()).command().arg("--version"))
                .context("the unpacked RAUC does not run")
        })?;
        Ok(Self(dir))
    }

    /// A call of it.
    pub fn command(&self) -> Command {
        self.program("rauc")
    }

    /// Makes a token in a folder, and puts a key on it, which is a PEM file.
    ///
    /// # Errors
    /// If the token does not take it.
    pub fn token(&self, folder: &Path, key: &Path) -> Result<Token> {
        let doing = || format!("cannot make a token in {}", folder.display());
        let (store, configuration, plain) =
            (folder.join("store"), folder.join("softhsm2.conf"), folder.join("key.pem"));
        fs::create_dir_all(&store).with_context(doing)?;
        fs::write(&configuration, format!("directories.tokendir = {}\n", store.display()))
            .with_context(doing)?;
        // It reads PKCS#8 only.
        let mut convert = Command::new("openssl");
        convert.args(["pkcs8", "-topk8", "-nocrypt", "-in"]).arg(key).arg("-out").arg(&plain);
        shell::quietly(&mut convert)?;
        let token = Token { tools: self.clone(), configuration };
        token.fill(&["--init-token", "--free", "--label", Token::NAME, "--so-pin", "5678"])?;
        let plain = plain.display().to_string();
        token.fill(&["--import", &plain, "--token", Token::NAME, "--label", Token::OBJECT, "--id", "01"])?;
        Ok(token)
    }

    /// Starts a program with the libraries of its own release.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.0.join("usr/lib64/ld-linux-x86-64.so.2"));
        command.arg("--library-path").arg(self.libraries()).arg(self.0.join("usr/bin").join(name));
        command
    }

    fn libraries(&self) -> PathBuf {
        self.0.join("usr/lib/x86_64-linux-gnu")
    }
}

impl Token {
    /// The key, as RAUC is told it.
    pub const URI: &str = "pkcs11:token=release;object=gateway";
    const NAME: &str = "release";
    const OBJECT: &str = "gateway";
    /// What it asks for before it signs.
    pub const PIN: &str = "1234";

    /// Tells a call of RAUC how the token is reached, in the variables that the bundles' recipe sets. The PIN is not among them.
    pub fn reached_by(&self, rauc: &mut Command) {
        rauc.env("SOFTHSM2_CONF", &self.configuration);
        rauc.env("OPENSSL_ENGINES", self.tools.libraries().join("engines-3"));
        rauc.env("RAUC_PKCS11_MODULE", self.module());
    }

    fn module(&self) -> PathBuf {
        self.tools.libraries().join("softhsm/libsofthsm2.so")
    }

    fn fill(&self, arguments: &[&str]) -> Result<()> {
        let mut tool = self.tools.program("softhsm2-util");
        tool.arg("--module").arg(self.module()).args(arguments).args(["--pin", Self::PIN]);
        shell::quietly(tool.env("SOFTHSM2_CONF", &self.configuration))
    }
}
