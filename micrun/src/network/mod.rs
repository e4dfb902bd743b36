//! The pod's interface, handed through to a guest: the guest's side beside it, coupled so that whatever comes in at the
//! one goes out at the other. The guest has the pod's MAC, and speaks for its address.
//!
//! ```text
//!   the pod's network namespace, which is containerd's and CNI's
//!
//!     node ── CNI ── eth0 ──(what comes in)──> micrun0 ── the tap's descriptor ── QEMU ── guest
//!                    eth0 <──(what comes in)── micrun0 ── the rings of a vif ── guest of Xen
//! ```
//!
//! The namespace is entered by a thread that ends with the work; no process and no descriptor of the shim stays there.
//! The guest's side lives as long as what is behind it: a tap as the emulator that holds its descriptor, Dom0's end of a
//! vif as its domain. What is changed on the pod's interface is one queueing discipline, which [`PodInterface::release`]
//! takes away again. Addresses and routes stay what CNI made them: nothing has to be put back.
//! `docs/decisions/0016-pod-network.md` says what else was tried.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::LinkNameSpaceType;
use serde::{Deserialize, Serialize};

use crate::namespace::within;
use crate::remedy::remedy;

mod kernel;
mod wire;

use kernel::{Netlink, TUN, make_tap};
use wire::Link;

/// The pod's interface: containerd names it so for every CNI (go-cni, `DefaultPrefix` and the index).
pub const INTERFACE: &str = "eth0";
/// The guest's side of it.
const GUEST_SIDE: &str = "micrun0";

/// How long the kernel may take to remove that of a guest that is dead.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it is looked for.
const INTERVAL: Duration = Duration::from_millis(5);

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// The guest's end of a pod's interface.
#[derive(Debug)]
pub struct Tap {
    /// What frames are read from and written to. The tap is gone when nobody has it open any more.
    pub fd: OwnedFd,
    /// The address that the guest has to use: the interface's own.
    pub mac: Mac,
}

/// Why a guest cannot have a pod's interface, in one sentence.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// There is no namespace.
    #[error(
        "the container is in no pod with a network of its own; run it in one (not with hostNetwork; ctr takes \
         --with-ns network:PATH), or leave the annotation container.network out"
    )]
    NoPod,
    /// The namespace is the node's own.
    #[error(
        "the container is on the node's own network, whose interfaces no guest gets; give the pod a network of its \
         own, or leave the annotation container.network out"
    )]
    OfNode,
    /// The namespace cannot be entered.
    #[error("entering the pod's network namespace {}: {source}{}", .path.display(), remedy(.source))]
    Enter {
        /// The namespace.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The namespace has no such interface.
    #[error("the pod's network has no interface {INTERFACE}; look at the node's CNI configuration")]
    NoInterface,
    /// The interface is not one that a guest could be behind.
    #[error(
        "the pod's {INTERFACE} is no Ethernet interface; use a CNI plugin that makes one: bridge, ptp, macvlan"
    )]
    NotEthernet,
    /// Another guest is behind it.
    #[error("another guest has the pod's {INTERFACE}; one guest of a pod can have it")]
    Taken,
    /// The kernel has no taps.
    #[error("{TUN}: {0}; load the module tun (CONFIG_TUN)")]
    NoTaps(io::Error),
    /// The kernel has no interfaces for guests of Xen.
    #[error(
        "Dom0's kernel serves no network interfaces of guests; load the module xen-netback (CONFIG_XEN_NETDEV_BACKEND)"
    )]
    NoNetback,
    /// What is to be the guest's side is not there.
    #[error(
        "Dom0 has no interface {0} for the guest; look for what xen-netback says in Dom0's kernel log (dmesg)"
    )]
    NoGuestSide(String),
    /// The kernel cannot couple interfaces.
    #[error(
        "{doing}: {source}; the node's kernel needs CONFIG_NET_SCH_INGRESS, CONFIG_NET_CLS_U32 and CONFIG_NET_ACT_MIRRED"
    )]
    Couple {
        /// What was being done.
        doing: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Something else went wrong.
    #[error("{doing}: {source}{}", remedy(.source))]
    Io {
        /// What was being done.
        doing: String,
        /// The system's answer.
        source: io::Error,
    },
}

