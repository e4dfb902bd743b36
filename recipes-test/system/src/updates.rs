//! The node is updated as products are: two slots, bundles of RAUC, a boot loader that counts. One story with Xen and one
//! without, each on a machine of its own whose disk outlives its boots. A restart ends the machine, and the story goes on
//! with the next one: so a restart that the node decided on by itself is seen as such.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use micrun_testkit::firmware::OURS_XEN_VUART;
use micrun_testkit::node::bundle::Content;
use micrun_testkit::node::slots::{Bundle, Factory, Flaw, Release};
use micrun_testkit::node::{Said, logs};
use micrun_testkit::{Node, note, shell, trials, wait};
use serde::Deserialize;

use crate::stage::Supplies;

/// The releases: what the node leaves the factory with, a good update, and one whose health check fails.
const FIRST: &str = "1.0.0";
const GOOD: &str = "2.0.0";
const BAD: &str = "3.0.0";

/// How long an installation may take under emulation.
const PATIENCE: Duration = Duration::from_secs(900);

/// Where the stick is in the node.
const STICK: &str = "/media";

/// The repository of guests in the node, and the one guest in it.
const ARTIFACTS: &str = "/data/rauc/guests";
const GUEST: &str = "motor";
/// Where guests are declared.
const DECLARED: &str = "/etc/mica/micrun/guests.d";

/// What ends guests before the node does.
const STOP: &str = "micrun-guests-stop.service";

/// What goes back to the other slot.
const ROLLBACK: &str = "micrun-rollback.service";

/// What the boot loader remembers.
const GRUBENV: &str = "/boot/efi/EFI/BOOT/grubenv";

/// Which slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    A,
    B,
}

impl Slot {
    /// As the boot loader calls it.
    fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
        }
    }
}

/// A story for each kind of machine.
pub fn trials(supplies: &Supplies) -> Vec<Trial> {
    let trial = |kind: &'static str, xen: bool| {
        let supplies = supplies.clone();
        let name =
            format!("{kind} / the node is updated, rolls back, survives power cuts, refuses what it must");
        trials::trial(name, move || Site::prepare(&supplies, kind, xen).and_then(Site::tell))
    };
    vec![trial("slots with xen", true), trial("slots without xen", false)]
}

/// A machine with its disk.
struct Site {
    xen: bool,
    factory: Factory,
    disk: PathBuf,
    logs: PathBuf,
    /// Not before the first boot.
    id: String,
    boots: u32,
}

impl Site {
    fn prepare(supplies: &Supplies, kind: &str, xen: bool) -> Result<Self> {
        let release = |version, mut texts: Vec<(&'static str, String)>| -> Result<Release> {
            // What waits for a broken containerd waits for a shorter time than on a board.
            texts.push(("etc/mica/micrun/health.env", "MICRUN_HEALTH_WAIT=20\n".to_owned()));
            texts.push(("etc/mica/micrun/import.env", "MICRUN_PATIENCE=20\n".to_owned()));
            Ok(Release { version, xen, files: supplies.additions()?, texts })
        };
        let broken = ("etc/containerd/config.toml", "this is no configuration\n".to_owned());
        let releases = [release(FIRST, vec![])?, release(GOOD, vec![])?, release(BAD, vec![broken])?];
        let [wrong, motor] = supplies.images()?;
        let heavier = supplies.heavier()?;
        let guest = |image: &Path| Content::Guests(vec![(GUEST, image.to_owned())]);
        let bundle = |name, version, content, flaw| Bundle { name, version, content, flaw };
        let token = |name, version, flaw| bundle(name, version, Content::Token, flaw);
        let bundles = [
            bundle("good", GOOD, Content::Release(GOOD), Flaw::None),
            bundle("bad", BAD, Content::Release(BAD), Flaw::None),
            token("older", FIRST, Flaw::None),
            token("stranger", GOOD, Flaw::Stranger),
            token("unsigned", GOOD, Flaw::Unsigned),
            token("tampered", GOOD, Flaw::Tampered),
            token("other-board", GOOD, Flaw::OtherBoard),
            bundle("guests-1", "2.0.0+motor.1", guest(&motor), Flaw::None),
            bundle("guests-2", "2.0.0+motor.2", guest(&heavier), Flaw::None),
            bundle("guests-wrong", "2.0.0+motor.3", guest(&wrong), Flaw::None),
            bundle("guests-older", "1.0.0+motor.9", guest(&motor), Flaw::None),
        ];
        let factory = Factory::make(&supplies.workspace, &releases, &bundles)?;
        let logs = logs(&supplies.workspace, &kind.replace(' ', "-"))?;
        let doing = || format!("cannot prepare {}", logs.display());
        let _ = std::fs::remove_dir_all(&logs);
        std::fs::create_dir_all(&logs).with_context(doing)?;
        let disk = logs.join("disk.img");
        let mut copy = std::process::Command::new("cp");
        copy.args(["--sparse=always", "--reflink=auto"]).args([&factory.disk(), &disk]);
        shell::quietly(&mut copy)?;
        Ok(Self { xen, factory, disk, logs, id: String::new(), boots: 0 })
    }

