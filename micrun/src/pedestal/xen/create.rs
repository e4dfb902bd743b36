//! From a plan to a paused domain with its console connected; and why that failed, in words that help.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use micrun_image_spec::units::Mib;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::guest::XenGuest;
use super::plan::XenPlan;
use super::watcher::{Known, Watcher};
use super::{OnDisk, remove};
use crate::hypervisor::xen::{Affinity, Domain, DomainWatch, Store, Xen, XenError, vif};
use crate::network::{Mac, NetworkError, PodInterface};
use crate::pedestal::{Console, Created, DriverError};
use crate::trace::{self, TraceContext};
use crate::tty::Device;

/// How long xenconsoled may take to connect a console: it does so within milliseconds.
const CONSOLE_LIMIT: Duration = Duration::from_secs(5);

/// What a domain takes of Xen's memory beside its own: page tables and structures. Measured: 3 MiB for one of
/// 32 MiB (Xen 4.20).
const OVERHEAD: u32 = 3;

/// Creates the domain of a plan.
///
/// # Errors
///
/// What went wrong and what to do about it. Nothing of the domain is left.
pub async fn create(plan: &XenPlan) -> Result<Created, DriverError> {
    let xen = Xen::find()?;
    check_boot_image(&plan.config.kernel)?;
    write_config(plan)?;
    match bring_up(&xen, plan).await {
        Ok(created) => Ok(created),
        Err(error) => {
            let error = explain(&xen, plan, error).await;
            if let Err(left) = remove(&xen, &plan.on_disk).await {
                tracing::warn!(domain = %plan.on_disk.domain, error = %left, "a part of the domain is left");
            }
            Err(error)
        }
    }
}

/// The address that a guest behind this interface has to use.
///
/// # Errors
///
/// Where it has none, or Dom0's kernel serves no interfaces of guests.
pub async fn address_of(interface: &PodInterface) -> Result<Mac, NetworkError> {
    if !vif::is_served() {
        return Err(NetworkError::NoNetback);
    }
    interface.mac().await
}

/// Takes a domain back that runs, or is paused, without its shim.
///
/// # Errors
///
/// Where it is gone or has ended, or its console cannot be opened.
pub async fn adopt(xen: &Xen, on_disk: OnDisk) -> Result<Created, DriverError> {
    let gone = || DriverError::backend(format!("adopting the domain {}", on_disk.domain), "it has ended");
    let (domain, listed) = xen.look(&on_disk.domain).await?.ok_or_else(gone)?;
    let watch = DomainWatch::start(xen, &domain).await?;
    hand_over(xen, domain, listed.state.paused, watch, on_disk).await
}

async fn bring_up(xen: &Xen, plan: &XenPlan) -> Result<Created, DriverError> {
    let domain = xen.create_paused(&plan.config_file, &plan.on_disk.domain).await?;
    if plan.max_memory > plan.config.memory {
        xen.set_max_memory(&domain, plan.max_memory).await?;
    }
    if let Some(interface) = &plan.on_disk.interface {
        interface.take_in(vif::device(&domain)).await?;
        vif::set_connected(&domain).await?;
    }
    if let Some(trace) = plan.trace
        && let Err(error) = tell(&domain, trace).await
    {
        tracing::warn!(domain = %domain.reference, %error, "the guest is not told its trace");
    }
    let watch = DomainWatch::start_paused(xen, &domain).await?;
    hand_over(xen, domain, false, watch, plan.on_disk.clone()).await
}

/// Leaves the trace in the part of xenstore that a guest shares with whoever manages it (Xen,
/// `docs/misc/xenstore-paths.pandoc`, `~/data`): what is made there, the guest may read.
async fn tell(domain: &Domain, trace: TraceContext) -> Result<(), XenError> {
    Store::connect().await?.write(&domain.path("data/traceparent"), &trace.to_string()).await
}

async fn hand_over(
    xen: &Xen,
    domain: Domain,
    paused: bool,
    watch: DomainWatch,
    on_disk: OnDisk,
) -> Result<Created, DriverError> {
    let console = open_console(&domain, on_disk.vuart).await?;
    let (events_in, events) = mpsc::unbounded_channel();
    let known = Arc::new(Known::default());
    let guest = XenGuest {
        xen: xen.clone(),
        domain: domain.clone(),
        listens: watch.listens(),
        known: Arc::clone(&known),
        pinned: on_disk.pinned.clone(),
        max_vcpus: on_disk.max_vcpus,
        paused,
    };
    trace::spawn(Watcher { xen: xen.clone(), domain, watch, known }.run(events_in));
    Ok(Created { guest: Box::new(guest), record: on_disk.record(), console: Some(console), events })
}

/// Connects to the console, of which nothing is lost as long as the domain has not run.
async fn open_console(domain: &Domain, vuart: bool) -> Result<Console, DriverError> {
    let path = domain.path(if vuart { "vuart/0/tty" } else { "console/tty" });
    let terminal = match timeout(CONSOLE_LIMIT, terminal(&path)).await {
        Ok(found) => found?,
        Err(_) => {
            let doing = format!("connecting to the console of the domain {}", domain.reference);
            return Err(DriverError::backend(doing, "xenconsoled does not name it; is xenconsoled running?"));
        }
    };
    let doing = format!("opening the console of the domain {}, {}", domain.reference, terminal.display());
    let console = Device::open_terminal(&terminal).map_err(DriverError::io(doing))?;
    Ok(Box::new(console))
}

