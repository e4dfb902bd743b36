//! Debian's docker-registry, on a loopback port of its own.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use micrun_testkit::{Unpacked, Workspace};

use super::certificates::Certificates;

/// The user that the registry with a password file knows.
pub const USER: &str = "me";
pub const PASSWORD: &str = "secret";
/// bcrypt of it.
const HTPASSWD: &str = "me:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

pub struct DebianRegistry {
    pub address: SocketAddr,
    child: Child,
    _dir: tempfile::TempDir,
}

impl DebianRegistry {
    pub fn open() -> Self {
        Self::start(|_| String::new())
    }

    pub fn with_password() -> Self {
        Self::start(|dir| {
            fs::write(dir.join("htpasswd"), HTPASSWD).unwrap();
            format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", dir.join("htpasswd").display())
        })
    }

    pub fn with_tls(certificates: &Certificates) -> Self {
        Self::configured(&tls(certificates), |_| String::new())
    }

    /// Over TLS, with tokens from elsewhere.
    pub fn with_tls_and_tokens(realm: &str, certificates: &Certificates) -> Self {
        Self::configured(&tls(certificates), |_| token_auth(realm, certificates))
    }

    /// Tokens come from `realm` and are signed with the key of these certificates.
    pub fn with_tokens(realm: &str, certificates: &Certificates) -> Self {
        Self::start(|_| token_auth(realm, certificates))
    }

    fn start(more: impl Fn(&Path) -> String) -> Self {
        Self::configured("", more)
    }

    fn configured(http: &str, more: impl Fn(&Path) -> String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = format!(
            "version: 0.1\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\n\
             http:\n  addr: '127.0.0.1:0'\n  secret: test\n{http}{}",
            dir.path().join("data").display(),
            more(dir.path()),
        );
        fs::write(dir.path().join("config.yml"), config).unwrap();
        // Unpacked, since installing it would start a daemon that nobody asked for.
        let package = Unpacked::own(&Workspace::find().unwrap(), "docker-registry");
        let program = package.and_then(|package| package.program("docker-registry"));
        let mut command = Command::new(program.unwrap_or_else(|error| panic!("{error:#}")));
        command.arg("serve").arg(dir.path().join("config.yml"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut before = Vec::new();
        let address = log.by_ref().find_map(|line| {
            let address =
                line.split_once("listening on ").map(|(_, rest)| rest.split(['"', ' ', ',']).next());
            before.push(line.clone());
            address.flatten()?.parse().ok()
        });
        let address =
            address.unwrap_or_else(|| panic!("docker-registry does not start:\n{}", before.join("\n")));
        // It stops when nobody reads its log.
        thread::spawn(move || log.for_each(drop));
        DebianRegistry { address, child, _dir: dir }
    }
}

impl Drop for DebianRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tls(certificates: &Certificates) -> String {
    let (certificate, key) = (certificates.path("cert.pem"), certificates.path("key.pem"));
    format!("  tls: {{certificate: {}, key: {}}}\n", certificate.display(), key.display())
}

fn token_auth(realm: &str, certificates: &Certificates) -> String {
    let bundle = certificates.path("ca.pem");
    let bundle = bundle.display();
    format!(
        "auth: {{token: {{realm: '{realm}', service: test-registry, issuer: test-issuer, rootcertbundle: {bundle}}}}}\n"
    )
}
