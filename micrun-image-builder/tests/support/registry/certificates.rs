//! A CA of our own, made with openssl.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A CA, and a key and certificate that it signed for localhost and 127.0.0.1.
pub struct Certificates {
    pub dir: tempfile::TempDir,
}

impl Certificates {
    pub fn new() -> Self {
        let this = Certificates { dir: tempfile::tempdir().unwrap() };
        let key = ["-newkey", "rsa:2048", "-nodes"];
        this.openssl(
            &[&["req", "-x509", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Test CA"], &key[..]]
                .concat(),
        );
        this.openssl(
            &[&["req", "-new", "-keyout", "key.pem", "-out", "csr.pem", "-subj", "/CN=localhost"], &key[..]]
                .concat(),
        );
        fs::write(this.path("ext"), "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
            .unwrap();
        let sign = "x509 -req -in csr.pem -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem -extfile ext -days 2";
        this.openssl(&sign.split(' ').collect::<Vec<_>>());
        this
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Signs as RS256 of JWT does (RFC 7518, section 3.3).
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        fs::write(self.path("message"), message).unwrap();
        self.openssl(&["dgst", "-sha256", "-sign", "key.pem", "-out", "signature", "message"]);
        fs::read(self.path("signature")).unwrap()
    }

    pub fn openssl(&self, arguments: &[&str]) {
        openssl(self.dir.path(), arguments);
    }
}

fn openssl(dir: &Path, arguments: &[&str]) {
    let mut command = Command::new("openssl");
    command.args(arguments).current_dir(dir).stdin(Stdio::null());
    let output =
        command.output().unwrap_or_else(|error| panic!("openssl is missing ({error}): install openssl"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
