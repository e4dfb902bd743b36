//! The mapping table: a test for each of its rows, with the row's edges.

use proptest::prelude::*;

use super::*;

const MIB: i64 = 1 << 20;

/// A node with cores 0 to 3.
fn plan(wishes: &Wishes, asked: &Asked) -> Result<Resources, ResourceError> {
    Resources::plan(wishes, asked, &CpuSet::first(4), None)
}

fn set(text: &str) -> Option<CpuSet> {
    Some(text.parse().unwrap())
}

#[test]
fn shares_become_a_weight() {
    let asked = |shares| Some(Weight::of_shares(shares));
    let table = [
        // the image's, the engine's: the guest's
        (None, None, None),
        (Some(7), None, Some(7)),
        (Some(7), asked(1024), Some(256)),
        (None, asked(2), Some(1)),
        (None, asked(4), Some(1)),
        (None, asked(8), Some(2)),
        (None, asked(262_144), Some(65_535)),
        (None, asked(u64::MAX), Some(65_535)),
    ];
    for (weight, asked, expected) in table {
        let wishes = Wishes { weight, ..Wishes::default() };
        let given = plan(&wishes, &Asked { weight: asked, ..Asked::default() }).unwrap();
        assert_eq!(given.weight.map(Weight::guest), expected, "{weight:?} {asked:?}");
    }
}

#[test]
fn quota_and_cpuset_become_capacity_and_vcpus() {
    let table = [
        // quota, period, cpuset: capacity in percent, vCPUs
        (None, None, None, 0, 1),
        (Some(-1), Some(100_000), None, 0, 1),
        (Some(0), None, None, 0, 1),
        (Some(i64::MIN), None, None, 0, 1),
        (Some(50_000), None, None, 50, 1),
        (Some(1), Some(100_000), None, 1, 1),
        (Some(100_000), Some(100_000), None, 100, 1),
        (Some(100_001), Some(100_000), None, 101, 2),
        (Some(150_000), Some(100_000), None, 150, 2),
        (Some(50_000), Some(0), None, 5_000_000, 50_000),
        (Some(i64::MAX), Some(1), None, u32::MAX, 42_949_673),
        (Some(1), Some(u64::MAX), None, 1, 1),
        (None, None, set("1-2"), 0, 2),
        (Some(-1), None, set("1-2"), 0, 2),
        (Some(400_000), Some(100_000), set("1-2"), 200, 2),
        (Some(i64::MAX), Some(u64::MAX), set("1"), 50, 1),
        (Some(50_000), Some(100_000), set("0,3"), 50, 2),
        (None, None, set("3-9"), 0, 1),
    ];
    for (quota, period, cpus, capacity, vcpus) in table {
        let asked = Asked { quota, period, cpus: cpus.clone(), ..Asked::default() };
        let given = plan(&Wishes::default(), &asked).unwrap();
        assert_eq!(
            (given.capacity.percent(), given.vcpus),
            (capacity, vcpus),
            "{quota:?}/{period:?} {cpus:?}"
        );
    }
}

#[test]
fn a_quota_is_kept_to_the_microsecond() {
    let asked = |quota, cpus| Asked { quota: Some(quota), period: Some(100_000), cpus, ..Asked::default() };
    let quota = |asked| plan(&Wishes::default(), &asked).unwrap().capacity.quota();
    assert_eq!(quota(asked(2_500, None)), Some(2_500), "3 % would be more than a pod of 2.5 % has");
    assert_eq!(quota(asked(250_001, set("0-1"))), Some(200_000));
    assert_eq!(quota(asked(-1, None)), None);
    let wishes = Wishes { capacity: Some(30), ..Wishes::default() };
    assert_eq!(plan(&wishes, &Asked::default()).unwrap().capacity.quota(), Some(30_000));
    assert_eq!(plan(&wishes, &asked(-1, None)).unwrap().capacity, Capacity::UNLIMITED, "the engine says so");
}

#[test]
fn the_image_says_how_many_vcpus_until_the_engine_does() {
    let table = [
        // the image's vCPUs, maximum and cores; the engine's cores: vCPUs
        (Some(3), Some(3), set("0-1"), None, 3),
        (Some(3), Some(3), set("0-1"), set("0-3"), 3),
        (Some(3), Some(3), set("0-1"), set("2"), 1),
        (Some(3), Some(2), None, None, 2),
        (Some(0), None, None, None, 1),
        (Some(1), Some(0), None, None, 1),
        (None, Some(2), None, set("0-3"), 2),
        (None, None, set("1-3"), None, 3),
    ];
    for (vcpus, max_vcpus, cpus, cpuset, expected) in table {
        let wishes = Wishes { vcpus, max_vcpus, cpus, ..Wishes::default() };
        let asked = Asked { cpus: cpuset, ..Asked::default() };
        assert_eq!(plan(&wishes, &asked).unwrap().vcpus, expected, "{wishes:?} {asked:?}");
    }
}

