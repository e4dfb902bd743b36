//! The packers, and what a run of one costs.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::{Product, observe, shell};
use nix::sys::resource::{UsageWho, getrusage};

/// umoci writes a directory and no archive, so it has less to do.
const UMOCI: &str = r#"
umoci init --layout "$2"
umoci new --image "$2:t"
umoci insert --image "$2:t" "$1" /firmware.elf
umoci config --image "$2:t" --config.entrypoint /firmware.elf
"#;

/// buildah runs nothing here, so it needs no isolation; its storage goes with the output.
const BUILDAH: &str = r#"
mkdir "$2"
storage=$2/storage
b() { command buildah --root "$storage/root" --runroot "$storage/run" --storage-driver vfs "$@"; }
container=$(b from scratch)
b copy --quiet "$container" "$1" /firmware.elf
b config --entrypoint '["/firmware.elf"]' "$container"
b commit --quiet --rm --format oci --disable-compression=false "$container" "oci-archive:$2/image.oci.tar:t"
rm -rf "$storage"
"#;

/// What makes an image.
#[derive(Clone, Copy, Debug)]
pub enum Packer {
    Micrun,
    Umoci,
    Buildah,
}

/// What one run took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    pub wall_ms: f64,
    /// User and system time of all processes.
    pub cpu_ms: f64,
    /// Bytes of the image's layer.
    pub bytes: f64,
}

impl Packer {
    pub const ALL: [Packer; 3] = [Packer::Micrun, Packer::Umoci, Packer::Buildah];

    pub fn name(self) -> &'static str {
        match self {
            Packer::Micrun => "micrun",
            Packer::Umoci => "umoci",
            Packer::Buildah => "buildah",
        }
    }

    /// Packs a firmware into a folder that is removed again.
    pub fn run(self, product: &Product, firmware: &Path, scratch: &Path) -> Result<Cost> {
        let cost = measure(&mut self.command(product, firmware, scratch))?;
        let output = scratch.join("output");
        let bytes = self.layer_size(&output)? as f64;
        remove(&output)?;
        Ok(Cost { bytes, ..cost })
    }

    /// Packs it once more for the peak memory, MiB.
    pub fn peak_mib(self, product: &Product, firmware: &Path, scratch: &Path) -> Result<f64> {
        let peak = peak_mib(&self.command(product, firmware, scratch), scratch)?;
        remove(&scratch.join("output"))?;
        Ok(peak)
    }

    /// The layer is the largest blob. Its size is what counts: what an archive or directory takes besides depends on
    /// how many documents a tool leaves behind.
    fn layer_size(self, output: &Path) -> Result<u64> {
        let sizes = match self {
            Packer::Micrun => sizes_in_archive(output),
            Packer::Umoci => sizes_in_folder(&output.join("blobs/sha256")),
            Packer::Buildah => sizes_in_archive(&output.join("image.oci.tar")),
        };
        let largest = sizes?.into_iter().max();
        largest.with_context(|| format!("{} made no image", self.name()))
    }

    /// The command of [`Packer::run`].
    pub fn command(self, product: &Product, firmware: &Path, scratch: &Path) -> Command {
        let output = scratch.join("output");
        let script = match self {
            Packer::Micrun => {
                let mut command = Command::new(product.builder());
                command.arg("pack").arg(firmware).args(["--board", "qemu_arm64", "--rtos", "baremetal"]);
                command
                    .arg("-t")
                    .arg("localhost/bench:t")
                    .arg("-o")
                    .arg(format!("oci-archive:{}", output.display()));
                return command;
            }
            Packer::Umoci => UMOCI,
            Packer::Buildah => BUILDAH,
        };
        let mut command = Command::new("sh");
        command.args(["-ec", script, "sh"]).args([firmware, &output]);
        command
    }
}

fn remove(output: &Path) -> Result<()> {
    let removed =
        if output.is_dir() { std::fs::remove_dir_all(output) } else { std::fs::remove_file(output) };
    removed.with_context(|| format!("cannot remove {}", output.display()))
}

/// Runs it alone: even time(1) would take a millisecond more, which is a tenth of the shortest runs.
pub fn measure(command: &mut Command) -> Result<Cost> {
    let before = cpu_ms()?;
    let start = Instant::now();
    shell::quietly(command)?;
    let wall_ms = start.elapsed().as_secs_f64() * 1e3;
    Ok(Cost { wall_ms, cpu_ms: cpu_ms()? - before, bytes: 0.0 })
}

/// Runs it under time(1), which knows the peak resident memory of the largest process of what it ran: MiB.
pub fn peak_mib(command: &Command, scratch: &Path) -> Result<f64> {
    let record: PathBuf = scratch.join("peak");
    let mut time = Command::new("/usr/bin/time");
    time.args(["--format", "%M", "--output"]).arg(&record);
    time.arg(command.get_program()).args(command.get_args());
    shell::quietly(&mut time)?;
    let peak = std::fs::read_to_string(&record).context("time(1) wrote nothing")?;
    let peak: f64 = peak.trim().parse().with_context(|| format!("time(1) wrote {peak:?}"))?;
    Ok(peak / 1024.0)
}

/// The most threads that a run has at once.
pub fn threads(mut command: Command) -> Result<u32> {
    let started = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut child = started.with_context(|| format!("cannot start `{}`", shell::line(&command)))?;
    let mut most = 0;
    while child.try_wait().context("cannot wait for the builder")?.is_none() {
        most = observe::threads(child.id()).map_or(most, |threads| most.max(threads));
        std::thread::sleep(Duration::from_millis(5));
    }
    ensure!(most > 0, "`{}` ended before anybody could look", shell::line(&command));
    Ok(most as u32)
}

/// Of all children that were waited for, and theirs.
fn cpu_ms() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("cannot ask for the time that children took")?;
    let ms = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 * 1e3 + time.tv_usec() as f64 / 1e3;
    Ok(ms(usage.user_time()) + ms(usage.system_time()))
}

fn sizes_in_folder(folder: &Path) -> Result<Vec<u64>> {
    let failed = || format!("cannot read {}", folder.display());
    let entries = folder.read_dir().with_context(failed)?;
    entries
        .map(|entry| entry.and_then(|entry| entry.metadata()).map(|data| data.len()).with_context(failed))
        .collect()
}

fn sizes_in_archive(archive: &Path) -> Result<Vec<u64>> {
    let failed = || format!("cannot read {}", archive.display());
    let mut archive = tar::Archive::new(File::open(archive).with_context(failed)?);
    let entries = archive.entries_with_seek().with_context(failed)?;
    entries.map(|entry| entry.map(|entry| entry.size()).with_context(failed)).collect()
}
