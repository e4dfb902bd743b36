//! Guests that files declare, without Kubernetes: started, restarted, updated and rolled back, over deaths of everything
//! around them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::containerd::ADDRESS;
use micrun_testkit::{Firmware, firmware, wait};
use serde_json::Value;

use crate::node::{Stage, Story};
use crate::{kill_process, story};

/// Two that say the same, and one that says something else.
const ONE: Firmware = firmware::OURS_ARM64;
const OTHER: Firmware = firmware::OURS_RISCV64;
const WRONG: Firmware = firmware::U_BOOT_ARM64;
/// The guest of these stories.
const NAME: &str = "motor";

pub fn stories() -> Vec<Story> {
    vec![
        story("guests / started once, updated, taken back, rolled back, removed", life),
        story("guests / come back: QEMU dies, containerd restarts, the node boots", comes_back),
        story("guests / bad at a boot, written while apply runs, moved to another namespace", changes),
        story("guests / an operator's choice holds until the declaration changes", chosen),
        story("guests / broken files and others' containers are left alone", refused),
    ]
}

/// Told on one containerd, with a command that can be told to die.
pub fn story_with_crash_points(mortal: &Path) -> Story {
    let command = mortal.join(micrun_testkit::product::COMMAND);
    story("guests / apply is killed after each step", move |stage: &mut Stage<'_>| dies(stage, &command))
}

/// A node's folders, and the command as its unit runs it.
struct Guests<'s, 'a> {
    stage: &'s mut Stage<'a>,
    command: PathBuf,
    root: PathBuf,
}

/// What the command did.
struct Done {
    good: bool,
    out: String,
    said: String,
}

impl<'s, 'a> Guests<'s, 'a> {
    fn new(stage: &'s mut Stage<'a>) -> Result<Self> {
        let (command, root) = (stage.product.command(), stage.scratch.path().to_owned());
        for folder in ["etc", "images"] {
            std::fs::create_dir(root.join(folder)).with_context(|| format!("cannot make {folder}"))?;
        }
        Ok(Self { stage, command, root })
    }

    /// Packs a firmware.
    fn pack(&self, firmware: &Firmware) -> Result<PathBuf> {
        self.stage.product.pack(firmware, &self.root.join("images"))
    }

    /// Has a link lead to an archive, as RAUC has for the artifacts of a repository.
    fn link(&self, archive: &Path) -> Result<PathBuf> {
        let (link, new) = (self.root.join("motor"), self.root.join("motor.new"));
        std::os::unix::fs::symlink(archive, &new).context("cannot make the link")?;
        std::fs::rename(&new, &link).context("cannot move the link")?;
        Ok(link)
    }

    /// Declares the guest: healthy once it has printed this.
    fn declare(&self, image: &str, console: &str, within: u32) -> Result<()> {
        self.write(NAME, &format!(
            "image = \"{image}\"\nnamespace = \"{}\"\n[health]\nconsole = \"{console}\"\nwithin = \"{within}s\"\n",
            self.stage.containers()
        ))
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.root.join("etc").join(format!("{name}.toml"));
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    fn remove(&self, name: &str) -> Result<()> {
        std::fs::remove_file(self.root.join("etc").join(format!("{name}.toml")))
            .context("cannot remove a declaration")
    }

    fn prepare(&self, arguments: &[&str]) -> Command {
        self.prepare_in("etc", arguments)
    }

    /// The command with another folder of declarations.
    fn prepare_in(&self, declared: &str, arguments: &[&str]) -> Command {
        let mut command = self.stage.program(&self.command);
        command.arg("guests").args(arguments).args(["--address", ADDRESS]);
        for (option, folder) in [("--guests", declared), ("--state", "state"), ("--logs", "logs")] {
            command.arg(option).arg(self.root.join(folder));
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, command: &mut Command) -> Result<Done> {
        let child = self.stage.namespace().spawn(command)?;
        let output = child.wait_with_output().context("cannot wait for micrun")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Done { good: output.status.success(), out: text(&output.stdout), said: text(&output.stderr) })
    }

    fn try_guests(&self, arguments: &[&str]) -> Result<Done> {
        self.run(&mut self.prepare(arguments))
    }

    /// Runs a command that must succeed.
    fn guests(&self, arguments: &[&str]) -> Result<Done> {
        let done = self.try_guests(arguments)?;
        ensure!(done.good, "`guests {}` failed:\n{}{}", arguments.join(" "), done.said, done.out);
        Ok(done)
    }

    /// Applies; the word for what became of the guest.
    fn apply(&self) -> Result<String> {
        let done = self.guests(&["apply", "--format", "json"])?;
        let results: Value = serde_json::from_str(&done.out).context("what apply prints is no JSON")?;
        results[0]["result"].as_str().map(str::to_owned).with_context(|| format!("no result in {}", done.out))
    }

    /// The digest of the version that runs, as the list has it; it must be healthy.
    fn digest(&self) -> Result<String> {
        self.guests(&["check", "--wait", "20"])?;
        let done = self.guests(&["list", "--format", "json"])?;
        let list: Value = serde_json::from_str(&done.out).context("what list prints is no JSON")?;
        ensure!(list[0]["state"] == "running" && list[0]["healthy"] == true, "{}", done.out);
        list[0]["digest"].as_str().map(str::to_owned).with_context(|| format!("no digest in {}", done.out))
    }

    /// All images of the namespace. Nothing but this program brings any, unless a story does.
    fn images(&self) -> Result<Vec<String>> {
        self.stage.list(["image", "ls", "-q"])
    }

    /// What QEMU's death brings: another process, sooner or later.
    fn comes_again(&self) -> Result<()> {
        let pid = self.pid()?;
        kill_process(self.stage.qemu()?.pid)?;
        wait::until("containerd to start the guest again", || {
            let task = self.stage.task(NAME)?;
            Ok(task.is_some_and(|(state, now)| state == "RUNNING" && now != pid).then_some(()))
        })
    }

    fn pid(&self) -> Result<u32> {
        Ok(self.stage.task(NAME)?.context("the guest has no task")?.1)
    }
}

fn life(stage: &mut Stage<'_>) -> Result<()> {
    let guests = Guests::new(stage)?;
    let (one, other, wrong) = (guests.pack(&ONE)?, guests.pack(&OTHER)?, guests.pack(&WRONG)?);
    let link = guests.link(&one)?.display().to_string();
    guests.declare(&link, ONE.banner, 30)?;
    ensure!(!guests.try_guests(&["check"])?.good, "a guest that never ran is healthy");
    ensure!(guests.apply()? == "started", "the guest was not started");
    let (first, pid) = (guests.digest()?, guests.pid()?);
    ensure!(guests.apply()? == "kept" && guests.pid()? == pid, "a second apply started it again");

    guests.link(&other)?;
    ensure!(guests.apply()? == "updated", "a new archive is no update");
    let second = guests.digest()?;
    ensure!(
        second != first && guests.images()?.len() == 2,
        "not two versions are kept: {:?}",
        guests.images()?
    );

    guests.declare(&link, ONE.banner, 2)?;
    guests.link(&wrong)?;
    let taken_back = guests.try_guests(&["apply"])?;
    let said = &taken_back.said;
    ensure!(!taken_back.good && said.contains("has not printed") && said.contains("runs again"), "{said}");
    ensure!(guests.digest()? == second, "it was not taken back");
    let pid = guests.pid()?;
    let again = guests.guests(&["apply"])?;
    ensure!(again.said.contains("is not tried again"), "{}", again.said);
    ensure!(guests.pid()? == pid && guests.images()?.len() == 2, "it was tried again");

    // What goes back and is not healthy there comes forward again.
    guests.declare(&link, &says(&OTHER), 2)?;
    let refused = guests.try_guests(&["rollback", NAME])?;
    ensure!(!refused.good && refused.said.contains("runs again"), "{}", refused.said);
    ensure!(guests.digest()? == second, "a rollback to a bad version was not undone");
    guests.declare(&link, ONE.banner, 30)?;

    guests.guests(&["rollback", NAME])?;
    ensure!(guests.digest()? == first, "it did not go back to the first version");
    ensure!(
        guests.apply()? == "kept" && guests.digest()? == first,
        "what was taken back is tried again after a rollback"
    );
    guests.link(&other)?;
    ensure!(guests.apply()? == "kept" && guests.digest()? == first, "what was rolled back by hand is back");
    guests.guests(&["apply", "--retry"])?;
    ensure!(guests.digest()? == second, "--retry did not go forward");

    guests.guests(&["stop"])?;
    ensure!(guests.stage.task(NAME)?.is_none(), "what was stopped has a task");
    let container = guests.stage.list(["container", "info", NAME])?.concat();
    ensure!(!container.contains("containerd.io/restart."), "what was stopped is watched over: {container}");
    ensure!(
        guests.apply()? == "started" && guests.digest()? == second,
        "what was stopped does not run again"
    );

    guests.remove(NAME)?;
    ensure!(guests.apply()? == "removed", "what is not declared stays");
    ensure!(
        guests.images()?.is_empty() && guests.stage.list(["container", "ls", "-q"])?.is_empty(),
        "something is left"
    );
    Ok(())
}

/// What a firmware of ours prints, and no other one does.
fn says(firmware: &Firmware) -> String {
    format!("on {}", firmware.board)
}

fn changes(stage: &mut Stage<'_>) -> Result<()> {
    let guests = Guests::new(stage)?;
    let (one, other) = (guests.pack(&ONE)?, guests.pack(&OTHER)?);
    let link = guests.link(&one)?.display().to_string();
    guests.declare(&link, ONE.banner, 30)?;
    guests.apply()?;
    let first = guests.digest()?;

    // It does not run, and is not healthy when it is started: it is started again all the same when it ends.
    guests.stage.run_ctr(["task", "kill", "--signal", "SIGKILL", NAME])?;
    guests.declare(&link, "never printed", 1)?;
    let done = guests.try_guests(&["apply"])?;
    ensure!(!done.good && done.said.contains("has not printed"), "{}", done.said);
    guests.comes_again()?;

    // The declaration is of another folder, or not whole yet, when apply begins.
    let pid = guests.pid()?;
    let done = guests.run(&mut guests.prepare_in("nowhere", &["apply"]))?;
    ensure!(done.said.contains("it stays") && guests.pid()? == pid, "{}", done.said);
    let mut command = guests.prepare(&["apply"]);
    guests.write(NAME, "")?;
    let child = guests.stage.namespace().spawn(&mut command)?;
    guests.declare(&link, ONE.banner, 30)?;
    let said = child.wait_with_output().context("cannot wait for micrun")?;
    ensure!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));

    // So is the link that leads to its image, while that is judged.
    guests.declare(&link, &says(&OTHER), 8)?;
    let mut command = guests.prepare(&["apply", "--format", "json"]);
    let (state, begun) = (guests.root.join("state/motor.json"), guests.pid()?);
    guests.stage.run_ctr(["task", "kill", "--signal", "SIGKILL", NAME])?;
    let child = guests.stage.namespace().spawn(&mut command)?;
    wait::until("the old version to be started", || {
        Ok(guests.stage.task(NAME)?.is_some_and(|(_, now)| now != begun).then_some(()))
    })?;
    guests.link(&other)?;
    let said = child.wait_with_output().context("cannot wait for micrun")?;
    ensure!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    ensure!(guests.digest()? != first, "what changed while apply ran was not seen: {}", read(&state)?);

    // A namespace that cannot be had leaves it where it is; one that can, not.
    let pid = guests.pid()?;
    let elsewhere = |image: &str| {
        let text = format!("image = \"{image}\"\nnamespace = \"{}-too\"\n", guests.stage.containers());
        guests.write(NAME, &text)
    };
    elsewhere("/gone.tar")?;
    ensure!(!guests.try_guests(&["apply"])?.good && guests.pid()? == pid, "it left before it could arrive");
    elsewhere(&link)?;
    let refused = guests.try_guests(&["rollback", NAME])?;
    ensure!(!refused.good && refused.said.contains("is in the namespace"), "{}", refused.said);
    ensure!(guests.apply()? == "started", "it did not arrive");
    ensure!(guests.stage.task(NAME)?.is_none() && guests.images()?.is_empty(), "it did not leave");
    guests.guests(&["check", "--wait", "20"])?;
    guests.remove(NAME)?;
    guests.apply().map(drop)
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn comes_back(stage: &mut Stage<'_>) -> Result<()> {
    let guests = Guests::new(stage)?;
    let archive = guests.pack(&ONE)?;
    guests.declare(&archive.display().to_string(), ONE.banner, 30)?;
    guests.apply()?;
    let digest = guests.digest()?;

    guests.comes_again()?;
    ensure!(guests.digest()? == digest, "another version runs");

    let pid = guests.pid()?;
    guests.stage.containerd.restart()?;
    ensure!(guests.apply()? == "kept" && guests.pid()? == pid, "the guest did not outlive containerd");

    // A boot: no process, nothing in /run but what is on the disk; containerd's own root is.
    guests.stage.containerd.kill()?;
    for process in guests.stage.guests()? {
        // Some go with others.
        let _ = kill_process(process.pid);
    }
    for folder in ["kit/state", "micrun", "containerd"] {
        let path = guests.stage.namespace().path(Path::new("/run").join(folder));
        if path.exists() {
            std::fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    guests.stage.containerd.start_again()?;
    let begun = Instant::now();
    guests.apply()?;
    ensure!(guests.digest()? == digest, "another version runs after the boot");
    println!("    after a boot the guest was healthy within {:.1} s", begun.elapsed().as_secs_f64());
    guests.remove(NAME)?;
    guests.apply().map(drop)
}

fn chosen(stage: &mut Stage<'_>) -> Result<()> {
    let guests = Guests::new(stage)?;
    let (one, other) = (guests.pack(&ONE)?, guests.pack(&OTHER)?);
    // As the import service has it.
    guests.stage.import(&one)?;
    guests.declare(&ONE.image(), ONE.banner, 30)?;
    guests.apply()?;
    let first = guests.digest()?;
    let refused = guests.try_guests(&["update", NAME, &ONE.image()])?;
    ensure!(!refused.good && refused.said.contains("@sha256:DIGEST"), "{}", refused.said);

    // The archive brings a name along, which leads elsewhere here.
    let kept = guests.images()?.into_iter().find(|name| name.starts_with("micrun-guests/"));
    let kept = kept.context("no image is kept")?;
    guests.stage.run_ctr(["image", "tag", &kept, &OTHER.image()])?;
    guests.guests(&["update", NAME, &other.display().to_string()])?;
    let foreign = format!("name=={},target.digest=={first}", OTHER.image());
    ensure!(
        !guests.stage.list(["image", "ls", "-q", &foreign])?.is_empty(),
        "{}",
        guests.images()?.join(" ")
    );
    let second = guests.digest()?;
    ensure!(
        second != first && guests.apply()? == "kept" && guests.digest()? == second,
        "the choice does not hold"
    );

    // Somebody imports a new image under the declared name.
    guests.stage.run_ctr(["image", "tag", "--force", &kept, &ONE.image()])?;
    guests.stage.run_ctr(["image", "rm", &ONE.image()])?;
    ensure!(guests.apply()? == "kept", "the name is gone, and the choice with it");

    // By digest: what containerd has is not pulled.
    let exact = format!("{}@{first}", ONE.image());
    guests.declare(&exact, ONE.banner, 30)?;
    ensure!(guests.apply()? == "updated" && guests.digest()? == first, "another declaration does not hold");
    guests.remove(NAME)?;
    guests.apply().map(drop)
}

fn refused(stage: &mut Stage<'_>) -> Result<()> {
    let guests = Guests::new(stage)?;
    let archive = guests.pack(&ONE)?;
    let link = guests.link(&archive)?.display().to_string();
    guests.declare(&link, ONE.banner, 30)?;
    guests.write("broken", "image = \"/x\"\nrestrat = \"no\"\n")?;
    let container = ["container", "create", "--runtime", crate::node::RUNTIME, &ONE.image(), "theirs"];
    guests.stage.import(&archive)?;
    guests.stage.run_ctr(container)?;
    guests
        .write("theirs", &format!("image = \"{link}\"\nnamespace = \"{}\"\n", guests.stage.containers()))?;
    let done = guests.try_guests(&["apply"])?;
    ensure!(!done.good, "nothing was wrong");
    for said in [
        "broken.toml:2:1: there is no key `restrat`; did you mean `restart`?",
        "theirs: the container",
        "somebody else's",
    ] {
        ensure!(done.said.contains(said), "{said:?} is not in {}", done.said);
    }
    guests.stage.run_ctr(["container", "rm", "theirs"])?;
    guests.remove("theirs")?;

    // A declaration that breaks while its guest runs stops nothing; nor does an archive that is cut or gone.
    let pid = guests.pid()?;
    guests.write("broken", "image = \"/gone.tar\"\n")?;
    guests.write(NAME, "image = ")?;
    ensure!(!guests.try_guests(&["apply"])?.good && guests.pid()? == pid, "a broken file ended its guest");
    guests.remove("broken")?;
    let check = guests.guests(&["check"])?;
    ensure!(check.said.contains("motor.toml:1:"), "a mistake is not worth a word: {}", check.said);
    guests.write("mo tor", "")?;
    guests.remove(NAME)?;
    ensure!(!guests.try_guests(&["apply"])?.good && guests.pid()? == pid, "a bad file name ended its guest");
    guests.remove("mo tor")?;
    let cut = guests.root.join("cut.tar");
    std::fs::write(&cut, &std::fs::read(&archive)?[..5000])?;
    guests.link(&cut)?;
    guests.declare(&link, ONE.banner, 30)?;
    let done = guests.try_guests(&["apply"])?;
    ensure!(!done.good && guests.pid()? == pid, "{}", done.said);
    guests.remove(NAME)?;
    guests.apply().map(drop)
}

/// Whatever step was the last one, the next apply ends with a guest that runs, in the new version or, where that one is bad,
/// in the old.
fn dies(stage: &mut Stage<'_>, command: &Path) -> Result<()> {
    let mut guests = Guests::new(stage)?;
    guests.command = command.to_owned();
    let (one, other, wrong) = (guests.pack(&ONE)?, guests.pack(&OTHER)?, guests.pack(&WRONG)?);
    let link = guests.link(&one)?.display().to_string();
    guests.declare(&link, ONE.banner, 30)?;
    guests.apply()?;
    let mut running = guests.digest()?;
    let steps = guests.run(guests.prepare(&["apply"]).env("MICRUN_GUESTS_DIE_AFTER", "?"))?;
    let steps: Vec<String> = serde_json::from_str(&steps.out).context("no list of steps")?;
    for (count, step) in steps.iter().enumerate() {
        let is_bad = step == "refusal recorded";
        guests.link(if is_bad {
            &wrong
        } else if count % 2 == 0 {
            &other
        } else {
            &one
        })?;
        guests.declare(&link, ONE.banner, if is_bad { 1 } else { 30 })?;
        let killed = guests.run(guests.prepare(&["apply"]).env("MICRUN_GUESTS_DIE_AFTER", step))?;
        ensure!(!killed.good && killed.out.is_empty(), "{step}: it lived on: {}", killed.out);
        guests.apply().with_context(|| format!("after a death behind `{step}`"))?;
        let now = guests.digest().with_context(|| format!("after a death behind `{step}`"))?;
        ensure!((now == running) == is_bad, "{step}: {running} became {now}");
        running = now;
    }
    guests.remove(NAME)?;
    guests.apply().map(drop)
}
