//! What a line looks like: text, in which a star stands for anything.

use std::fmt;
use std::str::FromStr;

use crate::text::{excerpt, serde_as_string};

/// A pattern of a whole line. It is matched byte by byte as a line comes in, without keeping the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

/// Text that is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no pattern of a line: write 1 to {max} characters without control characters, `*` for any text, \
     and not stars alone",
    max = Pattern::MAX_LEN
)]
pub struct PatternError(String);

/// How far a line has matched a pattern: the places that it can have come to, a bit for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matcher(u128);

impl Pattern {
    /// Longest pattern, bytes: a place before each byte and one at the end fit into 128 bits.
    pub const MAX_LEN: usize = 127;

    const STAR: u8 = b'*';

    /// The beginning of a line.
    pub fn begin(&self) -> Matcher {
        Matcher(self.reached(0))
    }

    /// After one more byte of the line.
    pub fn step(&self, matcher: Matcher, byte: u8) -> Matcher {
        let (mut places, mut next) = (matcher.0, 0);
        while places != 0 {
            let place = places.trailing_zeros() as usize;
            places &= places - 1;
            match self.0.as_bytes().get(place) {
                Some(&Pattern::STAR) => next |= self.reached(place),
                Some(&wanted) if wanted == byte => next |= self.reached(place + 1),
                _ => {}
            }
        }
        Matcher(next)
    }

    /// Whether the line, as far as it came in, is one of this pattern.
    pub fn accepts(&self, matcher: Matcher) -> bool {
        matcher.0 & (1 << self.0.len()) != 0
    }

    /// Whether a whole line is one of this pattern.
    pub fn matches(&self, line: &[u8]) -> bool {
        self.accepts(line.iter().fold(self.begin(), |matcher, byte| self.step(matcher, *byte)))
    }

    /// Whether it ends with a star.
    pub(super) fn ends_openly(&self) -> bool {
        self.0.as_bytes().last() == Some(&Pattern::STAR)
    }

    /// A place, and those behind its stars: each may stand for nothing.
    fn reached(&self, place: usize) -> u128 {
        let stars = self.0.bytes().skip(place).take_while(|byte| *byte == Pattern::STAR).count();
        (place..=place + stars).fold(0, |places, place| places | 1 << place)
    }
}

impl Matcher {
    /// Whether the line can still become one of the pattern.
    pub fn is_alive(self) -> bool {
        self.0 != 0
    }

    /// A line that can be none any more.
    pub const DEAD: Matcher = Matcher(0);
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = text.len() <= Pattern::MAX_LEN
            && !text.chars().any(char::is_control)
            && text.bytes().any(|byte| byte != Pattern::STAR);
        if good { Ok(Pattern(text.to_owned())) } else { Err(PatternError(excerpt(text))) }
    }
}

serde_as_string!(Pattern);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_star_is_any_text() {
        let table = [
            ("nsh> ", "nsh> ", true),
            ("nsh> ", "nsh>", false),
            ("nsh> ", "nsh> l", false),
            ("*: command not found", "nosuch: command not found", true),
            ("*: command not found", ": command not found", true),
            ("*: command not found", "nosuch: command not found.", false),
            ("msh */>", "msh />", true),
            ("msh */>", "msh /bin/>/>", true),
            ("msh */>", "msh ", false),
            ("a**b", "a-b", true),
            ("*a*", "bab", true),
            ("*a*", "b", false),
        ];
        for (text, line, expected) in table {
            assert_eq!(pattern(text).matches(line.as_bytes()), expected, "{text} {line}");
        }
    }

    #[test]
    fn a_line_is_given_up_as_soon_as_it_can_be_none() {
        let prompt = pattern("=> ");
        let first = prompt.step(prompt.begin(), b'=');
        assert!(first.is_alive() && !prompt.accepts(first));
        assert_eq!(prompt.step(first, b'='), Matcher::DEAD);
    }

    #[test]
    fn what_is_no_pattern() {
        for bad in ["", "*", "**", "a\n", "\u{1b}[m", &"x".repeat(128)] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad:?}");
        }
        assert!(pattern(&"x".repeat(127)).matches(&[b'x'; 127]));
    }

    /// The obvious way, on a whole line.
    fn slow(pattern: &[u8], line: &[u8]) -> bool {
        match (pattern.split_first(), line.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => {
                slow(rest, line) || line.split_first().is_some_and(|(_, line)| slow(pattern, line))
            }
            (Some((wanted, rest)), Some((byte, line))) => wanted == byte && slow(rest, line),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn byte_by_byte_is_the_same_as_at_once(text in "[ab*]{0,7}[ab]", line in "[ab]{0,10}") {
            prop_assert_eq!(pattern(&text).matches(line.as_bytes()), slow(text.as_bytes(), line.as_bytes()));
        }
    }
}