    /// Whatever becomes of it: where its logs are. The disk is kept after a failure.
    fn tell(mut self) -> Result<()> {
        let told = self.story();
        let logs = self.logs.display();
        told.with_context(|| {
            format!("after {} boots; transcript, serial consoles and disk: {logs}", self.boots)
        })?;
        note(format_args!("{} boots; what was typed: {logs}/transcript.txt", self.boots));
        std::fs::remove_file(&self.disk).with_context(|| format!("cannot remove {}", self.disk.display()))
    }

    fn story(&mut self) -> Result<()> {
        let node = self.good_boot("the first boot, as the node leaves the factory", Slot::A, FIRST)?;
        self.id = node.run(&["cat", "/etc/machine-id"])?;
        for (partition, tool) in [("esp", "fsck.fat"), ("data", "clean")] {
            let unit = format!("systemd-fsck@dev-disk-by\\x2dpartlabel-{partition}.service");
            let said =
                node.run(&["journalctl", "--boot", "--no-hostname", "--output=cat", "--unit", &unit])?;
            ensure!(said.contains(tool), "{partition} should be checked before it is mounted: {said}");
        }
        refusals(&node)?;

        node.remark("the power is cut in the middle of an installation");
        begin_install(&node, "good")?;
        wait_for_half(&node)?;
        node.cut();
        let node = self.good_boot("the slot that was being written is left alone", Slot::A, FIRST)?;
        ensure!(!is_good(&node, Slot::B)?, "a slot that was written by half should not be good");

        install(&node, "good")?;
        node.remark("the power is cut between the switch and the first boot of the new slot");
        node.cut();
        let node = self.switch_on("the new slot's first boot, whose power is cut, too")?;
        check_slot(&node, Slot::B)?;
        wait::gently(PATIENCE, "the boot loader's environment to be mounted", || {
            Ok(node.ask(&["test", "-e", GRUBENV])?.status.success().then_some(()))
        })?;
        ensure!(grubenv(&node, "B_TRY")? == "1", "the boot loader should have counted the boot");
        node.cut();
        let node = self.good_boot("the new slot's second boot: it is good", Slot::B, GOOD)?;
        ensure!(is_good(&node, Slot::A)?, "the old slot should be there to go back to");

        node.remark("what was current once is refused now");
        refused(&node, "older", &["Version mismatch", GOOD, FIRST])?;
        refused(&node, "guests-older", &["Version mismatch"])?;
        artifacts(&node)?;
        if self.xen {
            guests(&node)?;
        }

        node.remark("an update of the node whose health check will fail");
        install(&node, "bad")?;
        node.remark("it restarts");
        node.restart()?;
        // What systemd waits for at last is something that cannot even be killed.
        let serial = self.logs.join(format!("serial-{}.log", self.boots));
        let said = std::fs::read(&serial).with_context(|| format!("cannot read {}", serial.display()))?;
        let said = String::from_utf8_lossy(&said);
        ensure!(!said.contains("Waiting for process"), "something held up the restart: {said}");
        let node = self.switch_on("an update whose health check fails")?;
        check_slot(&node, Slot::A)?;
        node.remark("it goes back by itself");
        node.wait_for_end()?;
        let node = self.good_boot("the slot before the bad update", Slot::B, GOOD)?;
        ensure!(!is_good(&node, Slot::A)?, "the bad update should not be good");
        ensure!(grubenv(&node, "A_OK")? == "0", "the bad update should not be tried again");
        if self.xen {
            // The health check has waited for it, too.
            ensure!(guest(&node)?.runs_well(), "the declared guest should run after the boots");
        }
        becomes_ill(&node)?;
        if self.xen {
            hang(node)?
        } else {
            node.restart()?
        }
        let node = self.switch_on("its health is bad now, and the other slot is, too: it stays up")?;
        check_slot(&node, Slot::B)?;
        stays_up(&node)
    }