impl From<io::Error> for NetworkError {
    fn from(source: io::Error) -> NetworkError {
        NetworkError::Io { doing: "working in the pod's network namespace".to_owned(), source }
    }
}

fn failed<E: Into<io::Error>>(doing: impl Into<String>) -> impl FnOnce(E) -> NetworkError {
    move |source| NetworkError::Io { doing: doing.into(), source: source.into() }
}

/// The interface of a pod, by the network namespace that it is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PodInterface {
    namespace: PathBuf,
}

impl PodInterface {
    /// That of a namespace, which must be another one than the node's own.
    ///
    /// # Errors
    ///
    /// A path that is not there, or the node's own network.
    pub fn in_namespace(path: &Path) -> Result<PodInterface, NetworkError> {
        let enter = |source| NetworkError::Enter { path: path.to_owned(), source };
        // One name for one namespace: what is compared between containers is this path. The last part may be a link of
        // /proc, which leads to no path.
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(enter(io::ErrorKind::InvalidInput.into()));
        };
        let namespace = fs::canonicalize(folder).map_err(enter)?.join(name);
        let found = rustix::fs::stat(&namespace).map_err(|errno| enter(errno.into()))?;
        let own = rustix::fs::stat("/proc/self/ns/net").map_err(failed("looking at the node's network"))?;
        if (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino) {
            return Err(NetworkError::OfNode);
        }
        Ok(PodInterface { namespace })
    }

    /// The network namespace.
    pub fn namespace(&self) -> &Path {
        &self.namespace
    }

    /// The interface's own address.
    ///
    /// # Errors
    ///
    /// [`NetworkError`].
    pub async fn mac(&self) -> Result<Mac, NetworkError> {
        within(self.open()?, LinkNameSpaceType::Network, || {
            let netlink = connect()?;
            find(&netlink, INTERFACE)?.ok_or(NetworkError::NoInterface)?.mac.ok_or(NetworkError::NotEthernet)
        })
        .await
    }

    /// Makes the tap and couples it with the interface.
    ///
    /// # Errors
    ///
    /// [`NetworkError`]; nothing has changed then.
    pub async fn attach(&self) -> Result<Tap, NetworkError> {
        let namespace = self.open()?;
        within(namespace, LinkNameSpaceType::Network, || {
            let netlink = connect()?;
            let pod = find(&netlink, INTERFACE)?.ok_or(NetworkError::NoInterface)?;
            let mac = pod.mac.ok_or(NetworkError::NotEthernet)?;
            let fd = tap_of_own()?;
            crash_point!(NetworkTapped);
            couple(&netlink, &pod)?;
            crash_point!(NetworkCoupled);
            Ok(Tap { fd, mac })
        })
        .await
    }

    /// Takes an interface of the node's into the namespace, for good, and couples it with the pod's.
    ///
    /// # Errors
    ///
    /// [`NetworkError`]; the pod's interface is as it was then. The other one is where it was, or in the pod's namespace
    /// already: it is to be destroyed with its guest.
    pub async fn take_in(&self, device: String) -> Result<(), NetworkError> {
        let (node, namespace) = (connect()?, self.open()?);
        within(self.open()?, LinkNameSpaceType::Network, move || {
            let netlink = connect()?;
            let pod = find(&netlink, INTERFACE)?.ok_or(NetworkError::NoInterface)?;
            wait_until_free(&netlink)?;
            let doing = || format!("taking {device} into the pod's network namespace");
            let found = node.link(&device).map_err(failed(doing()))?;
            let index = found.ok_or_else(|| NetworkError::NoGuestSide(device.clone()))?.index;
            node.ask(&wire::hand_over(index, namespace.as_fd(), GUEST_SIDE)).map_err(failed(doing()))?;
            couple(&netlink, &pod)
        })
        .await
    }

    /// Leaves the interface as it was. A namespace or an interface that is gone is success; the guest's side goes with the
    /// guest.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub async fn release(&self) -> Result<(), NetworkError> {
        let namespace = match self.open() {
            Err(NetworkError::Enter { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(());
            }
            other => other?,
        };
        let entered = within(namespace, LinkNameSpaceType::Network, || {
            let netlink = connect()?;
            match find(&netlink, INTERFACE)? {
                Some(pod) => uncouple(&netlink, pod.index),
                None => Ok(()),
            }
        });
        entered.await
    }

    fn open(&self) -> Result<OwnedFd, NetworkError> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, &self.namespace, flags, Mode::empty())
            .map_err(|errno| NetworkError::Enter { path: self.namespace.clone(), source: errno.into() })
    }
}

