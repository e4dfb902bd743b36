//! Xen under this node.

use micrun_image_spec::units::Mib;
use serde::Serialize;

use crate::hypervisor::xen::{Listed, Xen, XenError};

/// What Xen says of itself, or why it does not.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// It answers.
    Answers(Machine),
    /// It does not, for this reason.
    Silent(String),
}

/// The machine under Xen.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Physical cores.
    pub cores: u32,
    /// Memory that no domain has, MiB.
    pub free_mib: Mib,
    /// All memory, MiB.
    pub total_mib: Mib,
    /// The scheduler of the default pool.
    pub scheduler: String,
    /// The names of the domains.
    pub domains: Vec<String>,
}

impl Found {
    /// What is wrong.
    pub fn fault(&self) -> Option<String> {
        match self {
            Found::Answers(_) => None,
            Found::Silent(why) => Some(format!("this node runs on Xen, which does not answer: {why}")),
        }
    }

    /// The names of the domains; none where Xen does not tell.
    pub fn domains(&self) -> &[String] {
        match self {
            Found::Answers(machine) => &machine.domains,
            Found::Silent(_) => &[],
        }
    }
}

/// Asks Xen.
pub async fn ask() -> Found {
    match machine().await {
        Ok(machine) => Found::Answers(machine),
        Err(error) => Found::Silent(error.to_string()),
    }
}

async fn machine() -> Result<Machine, XenError> {
    let xen = Xen::find()?;
    let info = xen.info().await?;
    let domains = xen.list().await?.into_iter().map(|Listed { name, .. }| name).collect();
    Ok(Machine {
        cores: info.cpus,
        free_mib: info.free_memory,
        total_mib: info.total_memory,
        scheduler: info.scheduler,
        domains,
    })
}
