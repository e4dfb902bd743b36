//! cosign of two Debian releases, unpacked, without a network: no transparency log, no trust root from elsewhere.

use std::path::{Path, PathBuf};
use std::process::Command;

use micrun_image_builder::sign::{KeyFile, PrivateKey, PublicKey};
use micrun_testkit::{Unpacked, Workspace};
use tempfile::TempDir;

pub const PASSWORD: &str = "correct horse";

/// A cosign with a home of its own.
pub struct Cosign {
    program: PathBuf,
    pub series: Series,
    home: TempDir,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Series {
    /// 2.5, of trixie: signs in the older format, reads both.
    Two,
    /// 3.1, of sid: bundles, and the older format when asked.
    Three,
}

/// The two formats of signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    Bundle,
    Tag,
}

impl Cosign {
    /// Both series. Debian names no version in `cosign version`, so that the suites vouch for them.
    pub fn all() -> [Cosign; 2] {
        let workspace = Workspace::find().unwrap();
        [(Series::Two, "trixie"), (Series::Three, "sid")].map(|(series, suite)| {
            let package = Unpacked::of(&workspace, "cosign", suite).unwrap_or_else(|e| panic!("{e:#}"));
            Cosign { program: package.program("cosign").unwrap(), series, home: tempfile::tempdir().unwrap() }
        })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).env_clear().env("HOME", self.home.path()).env("COSIGN_PASSWORD", PASSWORD);
        command.current_dir(self.home.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let output = self.command(arguments).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        if output.status.success() { Ok(said) } else { Err(said) }
    }

    /// A new pair of keys: the paths of both files.
    pub fn generate_key_pair(&self, name: &str) -> KeyPair {
        let prefix = self.home.path().join(name);
        self.run(&["generate-key-pair", "--output-key-prefix", prefix.to_str().unwrap()]).unwrap();
        KeyPair { private: prefix.with_extension("key"), public: prefix.with_extension("pub") }
    }

    /// Signs.
    pub fn sign(&self, image: &str, key: &KeyPair, stored: Stored) {
        let mut arguments = vec!["sign", "--yes", "--key", key.private.to_str().unwrap()];
        arguments.push("--tlog-upload=false");
        match (self.series, stored) {
            (Series::Two, Stored::Tag) => {}
            (Series::Two, Stored::Bundle) => panic!("cosign 2.5 makes no bundles of signatures"),
            (Series::Three, Stored::Bundle) => arguments.push("--use-signing-config=false"),
            (Series::Three, Stored::Tag) => {
                arguments.extend(["--use-signing-config=false", "--new-bundle-format=false"]);
            }
        }
        arguments.push(image);
        self.run(&arguments).unwrap();
    }

    /// Signs in the older format, and stores that as a referrer: an experiment of cosign 2.
    pub fn sign_into_referrer(&self, image: &str, key: &KeyPair) {
        let arguments = ["sign", "--yes", "--tlog-upload=false", "--registry-referrers-mode=oci-1-1"];
        let mut command =
            self.command(&[&arguments[..], &["--key", key.private.to_str().unwrap(), image]].concat());
        let output = command.env("COSIGN_EXPERIMENTAL", "1").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Fails unless it accepts the image.
    pub fn accepts(&self, image: &str, public: &Path, stored: Stored) {
        if let Err(said) = self.verify(image, public, stored) {
            panic!("cosign {:?} does not accept {stored:?} of {image}: {said}", self.series);
        }
    }

    /// Fails unless it refuses the image, and that for its signatures.
    pub fn refuses(&self, image: &str, public: &Path, stored: Stored) {
        let Err(said) = self.verify(image, public, stored) else {
            panic!("cosign {:?} accepts {stored:?} of {image}", self.series);
        };
        let reasons =
            ["no matching signatures", "no matching attestations", "no signatures found", "no valid bundles"];
        assert!(reasons.iter().any(|reason| said.contains(reason)), "{:?}: {said}", self.series);
    }

    fn verify(&self, image: &str, public: &Path, stored: Stored) -> Result<String, String> {
        let key = ["--insecure-ignore-tlog", "--key", public.to_str().unwrap(), image];
        match (self.series, stored) {
            // For 2.5 a bundle is an attestation like any other, and needs a trust root, which may be empty.
            (Series::Two, Stored::Bundle) => {
                let root = self.home.path().join("root.json");
                let empty = r#"{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}"#;
                std::fs::write(&root, empty).unwrap();
                let attestation = [
                    "verify-attestation",
                    "--new-bundle-format",
                    "--trusted-root",
                    root.to_str().unwrap(),
                    "--type",
                    "https://sigstore.dev/cosign/sign/v1",
                ];
                self.run(&[&attestation[..], &key].concat())
            }
            _ => self.run(&[&["verify"][..], &key].concat()),
        }
    }
}

/// Two files.
pub struct KeyPair {
    pub private: PathBuf,
    pub public: PathBuf,
}

impl KeyPair {
    /// The private key, as the builder reads it.
    pub fn read_private(&self) -> PrivateKey {
        match KeyFile::parse(&std::fs::read(&self.private).unwrap()).unwrap() {
            KeyFile::Encrypted(key) => key.decrypt(PASSWORD.as_bytes()).unwrap(),
            KeyFile::Plain(_) => panic!("cosign encrypts its keys"),
        }
    }

    /// The public key, as the builder reads it.
    pub fn read_public(&self) -> PublicKey {
        PublicKey::parse(&std::fs::read(&self.public).unwrap()).unwrap()
    }
}
