//! The mapping table, with its edges.

use proptest::prelude::*;

use super::*;

const FOUR: u32 = 4;

fn plan(wishes: &Wishes, asked: &Asked) -> Result<Resources, ResourceError> {
    Resources::plan(wishes, asked, &CpuSet::first(FOUR), None)
}

fn set(text: &str) -> Option<CpuSet> {
    Some(text.parse().unwrap())
}

#[test]
fn shares_become_a_weight() {
    for (shares, expected) in [(2, 1), (4, 1), (8, 2), (1024, 256), (262_144, 65_535), (u64::MAX, 65_535)] {
        let asked = Asked { shares: Some(shares), ..Asked::default() };
        assert_eq!(plan(&Wishes::default(), &asked).unwrap().weight, Some(expected), "{shares}");
    }
    let wishes = Wishes { weight: Some(7), ..Wishes::default() };
    assert_eq!(plan(&wishes, &Asked::default()).unwrap().weight, Some(7));
}

#[test]
fn quota_and_cpuset_become_capacity_and_vcpus() {
    let table = [
        // quota, period, cpuset: capacity, vcpus
        (None, None, None, 0, 1),
        (Some(-1), Some(100_000), None, 0, 1),
        (Some(0), None, None, 0, 1),
        (Some(50_000), None, None, 50, 1),
        (Some(1), Some(100_000), None, 1, 1),
        (Some(150_000), Some(100_000), None, 150, 2),
        (None, None, set("1-2"), 0, 2),
        (Some(400_000), Some(100_000), set("1-2"), 200, 2),
        (Some(50_000), Some(100_000), set("0,3"), 50, 2),
        (None, None, set("3-9"), 0, 1),
    ];
    for (quota, period, cpus, capacity, vcpus) in table {
        let asked = Asked { quota, period, cpus: cpus.clone(), ..Asked::default() };
        let given = plan(&Wishes::default(), &asked).unwrap();
        assert_eq!((given.capacity, given.vcpus), (capacity, vcpus), "{quota:?}/{period:?} {cpus:?}");
    }
}

#[test]
fn the_image_says_how_many_vcpus_until_the_engine_does() {
    let wishes = Wishes { vcpus: Some(3), max_vcpus: Some(3), cpus: set("0-1"), ..Wishes::default() };
    assert_eq!(plan(&wishes, &Asked::default()).unwrap().vcpus, 3);
    let asked = Asked { cpus: set("0-3"), ..Asked::default() };
    assert_eq!(plan(&wishes, &asked).unwrap().vcpus, 3, "the guest's maximum");
    let asked = Asked { cpus: set("2"), ..Asked::default() };
    let given = plan(&wishes, &asked).unwrap();
    assert_eq!((given.vcpus, given.cpus), (1, set("2")));
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
fn memory_is_rounded_up_and_its_maximum_never_shrinks() {
    let wishes = Wishes { memory: Some(Mib(64)), max_memory: Some(Mib(96)), ..Wishes::default() };
    let first = plan(&wishes, &Asked::default()).unwrap();
    assert_eq!((first.memory, first.max_memory), (Some(Mib(64)), Some(Mib(96))));
    let asked = |bytes| Asked { memory: Some(bytes), ..Asked::default() };
    let there = CpuSet::first(FOUR);
    let grown = Resources::plan(&wishes, &asked((128 << 20) + 1), &there, Some(&first)).unwrap();
    assert_eq!((grown.memory, grown.max_memory), (Some(Mib(129)), Some(Mib(129))));
    let shrunk = Resources::plan(&wishes, &asked(32 << 20), &there, Some(&grown)).unwrap();
    assert_eq!((shrunk.memory, shrunk.max_memory), (Some(Mib(32)), Some(Mib(129))));
    assert_eq!(plan(&wishes, &asked(-1)).unwrap().memory, Some(Mib(64)), "no limit: the image's own");
}

#[test]
fn changes_come_in_an_order_in_which_each_is_possible() {
    let there = CpuSet::first(FOUR);
    let wishes = Wishes { max_vcpus: Some(4), memory: Some(Mib(64)), ..Wishes::default() };
    let before = plan(&wishes, &Asked::default()).unwrap();
    let asked = Asked {
        shares: Some(2048),
        quota: Some(150_000),
        period: None,
        cpus: set("1-2"),
        memory: Some(128 << 20),
    };
    let after = Resources::plan(&wishes, &asked, &there, Some(&before)).unwrap();
    assert_eq!(
        before.changes_to(&after, &there),
        [
            Change::MaxMemory(Mib(128)),
            Change::Memory(Mib(128)),
            Change::Vcpus(2),
            Change::Cpus("1-2".parse().unwrap()),
            Change::Weight(512),
            Change::Capacity(150),
        ]
    );
    assert_eq!(after.changes_to(&after, &there), []);
}

#[test]
fn every_core_and_any_core_are_the_same() {
    let there = CpuSet::first(FOUR);
    let any = plan(&Wishes::default(), &Asked::default()).unwrap();
    let all = Resources { cpus: Some(there.clone()), ..any.clone() };
    assert_eq!(any.changes_to(&all, &there), []);
    let default_weight = Resources { weight: Some(DEFAULT_WEIGHT), ..any.clone() };
    assert_eq!(any.changes_to(&default_weight, &there), []);
}

proptest! {
    #[test]
    fn whatever_is_asked_is_within_bounds_or_refused(
        shares in any::<Option<u64>>(),
        quota in any::<Option<i64>>(),
        period in any::<Option<u64>>(),
        memory in any::<Option<i64>>(),
        core in 0..6u32,
        max_vcpus in any::<Option<u32>>(),
        pin in any::<bool>(),
    ) {
        let wishes = Wishes { pin, max_vcpus, ..Wishes::default() };
        let cpus = (core > 0).then(|| CpuSet::from_iter([core]));
        let asked = Asked { shares, quota, period, memory, cpus };
        if let Ok(given) = plan(&wishes, &asked) {
            prop_assert!((1..=given.max_vcpus).contains(&given.vcpus));
            prop_assert!(given.weight.is_none_or(|weight| (1..=65_535).contains(&weight)));
            prop_assert!(given.max_memory >= given.memory);
            prop_assert!(!pin || given.cpus.is_some_and(|cpus| cpus.len() >= given.vcpus));
        }
    }
}