    /// Switches the machine on; its units may still be starting.
    fn switch_on(&mut self, what: &str) -> Result<Node> {
        self.boots += 1;
        let serial = self.logs.join(format!("serial-{}.log", self.boots));
        let transcript = self.logs.join("transcript.txt");
        let node = Node::boot_slots(&self.disk, &self.factory.stick(), &serial, &transcript)?;
        node.remark(&format!("boot {}: {what}", self.boots));
        Ok(node)
    }

    /// A boot after which all units run and the slot was marked good.
    fn good_boot(&mut self, what: &str, slot: Slot, version: &str) -> Result<Node> {
        let mut node = self.switch_on(what)?;
        node.settle()?;
        check_slot(&node, slot)?;
        let xen = node.try_run(&["grep", "control_d", "/proc/xen/capabilities"])?.status.success();
        ensure!(xen == self.xen, "Xen below Linux: {xen}");
        let found = node.run(&["grep", "min-bundle-version", "/usr/lib/rauc/system.conf"])?;
        ensure!(found.trim_end().ends_with(version), "it should be release {version}: {found}");
        wait::gently(PATIENCE, "the slot to be marked good", || Ok(is_good(&node, slot)?.then_some(())))?;
        if !self.id.is_empty() {
            let id = node.run(&["cat", "/etc/machine-id"])?;
            ensure!(id == self.id, "the node is another one after the update: {id} instead of {}", self.id);
        }
        node.run(&["mkdir", "-p", STICK])?;
        node.run(&["mount", "-o", "ro", "/dev/disk/by-label/bundles", STICK])?;
        Ok(node)
    }
}

/// What must not be installed, and that nothing of it was.
fn refusals(node: &Node) -> Result<()> {
    node.remark("bundles that are refused");
    refused(node, "unsigned", &["signature"])?;
    refused(node, "stranger", &["signature", "verif"])?;
    refused(node, "other-board", &["Compatible mismatch"])?;
    // Its signature is right; the kernel finds the block that is not.
    refused(node, "tampered", &["Input/output error"])?;
    let kernel = node.run(&["dmesg"])?;
    ensure!(kernel.contains("is corrupted"), "it was not dm-verity that found the changed block: {kernel}");
    ensure!(!is_good(node, Slot::B)?, "a slot with half of a changed bundle should not be good");
    ensure!(grubenv(node, "ORDER")? == "A B", "a refused bundle must not change what is booted");
    ensure!(grubenv(node, "A_OK")? == "1", "a refused bundle must not touch the slot that runs");
    check_slot(node, Slot::A)
}

/// A bundle of guests takes effect at once, as a link that points somewhere else; so does the one before, brought again.
fn artifacts(node: &Node) -> Result<()> {
    node.remark("the link to a guest's image follows what is installed");
    let mut digests = Vec::new();
    for bundle in ["guests-1", "guests-2", "guests-1"] {
        install(node, bundle)?;
        let link = node.run(&["readlink", &format!("{ARTIFACTS}/{GUEST}")])?;
        ensure!(link.starts_with(&format!(".artifact-{GUEST}-")), "the link should name an artifact: {link}");
        let sum = node.run(&["sha256sum", &format!("{ARTIFACTS}/{GUEST}")])?;
        let digest = sum.split(' ').next().unwrap_or_default().to_owned();
        ensure!(link.trim_end().ends_with(&digest), "{link} should be what it says: {sum}");
        digests.push(digest);
    }
    ensure!(
        digests[0] != digests[1] && digests[0] == digests[2],
        "the guest should change and go back: {digests:?}"
    );
    ensure!(grubenv(node, "ORDER")?.starts_with('B'), "guests do not change what is booted");
    Ok(())
}

/// A declared guest runs what the link leads to: nobody but the services of the node brings that about. What does not become
/// healthy goes back by itself. Without Xen there is nothing on this node that could run it.
fn guests(node: &Node) -> Result<()> {
    node.remark("a declared guest is started, updated, and goes back by itself");
    let declaration = format!(
        "image = \"{ARTIFACTS}/{GUEST}\"\n[health]\nconsole = \"on {}\"\nwithin = \"30s\"\n",
        OURS_XEN_VUART.board
    );
    node.shell(&format!("mkdir -p {DECLARED} && printf '%s' '{declaration}' > {DECLARED}/{GUEST}.toml"))?;
    let first = becomes(node, "the declared guest to run", |_| true)?;
    node.remark("the guest is updated");
    install(node, "guests-2")?;
    let second = becomes(node, "the guest to be updated", |guest| guest.digest != first.digest)?;
    ensure!(second.previous == first.digest, "there should be a way back: {second:?}");
    node.remark("an update that is not healthy is taken back");
    install(node, "guests-wrong")?;
    let after = becomes(node, "the wrong guest to be taken back", |guest| guest.refused.is_some())?;
    ensure!(after.digest == second.digest && after.refused != after.digest, "another one runs: {after:?}");
    node.run(&["micrun", "guests", "check"])?;
    ends_before_the_node(node)
}

