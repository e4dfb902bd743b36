//! The line that answers `status`.

/// Longest list of services, bytes.
const SERVICES: usize = 255;
/// Longest line, bytes.
const LINE: usize = 511;
/// Longest name that is shown whole, bytes.
const NAME: usize = 31;

/// The line of a client. A column that is as long as its place leaves no blank before the next.
pub fn line(name: &[u8], cpu: &[u8], state: &str, services: &str) -> Vec<u8> {
    let mut line = Vec::with_capacity(LINE);
    for (text, width) in [(&*shown(name), 30), (cpu, 20), (state.as_bytes(), 20)] {
        line.extend(text);
        line.extend(std::iter::repeat_n(b' ', width.max(text.len()) - text.len()));
    }
    line.extend(&services.as_bytes()[..services.len().min(SERVICES)]);
    line.truncate(LINE);
    line
}

/// The name in its first column: a long one is its first 12 bytes, three dots and its last byte.
fn shown(name: &[u8]) -> Vec<u8> {
    match name.last() {
        Some(last) if name.len() > NAME => [&name[..12], b"...", &[*last]].concat(),
        _ => name.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str, cpu: &str, services: &str) -> String {
        String::from_utf8(line(name.as_bytes(), cpu.as_bytes(), "Running", services)).unwrap()
    }

    #[test]
    fn columns_are_padded() {
        let expected = format!("{:<30}{:<20}{:<20}rpmsg-umt ", "a", "1-3", "Running");
        assert_eq!(text("a", "1-3", "rpmsg-umt "), expected);
        assert_eq!(text("a", "", ""), format!("{:<50}{:<20}", "a", "Running"));
    }

    #[test]
    fn columns_run_together() {
        let name = "n".repeat(31);
        assert!(text(&name, "", "").starts_with(&format!("{name}{:<20}Running", "")));
        let cpus = "1,2,3,4,5,6,7,8,9,10";
        assert_eq!(text("a", cpus, ""), format!("{:<30}{cpus}{:<20}", "a", "Running"));
    }

    #[test]
    fn long_names_are_abbreviated_and_services_cut() {
        assert!(text("abcdefghijklmnopqrstuvwxyz012345", "", "").starts_with("abcdefghijkl...5     "));
        assert_eq!(text("a", "", &"s".repeat(300)).len(), 70 + 255);
        assert_eq!(text("a", &"1".repeat(127), &"s".repeat(300)).len(), 30 + 127 + 20 + 255);
    }
}
