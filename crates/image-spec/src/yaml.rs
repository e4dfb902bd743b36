//! What keeps reading YAML linear. The scanner looks at every bracket that is open for each token that it reads: a
//! text of nothing but open brackets takes it quadratic time, seconds for 64 KiB.

/// Most brackets that may be open at once.
pub const MAX_OPEN_BRACKETS: u32 = 64;

/// The line, counted from 1, at which more than [`MAX_OPEN_BRACKETS`] are open; None for a text that can be read.
/// Brackets in texts and remarks count too: nobody writes that many.
pub fn too_many_brackets(text: &str) -> Option<usize> {
    let mut open = 0u32;
    let mut opens_too_many = |byte| {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        open > MAX_OPEN_BRACKETS
    };
    text.lines().position(|line| line.bytes().any(&mut opens_too_many)).map(|index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_is_open() {
        let deep = |count| format!("a:\n{}", "[{".repeat(count));
        assert_eq!(too_many_brackets(&deep(32)), None);
        assert_eq!(too_many_brackets(&deep(33)), Some(2));
        assert_eq!(too_many_brackets(&"[a, {b: c}]\n".repeat(1000)), None);
        assert_eq!(too_many_brackets("]]]\n"), None);
    }
}