/// What systemd does before it restarts the node: its journal does not outlive that here.
fn ends_before_the_node(node: &Node) -> Result<()> {
    node.remark("declared guests end before the node does");
    node.run(&["systemctl", "stop", STOP])?;
    let said = node.run(&["journalctl", "--boot", "--no-hostname", "--output=cat", "--unit", STOP])?;
    ensure!(said.contains(&format!("{GUEST}: stopping")), "{STOP} should end the guest: {said}");
    ensure!(!guest(node)?.runs_well(), "the guest runs on");
    node.run(&["systemctl", "start", STOP, "micrun-guests.service"])?;
    becomes(node, "the guest to run again", |_| true).map(drop)
}

/// The declared guest as `micrun guests list` shows it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Guest {
    state: Option<String>,
    healthy: Option<bool>,
    digest: Option<String>,
    previous: Option<String>,
    refused: Option<String>,
}

impl Guest {
    fn runs_well(&self) -> bool {
        self.state.as_deref() == Some("running") && self.healthy == Some(true)
    }
}

fn guest(node: &Node) -> Result<Guest> {
    let said = node.ask(&["micrun", "guests", "list", "--format", "json"])?;
    let list: Vec<Guest> =
        serde_json::from_str(&said.stdout).with_context(|| format!("{}{}", said.stdout, said.stderr))?;
    Ok(list.into_iter().next().unwrap_or_default())
}

/// Waits until the guest runs well and is what it should be.
fn becomes(node: &Node, what: &str, is_so: impl Fn(&Guest) -> bool) -> Result<Guest> {
    let found = wait::gently(PATIENCE, what, || {
        let guest = guest(node)?;
        Ok((guest.runs_well() && is_so(&guest)).then_some(guest))
    });
    let found = found.with_context(|| node.journal())?;
    node.run(&["micrun", "guests", "list"])?;
    Ok(found)
}

/// From now on the health check fails. On a node at work that is no reason to go back.
fn becomes_ill(node: &Node) -> Result<()> {
    node.remark("the health check is made again, and fails");
    let folder = "/etc/mica/micrun/health.d";
    node.shell(&format!("mkdir -p {folder} && ln -s /usr/bin/false {folder}/never && sync"))?;
    let again = node.try_run(&["systemctl", "restart", "micrun-health.service"])?;
    ensure!(!again.status.success(), "the health check should fail");
    let rollback =
        node.run(&["systemctl", "show", "--property=ConditionResult,ConditionTimestampMonotonic", ROLLBACK])?;
    ensure!(rollback.contains("ConditionResult=no"), "a node at work should not go back: {rollback}");
    ensure!(
        !rollback.contains("ConditionTimestampMonotonic=0"),
        "nobody asked whether to go back: {rollback}"
    );
    ensure!(grubenv(node, "B_OK")? == "1", "a slot that was good should stay so");
    Ok(())
}

/// Nothing is better than the slot that runs, so it goes on running, and the boot is counted.
fn stays_up(node: &Node) -> Result<()> {
    let state = wait::gently(PATIENCE, "the verdict about this boot", || {
        let state = node.ask(&["systemctl", "show", "--property=ActiveState", "--value", ROLLBACK])?;
        Ok((state.stdout.trim() == "failed").then_some(()))
    });
    state.with_context(|| node.journal())?;
    let said = node.run(&["journalctl", "--boot", "--no-hostname", "--unit", ROLLBACK])?;
    ensure!(said.contains("the node stays up for repair"), "it should say why: {said}");
    ensure!(grubenv(node, "B_TRY")? == "1", "the boot after the restart should be counted");
    ensure!(grubenv(node, "B_OK")? == "1", "the only slot there is should not be marked bad");
    Ok(())
}

