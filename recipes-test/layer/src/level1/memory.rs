//! What Linux does to what boot loaders remember: the scripts of the node, run here with `grub-editenv` and `fw_setenv` themselves.
//! Only places are changed in them, and a restart is a word.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::{Workspace, packages, shell};

use super::Check;

const BOOT_ENV: &str = "meta-micrun/recipes-core/micrun-data/files/micrun-boot-env";
const VERDICT: &str = "meta-micrun/recipes-core/micrun-health/files/micrun-verdict";

/// Where the boot loaders' files are.
const ESP: &str = "/boot/efi/EFI/BOOT";

/// Of grubenv.
const SIZE: usize = 1024;
/// Of U-Boot's environment.
const ENVIRONMENT: usize = 16384;
const WHOLE: [&str; 5] = ["ORDER=B A", "A_OK=1", "A_TRY=0", "B_OK=1", "B_TRY=1"];

pub fn checks() -> Vec<Check> {
    vec![
        Check { name: "grub: what a power cut did to the environment is repaired", run: repairs },
        Check { name: "grub: what follows from a good boot", run: good },
        Check { name: "grub: what follows from a bad boot", run: bad },
        Check { name: "u-boot: what follows from good and bad boots", run: with_u_boot },
    ]
}

fn repairs(workspace: &Workspace) -> Result<()> {
    let whole = |node: &Node<'_>| -> Result<Vec<u8>> {
        node.remember(&WHOLE)?;
        let path = node.grubenv();
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    for (cut, other) in [("grubenv", "grubenv.copy"), ("grubenv.copy", "grubenv")] {
        for length in [0, 100, SIZE - 1] {
            let node = Node::new(workspace, "B")?;
            let block = whole(&node)?;
            node.write(other, &block)?;
            node.write(cut, &block[..length])?;
            let said = node.run(BOOT_ENV, &[])?;
            ensure!(said.success, "{cut} was cut to {length} bytes: {}", said.text);
            for name in [cut, other] {
                let list = node.list(name)?;
                ensure!(
                    WHOLE.iter().all(|line| list.lines().any(|found| found == *line)),
                    "{cut} was cut to {length} bytes, and {name} is now: {list}"
                );
            }
            ensure!(node.list("grubenv")?.contains("MACHINE_ID=0123"), "the node's id is not there");
        }
    }
    let node = Node::new(workspace, "B")?;
    node.write("grubenv", b"")?;
    node.write("grubenv.copy", b"")?;
    node.run(BOOT_ENV, &[])?;
    for name in ["grubenv", "grubenv.copy"] {
        let list = node.list(name)?;
        ensure!(
            list.starts_with("ORDER=B A\nA_OK=1\nA_TRY=0\nB_OK=1\nB_TRY=0\n"),
            "slot B runs, and {name} is: {list}"
        );
    }
    Ok(())
}

/// The other slot is marked bad if it used up its boots, and left alone if not.
fn good(workspace: &Workspace) -> Result<()> {
    for (before, after) in [
        ("A_OK=1 A_TRY=0 B_OK=1 B_TRY=3", "A_OK=1 A_TRY=0 B_OK=0 B_TRY=0"),
        ("A_OK=1 A_TRY=0 B_OK=1 B_TRY=2", "A_OK=1 A_TRY=0 B_OK=1 B_TRY=2"),
        ("A_OK=1 A_TRY=0 B_OK=0 B_TRY=0", "A_OK=1 A_TRY=0 B_OK=0 B_TRY=0"),
    ] {
        let node = Node::new(workspace, "A")?;
        node.remember(&[&["ORDER=B A"], before.split(' ').collect::<Vec<_>>().as_slice()].concat())?;
        let said = node.run(VERDICT, &["good"])?;
        ensure!(said.success && !said.restarts(), "{before}: {}", said.text);
        node.expect(after).with_context(|| format!("{before}: {}", said.text))?;
        ensure!(node.at("run/micrun-boot-was-good").exists(), "nobody will know that this boot was good");
    }
    Ok(())
}

/// Back to a slot that the boot loader would begin; else the node stays up, and nothing changes.
fn bad(workspace: &Workspace) -> Result<()> {
    let stays = |before| (before, before, false);
    for (before, after, restarts) in [
        ("A_OK=1 A_TRY=1 B_OK=1 B_TRY=0", "A_OK=0 A_TRY=0 B_OK=1 B_TRY=0", true),
        ("A_OK=1 A_TRY=3 B_OK=1 B_TRY=2", "A_OK=0 A_TRY=0 B_OK=1 B_TRY=2", true),
        stays("A_OK=1 A_TRY=1 B_OK=1 B_TRY=3"),
        stays("A_OK=1 A_TRY=1 B_OK=0 B_TRY=0"),
        // The boot loader took it because it had nothing better.
        stays("A_OK=0 A_TRY=1 B_OK=1 B_TRY=0"),
    ] {
        let node = Node::new(workspace, "A")?;
        node.remember(&[&["ORDER=A B"], before.split(' ').collect::<Vec<_>>().as_slice()].concat())?;
        let said = node.run(VERDICT, &["bad"])?;
        ensure!(said.restarts() == restarts && said.success == restarts, "{before}: {}", said.text);
        node.expect(after).with_context(|| format!("{before}: {}", said.text))?;
    }
    // Restarts that nobody can count but this script have an end, and a good boot begins anew.
    let node = Node::new(workspace, "A")?;
    node.write("grubenv", b"")?;
    for _ in 0..3 {
        ensure!(node.run(VERDICT, &["bad"])?.restarts(), "the boot loader should have its chance to count");
    }
    let said = node.run(VERDICT, &["bad"])?;
    ensure!(!said.restarts() && said.text.contains("stays up"), "it restarts without end: {}", said.text);
    node.run(VERDICT, &["good"])?;
    ensure!(node.run(VERDICT, &["bad"])?.restarts(), "a good boot should begin the count anew");
    Ok(())
}

