//! A container's share of the node: what was asked for, what was given, and how the one follows from the other
//! again when the engine asks for something else.

use std::time::Duration;

use crate::config::Settings;
use crate::resources::{Asked, Change, CpuSet, ResourceError, Resources, Wishes};

/// A share, and what it was reckoned from.
#[derive(Clone, Debug)]
pub struct Share {
    wishes: Wishes,
    asked: Asked,
    /// Empty as long as nobody has asked for any.
    cores: CpuSet,
    /// What the guest has.
    pub given: Resources,
    /// What becomes of an Update.
    pub updates: Updates,
    /// How long the guest may run, from its start on; the clock goes on while it is paused, since its cores and memory stay
    /// taken.
    pub time: Option<Duration>,
}

/// What becomes of an Update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Updates {
    /// It is taken, as far as the pedestal can.
    Taken,
    /// The image wants to keep what its guest has.
    Refused,
    /// There is nothing that could have a share.
    PassedOver,
}

/// A step to another share. Taken one by one, and undone in reverse where one fails.
#[derive(Debug)]
pub struct Step {
    /// What to do.
    pub change: Change,
    /// What undoes it.
    pub undo: Option<Change>,
}

impl Share {
    /// The share of a new container on a node whose guests can have `cores`, where somebody asked for any.
    pub fn new(settings: &Settings, asked: Asked, cores: CpuSet, given: Resources) -> Share {
        Share {
            wishes: settings.wishes.clone(),
            asked,
            cores,
            given,
            updates: if settings.static_resources { Updates::Refused } else { Updates::Taken },
            time: settings.auto_close,
        }
    }

    /// The share of nothing.
    ///
    /// # Errors
    ///
    /// None that is known: nothing can always be given.
    pub fn of_nothing() -> Result<Share, ResourceError> {
        let (wishes, asked, cores) = (Wishes::default(), Asked::default(), CpuSet::default());
        let given = Resources::plan(&wishes, &asked, &cores, None)?;
        Ok(Share { wishes, asked, cores, given, updates: Updates::PassedOver, time: None })
    }

    /// Whether the cores that guests can have are known. An update that names cores needs them.
    pub fn knows_cores(&self) -> bool {
        !self.cores.is_empty()
    }

    /// Makes them known.
    pub fn set_cores(&mut self, cores: CpuSet) {
        self.cores = cores;
    }

    /// The share after an update of the engine's.
    ///
    /// # Errors
    ///
    /// What cannot be given.
    pub fn updated(&self, update: Asked) -> Result<Share, ResourceError> {
        let asked = self.asked.clone().updated(update);
        let given = Resources::plan(&self.wishes, &asked, &self.cores, Some(&self.given))?;
        Ok(Share { asked, given, ..self.clone() })
    }

    /// The steps from this share to another. None for what stays as it is.
    pub fn steps_to(&self, new: &Share) -> Vec<Step> {
        let back = new.given.changes_to(&self.given, &self.cores);
        let undo = |change: &Change| back.iter().find(|other| same_kind(change, other)).cloned();
        let changes = self.given.changes_to(&new.given, &self.cores);
        changes.into_iter().map(|change| Step { undo: undo(&change), change }).collect()
    }
}

fn same_kind(a: &Change, b: &Change) -> bool {
    std::mem::discriminant(a) == std::mem::discriminant(b)
}

#[cfg(test)]
mod tests {
    use micrun_image_spec::units::Mib;

    use super::*;
    use crate::config::NodeConfig;

    #[test]
    fn each_step_knows_its_way_back() {
        let conf =
            "[Mica]\nClientPath=/f\nPedestal=xen\nPedestalConf=/i\nMemory=64\nMaxVCPU=4\n".parse().unwrap();
        let settings = Settings::merge(&NodeConfig::default(), &conf, &Default::default()).unwrap().settings;
        let cores = CpuSet::first(4);
        let given = Resources::plan(&settings.wishes, &Asked::default(), &cores, None).unwrap();
        let share = Share::new(&settings, Asked::default(), cores, given);
        let update = Asked { cpus: Some("1-2".parse().unwrap()), memory: Some(96 << 20), ..Asked::default() };
        let steps = share.steps_to(&share.updated(update).unwrap());
        let pairs: Vec<_> = steps.into_iter().map(|step| (step.change, step.undo)).collect();
        assert_eq!(
            pairs,
            [
                (Change::MaxMemory(Mib(96)), Some(Change::MaxMemory(Mib(64)))),
                (Change::Memory(Mib(96)), Some(Change::Memory(Mib(64)))),
                (Change::Vcpus(2), Some(Change::Vcpus(1))),
                (Change::Cpus("1-2".parse().unwrap()), Some(Change::Cpus("0-3".parse().unwrap()))),
            ]
        );
    }
}