/// Waits until xenstore names the terminal at a path.
async fn terminal(path: &str) -> Result<PathBuf, XenError> {
    let mut store = Store::connect().await?;
    store.watch(path, "tty").await?;
    loop {
        store.next_event().await?;
        let named = store.read(path).await?;
        if let Some(terminal) = named.filter(|text| is_terminal(text)) {
            return Ok(PathBuf::from(terminal));
        }
    }
}

/// Nothing but a pseudo-terminal is opened, whoever could write to that path.
fn is_terminal(text: &str) -> bool {
    let number = text.strip_prefix("/dev/pts/").unwrap_or_default();
    !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
}

/// What Xen would say is "no loader found".
fn check_boot_image(path: &Path) -> Result<(), DriverError> {
    let doing = format!("reading the boot image {}", path.display());
    let mut header = [0; 64];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut header));
    match read {
        Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => Err(DriverError::io(doing)(error)),
        Ok(()) if header[0x38..0x3c] == *b"ARM\x64" => Ok(()),
        _ => Err(DriverError::backend(
            doing,
            "it does not have the header of an arm64 Image, and Xen boots nothing else; \
             let micrun-image-builder pack --pedestal xen make it",
        )),
    }
}

fn write_config(plan: &XenPlan) -> Result<(), DriverError> {
    let doing = format!("writing {}", plan.config_file.display());
    let text = plan.config.to_text().map_err(|error| DriverError::backend(&doing, error.to_string()))?;
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&plan.config_file);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(DriverError::io(doing))
}

/// The reason in plain words, where Xen's are about its own insides. Asked only now, so that a guest that can
/// be created does not wait for it.
async fn explain(xen: &Xen, plan: &XenPlan, error: DriverError) -> DriverError {
    let DriverError::Backend { doing, answer } = &error else { return error };
    tracing::info!(domain = %plan.on_disk.domain, doing, answer, "Xen refused");
    let better = match xen.info().await {
        Ok(info) => too_large(plan, info.free_memory).or_else(|| no_such_core(plan, info.cpus)),
        Err(_) => None,
    };
    let better = match better {
        None => taken(xen, plan).await,
        some => some,
    };
    match better {
        Some(answer) => DriverError::backend(format!("creating the domain {}", plan.on_disk.domain), answer),
        None => error,
    }
}

fn too_large(plan: &XenPlan, free: Mib) -> Option<String> {
    let wanted = plan.config.memory;
    (wanted.0.saturating_add(OVERHEAD) > free.0).then(|| {
        format!(
            "the guest is to get {} MiB, and Xen has {} MiB left for guests; give it less, end another guest, or \
             start Xen with less memory for Dom0 (dom0_mem)",
            wanted.0, free.0
        )
    })
}

fn no_such_core(plan: &XenPlan, cpus: u32) -> Option<String> {
    let highest = match &plan.config.affinity {
        Affinity::Any => None,
        Affinity::Within(cores) => cores.iter().max(),
        Affinity::Each(cores) => cores.iter().copied().max(),
    };
    highest.filter(|core| *core >= cpus).map(|core| {
        format!(
            "the guest is to run on core {core}, and Xen has the cores 0 to {}; correct the cpuset",
            cpus.saturating_sub(1)
        )
    })
}

async fn taken(xen: &Xen, plan: &XenPlan) -> Option<String> {
    let ours = &plan.on_disk.domain;
    let other = xen.named(&ours.name).await.ok()??;
    (other.reference.uuid != ours.uuid).then(|| {
        format!(
            "there is a domain of this name already ({}), which is not ours to end; use another container id, or \
             end it: xl destroy {}",
            other.reference.uuid, ours.name
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_pseudo_terminal_is_a_console() {
        assert!(is_terminal("/dev/pts/12"));
        for other in ["", "/dev/pts/", "/dev/pts/../sda", "/dev/sda", "/dev/pts/1 ", "pts/1"] {
            assert!(!is_terminal(other), "{other}");
        }
    }

    #[test]
    fn a_file_that_xen_cannot_boot_is_refused_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("image.bin");
        let said = |bytes: &[u8]| {
            std::fs::write(&file, bytes).unwrap();
            check_boot_image(&file).map_err(|error| error.to_string())
        };
        let mut image = [0; 64];
        assert!(said(b"").unwrap_err().contains("pack --pedestal xen"));
        assert!(said(&image).unwrap_err().contains("arm64 Image"));
        image[0x38..0x3c].copy_from_slice(b"ARM\x64");
        assert_eq!(said(&image), Ok(()));
        let missing = check_boot_image(&dir.path().join("none")).unwrap_err().to_string();
        assert!(missing.contains("No such file"), "{missing}");
    }
}