#[test]
fn no_existing_core_is_an_error_that_says_what_there_is() {
    let asked = Asked { cpus: set("7-8"), ..Asked::default() };
    let said = plan(&Wishes::default(), &asked).unwrap_err().to_string();
    assert!(said.contains("7-8") && said.contains("0-3"), "{said}");
}

#[test]
fn pinning_needs_a_core_for_each_vcpu() {
    let wishes = Wishes { pin: true, vcpus: Some(2), cpus: set("1"), ..Wishes::default() };
    let said = plan(&wishes, &Asked::default()).unwrap_err().to_string();
    assert!(said.contains("2 vCPUs") && said.contains("cores 1"), "{said}");
    let nowhere = Wishes { pin: true, ..Wishes::default() };
    assert!(plan(&nowhere, &Asked::default()).is_err());
    let wishes = Wishes { pin: true, cpus: set("1-2"), ..Wishes::default() };
    assert_eq!(plan(&wishes, &Asked::default()).unwrap().vcpus, 2);
}

#[test]
fn a_memory_limit_is_rounded_up_and_beats_the_image() {
    let table = [
        // the image's, the engine's: the guest's, and its limit
        (None, None, None, None),
        (Some(64), None, Some(64), None),
        (Some(64), Some(-1), Some(64), None),
        (Some(64), Some(0), Some(64), None),
        (None, Some(-1), None, None),
        (None, Some(1), Some(1), Some(1)),
        (Some(64), Some(128 * MIB), Some(128), Some(128)),
        (Some(64), Some(32 * MIB + 1), Some(33), Some(33)),
        (None, Some(i64::from(u32::MAX) * MIB), Some(u32::MAX), Some(u32::MAX)),
    ];
    for (memory, limit, expected, limited) in table {
        let wishes = Wishes { memory: memory.map(Mib), ..Wishes::default() };
        let given = plan(&wishes, &Asked { memory: limit, ..Asked::default() }).unwrap();
        assert_eq!(
            (given.memory, given.limit),
            (expected.map(Mib), limited.map(Mib)),
            "{memory:?} {limit:?}"
        );
    }
    let beyond = Asked { memory: Some(i64::MAX), ..Asked::default() };
    assert!(plan(&Wishes::default(), &beyond).is_err());
}

#[test]
fn the_most_memory_grows_with_the_memory_and_never_shrinks() {
    let wishes = Wishes { memory: Some(Mib(64)), max_memory: Some(Mib(96)), ..Wishes::default() };
    let mut given = plan(&wishes, &Asked::default()).unwrap();
    assert_eq!((given.memory, given.max_memory), (Some(Mib(64)), Some(Mib(96))));
    // Limits, one after the other: memory, and the most.
    for (limit, memory, max) in [(129, 129, 129), (32, 32, 129), (-1, 64, 129), (200, 200, 200)] {
        let asked = Asked { memory: Some(limit * MIB), ..Asked::default() };
        given = Resources::plan(&wishes, &asked, &CpuSet::first(4), Some(&given)).unwrap();
        assert_eq!((given.memory, given.max_memory), (Some(Mib(memory)), Some(Mib(max))), "{limit}");
    }
}

#[test]
fn a_reservation_is_never_above_the_memory() {
    let table = [
        // the image's memory, the limit, the reservation: the least memory
        (None, None, None, None),
        (None, None, Some(0), None),
        (None, None, Some(-1), None),
        (None, None, Some(16 * MIB), Some(16)),
        (None, Some(64 * MIB), Some(16 * MIB - 1), Some(16)),
        (None, Some(64 * MIB), Some(65 * MIB), Some(64)),
        (Some(8), None, Some(16 * MIB), Some(8)),
        (Some(8), Some(-1), Some(16 * MIB), Some(8)),
        (Some(8), Some(32 * MIB), Some(16 * MIB), Some(16)),
    ];
    let wishes = Wishes { min_memory: Some(Mib(4)), ..Wishes::default() };
    for (reservation, expected) in [(None, 4), (Some(-1), 4), (Some(16 * MIB), 16)] {
        let given = plan(&wishes, &Asked { reservation, ..Asked::default() }).unwrap();
        assert_eq!(given.min_memory, Some(Mib(expected)), "the image's own, until the engine says another");
    }
    for (memory, limit, reservation, expected) in table {
        let wishes = Wishes { memory: memory.map(Mib), ..Wishes::default() };
        let given = plan(&wishes, &Asked { memory: limit, reservation, ..Asked::default() }).unwrap();
        assert_eq!(given.min_memory, expected.map(Mib), "{memory:?} {limit:?} {reservation:?}");
    }
}

