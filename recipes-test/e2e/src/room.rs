//! File systems without room, and read-only ones: the builder says what did not fit where, and leaves nothing
//! half-written. Each is a tmpfs in a mount namespace of the trial's own.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use micrun_testkit::firmware::OURS_ARM64;
use micrun_testkit::namespace::Namespace;
use micrun_testkit::{Product, shell, trials};

/// Larger than the tmpfs, and than what the builder keeps in memory.
const NOISE: usize = 8 << 20;
const DISK_FULL: &str = "No space left";
const READ_ONLY: &str = "read-only";

pub fn trials(product: &Product) -> Vec<Trial> {
    let product = product.clone();
    vec![trials::trial("builder / a full disk, and a read-only one", move || tell(&product))]
}

fn tell(product: &Product) -> Result<()> {
    let scratch = tempfile::tempdir().context("cannot make a temporary folder")?;
    let namespace = Namespace::new("micrun-room")?;
    let place = Place { namespace, builder: product.builder(), dir: scratch.path() };
    std::fs::create_dir(place.dir.join("full"))?;
    place.mount(&["-t", "tmpfs", "-o", "size=1m", "tmpfs", "full"])?;
    place.firmware(&OURS_ARM64.elf(product.firmware()))?;
    place.full()?;
    place.full_temporary_directory()?;
    place.sign_on_a_full_disk()?;
    place.read_only()
}

/// Where the trial works: a folder with a small file system in it.
struct Place<'a> {
    namespace: Namespace,
    builder: std::path::PathBuf,
    dir: &'a Path,
}

impl Place<'_> {
    fn mount(&self, arguments: &[&str]) -> Result<()> {
        let output = self.run(Command::new("mount").args(arguments))?;
        ensure!(output.status.success(), "mount failed: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    fn run(&self, command: &mut Command) -> Result<Output> {
        command.current_dir(self.dir).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.namespace.spawn(command)?.wait_with_output().context("cannot wait for it")
    }

    /// A small firmware, a large one, a layout of each, and a key.
    fn firmware(&self, elf: &Path) -> Result<()> {
        let small = std::fs::read(elf).with_context(|| format!("cannot read {}", elf.display()))?;
        let mut state = 1u64;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        });
        std::fs::write(
            self.dir.join("large.elf"),
            [&small[..], &noise.take(NOISE).collect::<Vec<_>>()].concat(),
        )?;
        std::fs::write(self.dir.join("small.elf"), small)?;
        self.done(&["pack", "large.elf", "-q", "-o", "oci:src"])?;
        let curve = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "key.pem"];
        shell::quietly(Command::new("openssl").arg("genpkey").args(curve).current_dir(self.dir))
    }

    fn done(&self, arguments: &[&str]) -> Result<()> {
        let output = self.run(Command::new(&self.builder).args(arguments))?;
        ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// The builder fails, says what and why, and the small file system holds what it held before.
    fn refused(&self, environment: &[(&str, &str)], arguments: &[&str], words: &[&str]) -> Result<()> {
        let before = self.files()?;
        let mut command = Command::new(&self.builder);
        let output = self.run(command.args(arguments).envs(environment.iter().copied()))?;
        let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.code() == Some(1), "{arguments:?} ended with {}: {said}", output.status);
        for word in words {
            ensure!(said.contains(word), "{arguments:?} should say {word:?}: {said}");
        }
        let after = self.files()?;
        ensure!(before == after, "{arguments:?} left something: {before} before, {after} now");
        Ok(())
    }

    fn files(&self) -> Result<String> {
        let output = self.run(Command::new("find").args(["full", "-mindepth", "1", "-printf", "%p %s\n"]))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        Ok(lines.join("\n"))
    }

    fn full(&self) -> Result<()> {
        for (arguments, place) in [
            (&["pack", "large.elf", "-q", "-o", "full/a.tar"][..], "full/a.tar"),
            (&["pack", "large.elf", "-q", "-o", "oci:full/l"], "full/l"),
            (&["copy", "oci:src", "full/a.tar"], "full/a.tar"),
            (&["copy", "oci:src", "oci:full/l"], "full/l"),
            (&["extract", "oci:src", "--elf", "full/f.elf"], "full/f.elf"),
            (&["extract", "oci:src", "--output-dir", "full"], "full/firmware.elf"),
        ] {
            self.refused(&[], arguments, &[place, DISK_FULL])?;
        }
        Ok(())
    }

    fn full_temporary_directory(&self) -> Result<()> {
        let full = self.dir.join("full").display().to_string();
        for arguments in [
            &["pack", "large.elf", "-q", "-o", "new.tar"][..],
            &["extract", "oci:src", "--elf", "new.elf"],
            &["check", "oci:src"],
            &["inspect", "oci:src"],
        ] {
            self.refused(&[("TMPDIR", &full)], arguments, &[&full, "TMPDIR", DISK_FULL])?;
        }
        ensure!(
            !self.dir.join("new.tar").exists() && !self.dir.join("new.elf").exists(),
            "half a file is there"
        );
        Ok(())
    }

    /// The image that was there stays whole.
    fn sign_on_a_full_disk(&self) -> Result<()> {
        self.done(&["pack", "small.elf", "-q", "-o", "oci:full/s", "--tag", "s:1"])?;
        // dd ends with an error when the disk is full.
        self.run(Command::new("dd").args(["if=/dev/zero", "of=full/rest", "bs=4096"]))?;
        self.refused(&[], &["sign", "oci:full/s:1", "--key", "key.pem"], &["full/s", DISK_FULL])?;
        self.done(&["check", "oci:full/s", "-q"])
    }

    fn read_only(&self) -> Result<()> {
        self.mount(&["-o", "remount,ro", "full"])?;
        for (arguments, place) in [
            (&["pack", "small.elf", "-q", "-o", "full/a.tar"][..], "full/a.tar"),
            (&["pack", "small.elf", "-q", "-o", "oci:full/l"], "full/l"),
            (&["copy", "oci:src", "full/a.tar"], "full/a.tar"),
            (&["extract", "oci:src", "--elf", "full/f.elf"], "full/f.elf"),
            (&["sign", "oci:full/s:1", "--key", "key.pem"], "full/s"),
        ] {
            self.refused(&[], arguments, &[place, READ_ONLY])?;
        }
        Ok(())
    }
}
