//! What a container asks for and only the node as it is can answer: semihosting, cores without Dom0, virtual
//! processors, the pod's interface.

use std::path::Path;

use micrun_image_spec::firmware::Pedestal;

use super::create::CreateFailure;
use crate::bundle::Image;
use crate::config::Settings;
use crate::config::node::policy::Ask;
use crate::config::origin::Origin;
use crate::config::settings::{Denied, permit};
use crate::network::{NetworkError, PodInterface};
use crate::pedestal::{Driver, Node, PlanError};
use crate::resources::{CpuSet, Resources};

/// Asks the policy about a board that lets its guests reach for files of the host.
///
/// # Errors
///
/// Its refusal. What else is wrong with a board is the driver's to say.
pub fn board(image: &Image, node: &Node) -> Result<(), Denied> {
    let Some(name) = &image.settings.board else { return Ok(()) };
    let qemu = node.boards.get(name).and_then(|board| Some((board.name.as_str(), board.qemu.as_ref()?)));
    match qemu {
        Some((board, qemu)) if qemu.args.has_semihosting() => {
            let asker = image.explanation.get("board").map_or(Origin::Default, |board| board.origin.clone());
            permit(&image.config.policy, &Ask::Semihosting(board), board, &asker)
        }
        _ => Ok(()),
    }
}

/// The pod's interface, where the guest is to have it.
///
/// # Errors
///
/// No network of a pod's own.
pub fn interface(
    settings: &Settings,
    namespace: Option<&Path>,
) -> Result<Option<PodInterface>, NetworkError> {
    if !settings.pod_network {
        return Ok(None);
    }
    let namespace = namespace.ok_or(NetworkError::NoPod)?;
    PodInterface::in_namespace(namespace).map(Some)
}

/// The cores that the guest can have. None where nobody asks for any: asking can cost a process (Xen), and most guests
/// may run anywhere.
///
/// # Errors
///
/// The driver's, or cores without Dom0 where there are none or nobody can tell.
pub async fn cores(image: &Image, driver: &dyn Driver, node: &Node) -> Result<CpuSet, CreateFailure> {
    let asks = image.asked.cpus.is_some() || image.settings.wishes.cpus.is_some();
    let exclusive = image.settings.exclusive_dom0_cpu;
    match (asks, exclusive) {
        (false, false) => Ok(CpuSet::default()),
        (true, false) => Ok(driver.cores(node).await?),
        (false, true) => Err(CreateFailure::Plan(PlanError::new(
            "runtime.exclusive_dom0_cpu is about cores, and nobody says which ones the guest gets",
            "set CPU in client.conf, or give the container a cpuset",
        ))),
        (true, true) => match driver.cores_without_linux(node).await? {
            Some(cores) if !cores.is_empty() => Ok(cores),
            Some(_) => Err(CreateFailure::Plan(PlanError::new(
                "runtime.exclusive_dom0_cpu: Linux runs on every core of this node",
                "leave it some cores only: dom0_max_vcpus= and dom0_vcpus_pin for Xen, maxcpus= for Linux",
            ))),
            None => Err(CreateFailure::Plan(PlanError::new(
                format!(
                    "runtime.exclusive_dom0_cpu: {} cannot tell which cores Linux runs on",
                    driver.name()
                ),
                "on Xen, pin Dom0 (dom0_vcpus_pin); with other pedestals, leave the annotation out",
            ))),
        },
    }
}

/// Whether the node has a core for each virtual processor of a guest that a hypervisor runs. Those of an emulator are threads, of
/// which there may be more. Most guests have one, and asking can cost a process.
///
/// # Errors
///
/// More than there are cores, or the driver's.
pub async fn vcpus(
    pedestal: Pedestal,
    resources: &Resources,
    driver: &dyn Driver,
    node: &Node,
) -> Result<(), CreateFailure> {
    let wanted = resources.max_vcpus;
    if pedestal != Pedestal::Xen || wanted == 1 {
        return Ok(());
    }
    let there = driver.cores(node).await?.len();
    if wanted <= there {
        return Ok(());
    }
    Err(CreateFailure::Plan(PlanError::new(
        format!("the guest is to have up to {wanted} virtual processors, and the node has {there} cores"),
        "lower container.max_vcpu_num (VCPU and MaxVCPU in client.conf) or the CPU limit, or choose a larger node",
    )))
}
