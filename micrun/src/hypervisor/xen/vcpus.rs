//! The table that `xl vcpu-list` prints.

use crate::resources::CpuSet;

/// The cores that the virtual CPUs of a domain may run on, read off its table. `None` where one of them may run on any,
/// or where there is none.
///
/// Columns: name, number, virtual CPU, core, state, seconds, hard affinity, a slash, soft affinity.
pub fn hard_affinity(text: &str) -> Option<CpuSet> {
    let mut all = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace().rev();
        let (_soft, slash, hard) = (words.next(), words.next(), words.next());
        let (Some(hard), Some("/")) = (hard, slash) else { continue };
        let core = words.nth(2);
        // The heading ends in a parenthesis; a virtual CPU that is off has no core.
        if hard.starts_with('(') || core == Some("-") {
            continue;
        }
        let cores: CpuSet = hard.parse().ok()?;
        all.extend(cores.iter());
    }
    Some(CpuSet::from_iter(all)).filter(|cores| !cores.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEAD: &str =
        "Name                                ID  VCPU   CPU State   Time(s) Affinity (Hard / Soft)\n";

    #[test]
    fn the_cores_of_a_pinned_domain_are_known() {
        let table = |rows: &str| hard_affinity(&format!("{HEAD}{rows}")).map(|cores| cores.to_string());
        let pinned = "Domain-0        0     0    0   r--      12.3  0 / all\nDomain-0     0  1  1  -b-  7.0  1-2 / 0-3\n";
        assert_eq!(table(pinned).as_deref(), Some("0-2"));
        assert_eq!(table("Domain-0        0     0    1   r--      12.3  all / all\n"), None);
        assert_eq!(
            table("Domain-0 0 0 0 r-- 1.0 0 / all\nDomain-0 0 1 - --p 0.0 all / all\n").as_deref(),
            Some("0")
        );
        assert_eq!(table(""), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "([A-Za-z0-9-]{0,8} ?/? ?){0,12}\n?") {
            let _ = hard_affinity(&text);
        }
    }
}