/// systemd stops to feed Xen's watchdog, as it does when it hangs; the machine restarts. QEMU's board has no watchdog of its
/// own, so without Xen there is none.
fn hang(node: Node) -> Result<()> {
    node.remark("systemd hangs, and Xen's watchdog restarts the machine");
    let state = node.shell("cd /sys/class/watchdog/watchdog0 && grep . identity state timeout")?;
    ensure!(state.contains("state:active"), "nobody feeds the watchdog: {state}");
    // A crash of the first process ends in an endless sleep.
    node.run(&["kill", "-s", "SEGV", "1"])?;
    node.wait_for_end()
}

/// RAUC refuses it, with these words.
fn refused(node: &Node, bundle: &str, words: &[&str]) -> Result<()> {
    let said = node.try_run(&["rauc", "install", &path(bundle)])?;
    ensure!(!said.status.success(), "{bundle} was installed");
    let text = format!("{}{}", said.stdout, said.stderr).to_lowercase();
    for word in words {
        ensure!(text.contains(&word.to_lowercase()), "{bundle}: the error should name {word:?}: {text}");
    }
    Ok(())
}

fn path(bundle: &str) -> String {
    format!("{STICK}/{bundle}.raucb")
}

/// Starts an installation, whose progress goes to a file.
fn begin_install(node: &Node, bundle: &str) -> Result<()> {
    let line = "rm -f /run/install.*; { rauc install \"$1\"; echo \"end $?\"; } > /run/install.log 2>&1 < /dev/null &";
    node.run(&["sh", "-c", line, "sh", &path(bundle)]).map(drop)
}

fn progress(node: &Node) -> Result<String> {
    Ok(node.ask(&["cat", "/run/install.log"])?.stdout)
}

/// Until half of it is done.
fn wait_for_half(node: &Node) -> Result<()> {
    let said = wait::gently(PATIENCE, "the installation to be half done", || {
        let said = progress(node)?;
        ensure!(!said.contains("end "), "the installation ended too early: {said}");
        let percent =
            said.lines().filter_map(|line| line.trim_start().split_once('%')?.0.parse::<u32>().ok());
        Ok((percent.max() >= Some(50)).then_some(said))
    })?;
    node.quote(&said);
    Ok(())
}

/// Installs a bundle to the end.
fn install(node: &Node, bundle: &str) -> Result<()> {
    begin_install(node, bundle)?;
    let said = wait::gently(PATIENCE, "the installation to end", || {
        let said = progress(node)?;
        Ok(said.contains("end ").then_some(said))
    })?;
    node.quote(&said);
    ensure!(said.contains("end 0"), "{bundle} was not installed: {said}\n{}", node.journal());
    node.run(&["grub-editenv", GRUBENV, "list"]).map(drop)
}

/// The slot that runs, by the kernel's command line.
fn check_slot(node: &Node, slot: Slot) -> Result<()> {
    let line = node.run(&["cat", "/proc/cmdline"])?;
    let word = format!("rauc.slot={}", slot.name());
    ensure!(line.split_whitespace().any(|found| found == word), "slot {} should run: {line}", slot.name());
    Ok(())
}

/// Whether RAUC takes a slot for bootable.
fn is_good(node: &Node, slot: Slot) -> Result<bool> {
    let said: Said = node.ask(&["rauc", "status", "--output-format=shell"])?;
    ensure!(said.status.success(), "rauc status: {}", said.stderr);
    let values: Vec<_> = said.stdout.lines().filter_map(|line| line.split_once('=')).collect();
    let value = |name: &str| {
        values.iter().find(|(found, _)| *found == name).map(|(_, value)| value.trim_matches(['\'', '"']))
    };
    let numbers = value("RAUC_SLOTS").context("rauc status names no slots")?;
    let number = numbers
        .split_whitespace()
        .find(|number| value(&format!("RAUC_SLOT_BOOTNAME_{number}")) == Some(slot.name()));
    let number =
        number.with_context(|| format!("rauc status has no slot {}: {}", slot.name(), said.stdout))?;
    let state =
        value(&format!("RAUC_SLOT_BOOT_STATUS_{number}")).context("rauc status gives no boot status")?;
    Ok(state == "good")
}

/// A variable of the boot loader.
fn grubenv(node: &Node, name: &str) -> Result<String> {
    let list = node.run(&["grub-editenv", GRUBENV, "list"])?;
    let value = list.lines().filter_map(|line| line.split_once('=')).find(|(found, _)| *found == name);
    value.map(|(_, value)| value.to_owned()).with_context(|| format!("the boot loader has no {name}: {list}"))
}
