//! Bundles that a key on a token signs: with RAUC itself, the variables that the bundles' recipe gives it, and the configuration by which
//! nodes judge a bundle.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::node::rauc::{Rauc, Token};
use micrun_testkit::{Workspace, packages, shell};

use super::Check;

const RECIPE: &str = "meta-micrun/dynamic-layers/rauc/recipes-core/bundles/micrun-pkcs11.inc";
const CONFIGURATION: &str = "meta-micrun/dynamic-layers/rauc/recipes-core/rauc/files/system.conf";
const KEYS: &str = "meta-micrun/scripts/micrun-dev-keys";

const MANIFEST: &str = "[update]\ncompatible=gateway\nversion=1.0.0\n\n[bundle]\nformat=verity\n\n[image.rootfs]\nfilename=rootfs.ext4\n";

pub fn checks() -> Vec<Check> {
    vec![
        Check { name: "a key on a token signs bundles that nodes take, with its PIN only", run: token },
        Check { name: "a bundle from a desk is signed anew with the key on a token", run: again },
    ]
}

/// A quarter of a megabyte that cannot be packed into a page, of which RAUC would make no bundle.
fn noise() -> Vec<u8> {
    (0..1_u32 << 16).flat_map(|number| number.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect()
}

/// A product's keys, those of a desk, and what goes into a bundle.
struct Office {
    folder: tempfile::TempDir,
    rauc: Rauc,
    template: String,
}

impl Office {
    fn open(workspace: &Workspace) -> Result<Self> {
        packages::ensure("signing bundles", &[&packages::BUNDLES, &packages::RELEASES])?;
        let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
        for owner in ["product", "desk"] {
            shell::quietly(Command::new(workspace.root().join(KEYS)).arg(folder.path().join(owner)))?;
        }
        let content = folder.path().join("content");
        fs::create_dir(&content)
            .and_then(|()| fs::write(content.join("rootfs.ext4"), noise()))
            .and_then(|()| fs::write(content.join("manifest.raucm"), MANIFEST))
            .context("cannot write what goes into the bundle")?;
        let path = workspace.root().join(CONFIGURATION);
        let template =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self { folder, rauc: Rauc::get(workspace)?, template })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn token(&self) -> Result<Token> {
        self.rauc.token(&self.path("token"), &self.path("product/development.key.pem"))
    }

    /// The configuration of a node that trusts that CA.
    fn node(&self, owner: &str) -> Result<PathBuf> {
        let keyring = self.path(owner).join("ca.cert.pem").display().to_string();
        let words = [("@COMPATIBLE@", "gateway"), ("@VERSION@", "1.0.0"), ("@KEYRING@", &keyring)];
        let text = words.iter().fold(self.template.clone(), |text, (word, value)| text.replace(word, value));
        let path = self.path(owner).join("system.conf");
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// `rauc COMMAND` with that certificate and key.
    fn signs(&self, command: &[&str], owner: &str, key: &str) -> Command {
        let mut rauc = self.rauc.command();
        let certificate = self.path(owner).join("development.cert.pem");
        rauc.args(command).arg(format!("--cert={}", certificate.display())).arg(format!("--key={key}"));
        rauc
    }

    /// Whether a node that trusts that CA takes the bundle.
    fn takes(&self, owner: &str, bundle: &Path) -> Result<bool> {
        let mut rauc = self.rauc.command();
        rauc.arg(format!("--conf={}", self.node(owner)?.display())).arg("info").arg(bundle);
        Ok(shell::capture(&mut rauc)?.status.success())
    }
}

fn token(workspace: &Workspace) -> Result<()> {
    let recipe = workspace.root().join(RECIPE);
    let recipe = fs::read_to_string(&recipe).with_context(|| format!("cannot read {}", recipe.display()))?;
    for name in ["OPENSSL_ENGINES", "RAUC_PKCS11_MODULE"] {
        ensure!(recipe.contains(&format!("os.environ['{name}'] = ")), "{RECIPE} does not give RAUC {name}");
    }
    let office = Office::open(workspace)?;
    let token = office.token()?;
    let bundle = office.path("signed.raucb");
    let sign = |key: &str| {
        let mut rauc = office.signs(&["bundle"], "product", key);
        rauc.arg(office.path("content")).arg(&bundle);
        token.reached_by(&mut rauc);
        shell::capture(&mut rauc)
    };
    let refusal = String::from_utf8_lossy(&sign(Token::URI)?.stderr).into_owned();
    let refused = refusal.contains("failed to load PKCS11 private key") && !bundle.exists();
    ensure!(refused, "the token should not sign without its PIN; RAUC said\n{refusal}");

    let pin = office.path("pin");
    fs::write(&pin, Token::PIN).with_context(|| format!("cannot write {}", pin.display()))?;
    let said = sign(&format!("{}?pin-source=file:{}", Token::URI, pin.display()))?;
    ensure!(said.status.success(), "RAUC does not sign: {}", String::from_utf8_lossy(&said.stderr));
    ensure!(office.takes("product", &bundle)?, "a node does not take what the token's key has signed");
    ensure!(!office.takes("desk", &bundle)?, "a node takes a bundle whose key it does not know");
    Ok(())
}

/// What docs/ota.md says for builds that have no token.
fn again(workspace: &Workspace) -> Result<()> {
    let office = Office::open(workspace)?;
    let token = office.token()?;
    let (desk, released) = (office.path("desk.raucb"), office.path("released.raucb"));
    let key = office.path("desk/development.key.pem").display().to_string();
    let mut build = office.signs(&["bundle"], "desk", &key);
    shell::quietly(build.arg(office.path("content")).arg(&desk))?;
    ensure!(!office.takes("product", &desk)?, "a product's node takes what a desk's key has signed");

    let trusted = format!("--conf={}", office.node("desk")?.display());
    let keyring = format!("--signing-keyring={}", office.path("product/ca.cert.pem").display());
    let mut release = office.signs(&[&trusted, "resign", &keyring], "product", Token::URI);
    token.reached_by(&mut release);
    shell::quietly(release.env("RAUC_PKCS11_PIN", Token::PIN).arg(&desk).arg(&released))?;
    ensure!(office.takes("product", &released)?, "a product's node does not take what was signed anew");
    ensure!(!office.takes("desk", &released)?, "the signature of the desk is still there");
    Ok(())
}
