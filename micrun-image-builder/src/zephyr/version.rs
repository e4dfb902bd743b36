//! Zephyr's version, from the header that its build generates.

/// The text of `KERNEL_VERSION_STRING` in `version.h`.
pub fn kernel_version(header: &str) -> Option<String> {
    let text = header.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let is_it = words.next() == Some("#define") && words.next() == Some("KERNEL_VERSION_STRING");
        words.next().filter(|_| is_it)
    })?;
    plausible(text.strip_prefix('"')?.strip_suffix('"')?)
}

/// The text if it can be a version: nothing else shall stand in an image under that name.
pub(super) fn plausible(text: &str) -> Option<String> {
    const MAX: usize = 64;
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-+_~".contains(&b));
    let good = text.len() <= MAX && plain && text.starts_with(|c: char| c.is_ascii_digit());
    good.then(|| text.to_owned())
}
