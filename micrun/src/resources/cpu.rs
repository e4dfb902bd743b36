//! Processor time: its weight against others, and its limit. Kept as exactly as the engine wrote it, since a cgroup may
//! not have more than the one above it, and told to hypervisors in their own coarser units.

use serde::{Deserialize, Serialize};

/// The scheduler's period where none is given, microseconds (Linux, admin-guide/cgroup-v2).
const DEFAULT_PERIOD: u64 = 100_000;

/// cgroup v1's `cpu.shares` (Linux, `MIN_SHARES` and `MAX_SHARES` of the fair scheduler).
const SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;

/// cgroup v2's `cpu.weight` (Linux, admin-guide/cgroup-v2).
const V2_WEIGHTS: std::ops::RangeInclusive<u64> = 1..=10_000;

/// A scheduling weight. Kept in the finest of the scales in use, which is cgroup v1's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weight {
    shares: u64,
}

impl Default for Weight {
    /// What a guest has for which none was asked: Xen's credit2, micad and cgroups mean the same by it.
    fn default() -> Weight {
        Weight { shares: 1024 }
    }
}

impl Weight {
    /// Of cgroup v1's `cpu.shares`; beyond its bounds, the nearest.
    pub fn of_shares(shares: u64) -> Weight {
        Weight { shares: shares.clamp(*SHARES.start(), *SHARES.end()) }
    }

    /// Of cgroup v2's `cpu.weight`, 1 to 10000; `None` beyond.
    pub fn of_v2(weight: u64) -> Option<Weight> {
        // Rounded up, so that `v2` gives the same number again.
        let shares = |weight: u64| 2 + ((weight - 1) * 262_142).div_ceil(9_999);
        V2_WEIGHTS.contains(&weight).then(|| Weight { shares: shares(weight) })
    }

    /// Of a guest's weight, 1 to 65535, as client.conf has it.
    pub fn of_guest(weight: u32) -> Weight {
        Weight::of_shares(u64::from(weight).saturating_mul(4))
    }

    /// For cgroup v1: 2 to 262144.
    pub fn shares(self) -> u64 {
        self.shares
    }

    /// For cgroup v2: 1 to 10000. The conversion that kubelet, systemd and OCI runtimes share.
    pub fn v2(self) -> u64 {
        1 + (self.shares - 2) * 9_999 / 262_142
    }

    /// For a hypervisor: 1 to 65535.
    pub fn guest(self) -> u32 {
        // At most 65535.
        u32::try_from((self.shares / 4).clamp(1, 65_535)).unwrap_or(65_535)
    }
}

/// How much processor time there may be: a quota of each period, in microseconds; or as much as there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// 0 for no limit.
    quota: u64,
    period: u64,
}

impl Capacity {
    /// As much as there is.
    pub const UNLIMITED: Capacity = Capacity { quota: 0, period: DEFAULT_PERIOD };

    /// Of a quota of each period; 0 for none.
    pub fn of_quota(quota: u64, period: Option<u64>) -> Capacity {
        let period = period.unwrap_or(DEFAULT_PERIOD).max(1);
        if quota == 0 { Capacity::UNLIMITED } else { Capacity { quota, period } }
    }

    /// Of percent of one core; 0 for no limit.
    pub fn of_percent(percent: u32) -> Capacity {
        Capacity::of_quota(u64::from(percent) * (DEFAULT_PERIOD / 100), None)
    }

    /// Whether there is a limit.
    pub fn is_limited(self) -> bool {
        self.quota > 0
    }

    /// This one, where so many cores have more to give, else all that they have.
    pub fn within(self, cores: u32) -> Capacity {
        Capacity { quota: self.quota.min(self.period.saturating_mul(u64::from(cores))), ..self }
    }

    /// Microseconds of each [`period`](Capacity::period); `None` for no limit.
    pub fn quota(self) -> Option<u64> {
        self.is_limited().then_some(self.quota)
    }

    /// Microseconds.
    pub fn period(self) -> u64 {
        self.period
    }

    /// Percent of one core, rounded up so that a small limit does not become none; 0 for no limit.
    pub fn percent(self) -> u32 {
        let percent = (u128::from(self.quota) * 100).div_ceil(u128::from(self.period));
        u32::try_from(percent).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_on_the_three_scales() {
        // shares, v2, guest
        let table = [
            (0, 1, 1),
            (2, 1, 1),
            (4, 1, 1),
            (8, 1, 2),
            (102, 4, 25),
            (1024, 39, 256),
            (2048, 79, 512),
            (262_140, 9_999, 65_535),
            (262_144, 10_000, 65_535),
            (u64::MAX, 10_000, 65_535),
        ];
        for (shares, v2, guest) in table {
            let weight = Weight::of_shares(shares);
            assert_eq!((weight.v2(), weight.guest()), (v2, guest), "{shares}");
        }
    }

    #[test]
    fn every_weight_is_read_back_on_its_own_scale() {
        for weight in 1..=10_000 {
            assert_eq!(Weight::of_v2(weight).map(Weight::v2), Some(weight));
        }
        for weight in 1..=65_535 {
            assert_eq!(Weight::of_guest(weight).guest(), weight);
        }
        assert_eq!((Weight::of_v2(0), Weight::of_v2(10_001)), (None, None));
        assert_eq!(Weight::of_guest(u32::MAX).guest(), 65_535);
    }

    #[test]
    fn capacities_in_percent() {
        let quota = |quota, period| Capacity::of_quota(quota, period).percent();
        // Microseconds of how many: percent, rounded up.
        for (asked, period, percent) in [
            (0, None, 0),
            (50_000, None, 50),
            (1, Some(100_000), 1),
            (2_500, Some(100_000), 3),
            (150_000, Some(100_000), 150),
            (1, Some(u64::MAX), 1),
            (u64::MAX, Some(1), u32::MAX),
            (7, Some(0), 700),
        ] {
            assert_eq!(quota(asked, period), percent, "{asked}/{period:?}");
        }
        for percent in [0, 1, 50, 100, 6400] {
            assert_eq!(Capacity::of_percent(percent).percent(), percent);
        }
        assert_eq!(Capacity::of_quota(400_000, Some(100_000)).within(2), Capacity::of_percent(200));
        assert_eq!(Capacity::UNLIMITED.within(2), Capacity::UNLIMITED);
        assert_eq!(Capacity::of_quota(0, Some(7)), Capacity::UNLIMITED);
    }
}