#[test]
fn changes_come_in_an_order_in_which_each_is_possible() {
    let there = CpuSet::first(4);
    let wishes = Wishes { max_vcpus: Some(4), memory: Some(Mib(64)), ..Wishes::default() };
    let before = plan(&wishes, &Asked::default()).unwrap();
    let asked = Asked {
        weight: Some(Weight::of_guest(512)),
        quota: Some(150_000),
        period: None,
        cpus: set("1-2"),
        memory: Some(128 * MIB),
        reservation: Some(100 * MIB),
    };
    let after = Resources::plan(&wishes, &asked, &there, Some(&before)).unwrap();
    assert_eq!(
        before.changes_to(&after, &there),
        [
            Change::MaxMemory(Mib(128)),
            Change::Memory(Mib(128)),
            Change::MinMemory(Mib(100)),
            Change::Vcpus(2),
            Change::Cpus("1-2".parse().unwrap()),
            Change::Weight(Weight::of_guest(512)),
            Change::Capacity(Capacity::of_percent(150)),
        ]
    );
    let smaller = Asked { memory: Some(16 * MIB), reservation: Some(8 * MIB), ..asked };
    let back = Resources::plan(&wishes, &smaller, &there, Some(&after)).unwrap();
    assert_eq!(
        after.changes_to(&back, &there),
        [Change::MinMemory(Mib(8)), Change::Memory(Mib(16))],
        "the least first, where it shrinks"
    );
}

#[test]
fn every_core_and_any_core_are_the_same() {
    let there = CpuSet::first(4);
    let any = plan(&Wishes::default(), &Asked::default()).unwrap();
    let all = Resources { cpus: Some(there.clone()), ..any.clone() };
    assert_eq!(any.changes_to(&all, &there), []);
    let default_weight = Resources { weight: Some(Weight::default()), ..any.clone() };
    assert_eq!(any.changes_to(&default_weight, &there), []);
}

fn any_asked() -> impl Strategy<Value = Asked> {
    let cpus = proptest::collection::btree_set(0..6u32, 1..4).prop_map(CpuSet::from_iter);
    let numbers = (any::<Option<u64>>(), any::<Option<i64>>(), any::<Option<u64>>());
    let memory = (proptest::option::of(-1..4096 * MIB), proptest::option::of(-1..4096 * MIB));
    (numbers, proptest::option::of(cpus), memory).prop_map(
        |((shares, quota, period), cpus, (memory, reservation))| {
            let weight = shares.map(Weight::of_shares);
            Asked { weight, quota, period, cpus, memory, reservation }
        },
    )
}

prop_compose! {
    fn any_wishes()(
        vcpus in any::<Option<u32>>(), max_vcpus in any::<Option<u32>>(), pin in any::<bool>(),
        weight in proptest::option::of(1..=65_535u32), capacity in any::<Option<u32>>(),
        memory in any::<Option<u32>>(), max_memory in any::<Option<u32>>(),
        min_memory in any::<Option<u32>>(),
    ) -> Wishes {
        let [memory, max_memory, min_memory] = [memory, max_memory, min_memory].map(|mib| mib.map(Mib));
        Wishes { cpus: None, vcpus, max_vcpus, pin, weight, capacity, memory, max_memory, min_memory }
    }
}

proptest! {
    #[test]
    fn whatever_is_asked_is_within_bounds_or_refused(wishes in any_wishes(), asked in any_asked()) {
        if let Ok(given) = plan(&wishes, &asked) {
            prop_assert!((1..=given.max_vcpus).contains(&given.vcpus));
            prop_assert!(given.max_memory >= given.memory);
            prop_assert!(given.memory.is_none() || given.min_memory <= given.memory);
            let cores = given.cpus.as_ref().map(CpuSet::len);
            prop_assert!(cores.is_none_or(|cores| given.capacity.percent() <= cores * 100));
            prop_assert!(!wishes.pin || cores.is_some_and(|cores| cores >= given.vcpus));
        }
    }

    #[test]
    fn an_update_that_is_repeated_changes_nothing(
        wishes in any_wishes(), first in any_asked(), update in any_asked(),
    ) {
        let there = CpuSet::first(4);
        let Ok(before) = plan(&wishes, &first) else { return Ok(()) };
        let asked = first.updated(update.clone());
        let Ok(once) = Resources::plan(&wishes, &asked, &there, Some(&before)) else { return Ok(()) };
        let again = Resources::plan(&wishes, &asked.updated(update), &there, Some(&once)).unwrap();
        prop_assert_eq!(once.changes_to(&again, &there), []);
    }

    #[test]
    fn no_step_leaves_the_bounds(wishes in any_wishes(), first in any_asked(), update in any_asked()) {
        let there = CpuSet::first(4);
        let Ok(before) = plan(&wishes, &first) else { return Ok(()) };
        let asked = first.updated(update);
        let Ok(after) = Resources::plan(&wishes, &asked, &there, Some(&before)) else { return Ok(()) };
        let (mut least, mut memory, mut most) = (before.min_memory, before.memory, before.max_memory);
        for change in before.changes_to(&after, &there) {
            match change {
                Change::MaxMemory(mib) => most = Some(mib),
                Change::Memory(mib) => memory = Some(mib),
                Change::MinMemory(mib) => least = Some(mib),
                _ => {}
            }
            prop_assert!(memory <= most);
            prop_assert!(memory.is_none() || least <= memory, "{:?} of {:?}", least, memory);
        }
    }
}
