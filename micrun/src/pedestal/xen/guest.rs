//! The handle on a domain.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;

use super::watcher::Known;
use crate::hypervisor::xen::{Domain, Xen, XenError, cap};
use crate::pedestal::{Capabilities, DriverError, ExitNotice, Guest, Live, Usage};
use crate::resources::{Change, CpuSet};

/// A domain that exists. Dropping the handle leaves it alone: it is the record's.
pub struct XenGuest {
    pub xen: Xen,
    pub domain: Domain,
    /// The guest watches for requests to power off, as it says in xenstore.
    pub listens: Arc<AtomicBool>,
    pub known: Arc<Known>,
    /// The cores of its virtual CPUs, where each has its own.
    pub pinned: Vec<u32>,
    pub max_vcpus: u32,
    /// Its clock stands still by our own doing.
    pub paused: bool,
}

impl XenGuest {
    /// Moves the virtual CPUs to other cores: each to its own, or all to all of them.
    async fn move_to(&mut self, cores: &CpuSet) -> Result<(), XenError> {
        if self.pinned.is_empty() {
            // What the first one takes, the others take, too: so this fails whole.
            return self.pin((0..self.max_vcpus).map(|_| cores.clone())).await;
        }
        let cores: Vec<u32> = cores.iter().take(self.max_vcpus as usize).collect();
        let moved = self.pin(cores.iter().map(|core| CpuSet::from_iter([*core]))).await;
        match moved {
            Ok(()) => self.pinned = cores,
            Err(_) => {
                let back = self.pinned.iter().map(|core| CpuSet::from_iter([*core]));
                if let Err(error) = self.pin(back).await {
                    tracing::warn!(domain = %self.domain.reference, %error, "some virtual CPUs were moved");
                }
            }
        }
        moved
    }

    /// One set of cores for each virtual CPU, from the first one on.
    async fn pin(&self, cores: impl Iterator<Item = CpuSet> + Send) -> Result<(), XenError> {
        for (vcpu, cores) in (0..).zip(cores) {
            self.xen.pin(&self.domain, vcpu, &cores).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Guest for XenGuest {
    /// None: no process of Dom0 runs the guest.
    fn pid(&self) -> Option<u32> {
        None
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            // A guest whose clock stands still hears nothing: whoever stops it means its end.
            ask: !self.paused && self.listens.load(Ordering::Relaxed),
            force: true,
            pause: true,
            live: Live { cpu: true, memory: true },
            exit: ExitNotice::Event,
        }
    }

    async fn start(&mut self) -> Result<(), DriverError> {
        self.resume().await
    }

    async fn ask(&mut self) -> Result<(), DriverError> {
        self.known.set_asked(true);
        let asked = self.xen.ask_to_power_off(&self.domain).await;
        self.known.set_asked(asked.is_ok());
        Ok(asked?)
    }

    async fn force(&mut self) -> Result<(), DriverError> {
        // Before it happens: word of the end may come before the answer.
        self.known.set_forced(true);
        let ended = self.xen.end(&self.domain).await;
        self.known.set_forced(ended.is_ok());
        Ok(ended?)
    }

    async fn pause(&mut self) -> Result<(), DriverError> {
        self.xen.pause(&self.domain).await?;
        self.paused = true;
        Ok(())
    }

    async fn resume(&mut self) -> Result<(), DriverError> {
        self.xen.unpause(&self.domain).await?;
        self.paused = false;
        Ok(())
    }

    /// The number of virtual CPUs and the memory are requests: firmware that does not listen keeps what it has.
    async fn apply(&mut self, change: &Change) -> Result<(), DriverError> {
        let (xen, domain) = (&self.xen, &self.domain);
        let applied = match change {
            Change::Cpus(cores) => self.move_to(cores).await,
            Change::Vcpus(count) => xen.set_vcpus(domain, *count).await,
            Change::Weight(weight) => xen.set_weight(domain, weight.guest()).await,
            Change::Capacity(capacity) => xen.set_cap(domain, cap(capacity.percent(), self.max_vcpus)).await,
            // A domain's memory is its own: nobody takes any of it.
            Change::MinMemory(_) => Ok(()),
            Change::Memory(memory) => xen.set_memory(domain, *memory).await,
            Change::MaxMemory(memory) => xen.set_max_memory(domain, *memory).await,
        };
        Ok(applied?)
    }

    /// Xen does not tell user mode from kernel mode, and `xl` tells tenths of seconds.
    async fn usage(&mut self) -> Result<Usage, DriverError> {
        let Some((_, listed)) = self.xen.look(&self.domain.reference).await? else {
            let doing = format!("reading the use of the domain {}", self.domain.reference);
            return Err(DriverError::backend(doing, "it is not there any more"));
        };
        Ok(Usage { user: listed.cpu_time, memory: listed.memory.bytes(), ..Usage::default() })
    }
}
