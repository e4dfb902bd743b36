//! What `xl info` prints: one `key : value` a line.

use micrun_image_spec::units::Mib;

/// The machine under the hypervisor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Physical CPUs. Dom0 itself may see fewer.
    pub cpus: u32,
    /// Memory that no domain has.
    pub free_memory: Mib,
    /// All memory.
    pub total_memory: Mib,
    /// The scheduler of the default pool: `credit2`, `credit`, `null`, `rtds`, `arinc653`.
    pub scheduler: String,
}

/// Reads it. `None` where a key is missing or no number.
pub fn parse(text: &str) -> Option<Info> {
    let value = |key: &str| {
        let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
        pairs.find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim())
    };
    Some(Info {
        cpus: value("nr_cpus")?.parse().ok()?,
        free_memory: Mib(value("free_memory")?.parse().ok()?),
        total_memory: Mib(value("total_memory")?.parse().ok()?),
        scheduler: value("xen_scheduler")?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Printed by Xen 4.20.4-pre on arm64.
    const RECORDED: &str = include_str!("testdata/info-4.20.txt");

    #[test]
    fn the_machine_is_read() {
        let expected =
            Info { cpus: 2, free_memory: Mib(957), total_memory: Mib(2048), scheduler: "credit2".to_owned() };
        assert_eq!(parse(RECORDED), Some(expected));
        assert_eq!(parse("nr_cpus: 2\n"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "([a-z_]{0,12}:? ?[0-9]{0,12}\n?){0,8}") {
            let _ = parse(&text);
        }
    }
}