/// To the kernel's routing code, about the namespace of this thread.
fn connect() -> Result<Netlink, NetworkError> {
    Netlink::open().map_err(failed("opening a netlink socket"))
}

fn find(netlink: &Netlink, name: &str) -> Result<Option<Link>, NetworkError> {
    netlink.link(name).map_err(failed(format!("looking for the pod's {name}")))
}

/// Makes the tap, as soon as an emulator that was killed a moment ago has let go of its own.
fn tap_of_own() -> Result<OwnedFd, NetworkError> {
    let end = Instant::now() + PATIENCE;
    loop {
        match make_tap(GUEST_SIDE) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::BUSY) && Instant::now() < end => {
                thread::sleep(INTERVAL);
            }
            other => return other.map_err(not_made),
        }
    }
}

fn not_made(error: io::Error) -> NetworkError {
    match Errno::from_io_error(&error) {
        Some(Errno::BUSY | Errno::EXIST | Errno::INVAL) => NetworkError::Taken,
        Some(Errno::NOENT | Errno::NODEV | Errno::NXIO) => NetworkError::NoTaps(error),
        _ => NetworkError::Io { doing: format!("making the tap {GUEST_SIDE}"), source: error },
    }
}

/// Waits until the domain of a guest that ended a moment ago has let go of its own.
fn wait_until_free(netlink: &Netlink) -> Result<(), NetworkError> {
    let end = Instant::now() + PATIENCE;
    while find(netlink, GUEST_SIDE)?.is_some() {
        if Instant::now() >= end {
            return Err(NetworkError::Taken);
        }
        thread::sleep(INTERVAL);
    }
    Ok(())
}

/// Whatever comes in at the one goes out at the other. Nobody but the guest answers for the pod from then on. Where that
/// cannot be had, the pod's interface is as it was.
fn couple(netlink: &Netlink, pod: &Link) -> Result<(), NetworkError> {
    let coupled = couple_both(netlink, pod);
    if coupled.is_err() {
        // What was there before belongs to a guest that is gone.
        let _ = netlink.ask(&wire::remove_ingress(pod.index));
    }
    coupled
}

fn couple_both(netlink: &Netlink, pod: &Link) -> Result<(), NetworkError> {
    let guest = find(netlink, GUEST_SIDE)?.ok_or_else(|| NetworkError::NoGuestSide(GUEST_SIDE.to_owned()))?;
    be_silent(GUEST_SIDE);
    netlink.ask(&wire::set_up(guest.index, pod.mtu)).map_err(failed(format!("switching {GUEST_SIDE} on")))?;
    // An earlier guest's, whose shim was killed.
    uncouple(netlink, pod.index)?;
    for (from, to) in [(pod.index, guest.index), (guest.index, pod.index)] {
        let doing = || format!("coupling {INTERFACE} and {GUEST_SIDE}");
        let lacking = |source| NetworkError::Couple { doing: doing(), source };
        netlink.ask(&wire::add_ingress(from)).map_err(lacking)?;
        netlink.ask(&wire::redirect(from, to)).map_err(lacking)?;
    }
    Ok(())
}

/// `ENOENT` and `EINVAL`: there is nothing to take away (Linux, net/sched/sch_api.c, `tc_get_qdisc`).
fn uncouple(netlink: &Netlink, index: u32) -> Result<(), NetworkError> {
    match netlink.ask(&wire::remove_ingress(index)) {
        Err(error) if !matches!(Errno::from_io_error(&error), Some(Errno::NOENT | Errno::INVAL)) => {
            Err(NetworkError::Io { doing: format!("releasing the pod's {INTERFACE}"), source: error })
        }
        _ => Ok(()),
    }
}

/// The node's own IPv6 has nothing to say to the guest. A kernel without IPv6 has no such file, and says nothing.
fn be_silent(interface: &str) {
    let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6"), "1");
}