/// The order, and the boots that are left to A, which runs, and to B.
fn with_u_boot(workspace: &Workspace) -> Result<()> {
    packages::ensure("running what U-Boot remembers", &[&packages::U_BOOT_ENV])?;
    for (verdict, before, after, restarts) in [
        ("good", ["B A", "3", "0"], ["A", "3", "0"], false),
        ("good", ["B A", "3", "2"], ["B A", "3", "2"], false),
        ("bad", ["A B", "2", "3"], ["B", "0", "3"], true),
        ("bad", ["A B", "2", "0"], ["A B", "2", "0"], false),
        ("bad", ["B", "2", "3"], ["B", "2", "3"], false),
    ] {
        let node = Node::new(workspace, "A")?;
        let names = ["BOOT_ORDER", "BOOT_A_LEFT", "BOOT_B_LEFT"];
        let lines: String =
            names.iter().zip(before).map(|(name, value)| format!("{name}={value}\n")).collect();
        node.write("defaults", lines.as_bytes())?;
        // Two copies, as on a node; fw_setenv makes both of the defaults, since neither is one yet.
        node.write("one", &[0; ENVIRONMENT])?;
        node.write("other", &[0; ENVIRONMENT])?;
        let at = |name: &str| node.grubenv().with_file_name(name).display().to_string();
        let copies = format!("{} 0x0 {ENVIRONMENT:#x}\n{} 0x0 {ENVIRONMENT:#x}\n", at("one"), at("other"));
        node.write("fw_env.config", copies.as_bytes())?;
        shell::quietly(node.u_boot("fw_setenv").args(["bootdelay", "0"]))?;
        let said = node.run(VERDICT, &[verdict])?;
        ensure!(said.restarts() == restarts, "{verdict} {before:?}: {}", said.text);
        for (name, value) in names.iter().zip(after) {
            let found = shell::output(node.u_boot("fw_printenv").args(["-n", name]))?;
            ensure!(found.trim() == value, "{verdict} {before:?}: {name} is {found}: {}", said.text);
        }
    }
    Ok(())
}

/// The places of a node that the scripts look at, in a folder.
struct Node<'a> {
    folder: tempfile::TempDir,
    workspace: &'a Workspace,
}

/// What a script said, and whether it ended with 0.
struct Said {
    text: String,
    success: bool,
}

impl Said {
    fn restarts(&self) -> bool {
        self.text.contains("RESTART reboot")
    }
}

impl<'a> Node<'a> {
    /// On which this slot runs.
    fn new(workspace: &'a Workspace, slot: &str) -> Result<Self> {
        packages::ensure("running what repairs GRUB's environment", &[&packages::GRUB])?;
        let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
        let node = Self { folder, workspace };
        for folder in ["boot/efi/EFI/BOOT", "proc", "etc", "run", "var/lib"] {
            let folder = node.at(folder);
            fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        node.write("grub.cfg", b"")?;
        node.write("../../../../proc/cmdline", format!("root=x ro rauc.slot={slot} quiet\n").as_bytes())?;
        node.write("../../../../etc/machine-id", b"0123\n")?;
        Ok(node)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn grubenv(&self) -> PathBuf {
        self.at(&format!("{}/grubenv", &ESP[1..]))
    }

    /// Writes a file beside grubenv.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.grubenv().with_file_name(name);
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
    }

    /// A program that knows where U-Boot's environment is.
    fn u_boot(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-c").arg(self.grubenv().with_file_name("fw_env.config"));
        command.arg("-f").arg(self.grubenv().with_file_name("defaults"));
        command
    }

    /// Makes grubenv anew, with these lines.
    fn remember(&self, lines: &[&str]) -> Result<()> {
        let grubenv = self.grubenv();
        shell::quietly(Command::new("grub-editenv").arg(&grubenv).arg("create"))?;
        shell::quietly(Command::new("grub-editenv").arg(&grubenv).arg("set").args(lines))
    }

    fn list(&self, name: &str) -> Result<String> {
        shell::output(Command::new("grub-editenv").arg(self.grubenv().with_file_name(name)).arg("list"))
    }

    /// Whether all of these, with spaces between, are in grubenv.
    fn expect(&self, wanted: &str) -> Result<()> {
        let list = self.list("grubenv")?;
        ensure!(
            wanted.split(' ').all(|line| list.lines().any(|found| found == line)),
            "not {wanted}, but: {list}"
        );
        Ok(())
    }

    fn run(&self, script: &str, arguments: &[&str]) -> Result<Said> {
        let path = self.workspace.root().join(script);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let root = self.folder.path().display();
        let text = ["/boot/efi", "/etc/machine-id", "/proc/cmdline", "/run/", "/var/lib/"]
            .iter()
            .fold(text, |text, place| text.replace(place, &format!("{root}{place}")))
            .replace("systemctl reboot", "echo RESTART reboot");
        let text = ["fw_printenv", "fw_setenv"].iter().fold(text, |text, program| {
            text.replace(program, &format!("{program} -c {root}{ESP}/fw_env.config -f {root}{ESP}/defaults"))
        });
        let here = self.at(Path::new(script).file_name().and_then(|name| name.to_str()).unwrap_or("script"));
        fs::write(&here, text).with_context(|| format!("cannot write {}", here.display()))?;
        let output = shell::capture(Command::new("sh").arg(&here).args(arguments))?;
        let text = [output.stdout, output.stderr].concat();
        Ok(Said { text: String::from_utf8_lossy(&text).into_owned(), success: output.status.success() })
    }
}
