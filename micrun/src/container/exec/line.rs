//! From a command's arguments to the one line that is typed.

use micrun_image_spec::os::Quoting;

/// Longest line that is typed, bytes. Most shells read fewer: Zephyr's 256, the NuttShell 64.
const MAX_LINE: usize = 1024;

/// Arguments that no line of a guest's shell can hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// There is nothing to type.
    #[error("the command is empty: name one of the guest's own, such as `help`")]
    Empty,
    /// A control character would be a key.
    #[error("the argument {0:?} holds a control character, which the guest's shell would take for a key")]
    Control(String),
    /// A word with a blank and a quote in it.
    #[error("the argument {0:?} holds blanks and a quote, which the guest's shell cannot keep apart")]
    Quote(String),
    /// More than any shell reads.
    #[error("the command has {0} bytes; at most {MAX_LINE} are typed")]
    Long(usize),
}

/// Joins words by blanks. One that has blanks itself is quoted where the shell can do that, and else stands as it is:
/// a shell without quotes takes the rest of its line as it comes.
///
/// # Errors
///
/// [`LineError`].
pub fn line(words: &[String], quoting: Quoting) -> Result<String, LineError> {
    let words = words.iter().map(|text| word(text, quoting)).collect::<Result<Vec<_>, _>>()?;
    let line = words.join(" ");
    match line.trim().len() {
        0 => Err(LineError::Empty),
        _ if line.len() > MAX_LINE => Err(LineError::Long(line.len())),
        _ => Ok(line),
    }
}

fn word(text: &str, quoting: Quoting) -> Result<String, LineError> {
    if text.chars().any(char::is_control) {
        return Err(LineError::Control(text.to_owned()));
    }
    let one_word = !text.is_empty() && !text.contains(' ');
    match quoting {
        Quoting::Double if one_word => Ok(text.to_owned()),
        Quoting::Double if text.contains('"') => Err(LineError::Quote(text.to_owned())),
        Quoting::Double => Ok(format!("\"{text}\"")),
        Quoting::None => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(words: &[&str], quoting: Quoting) -> Result<String, LineError> {
        line(&words.iter().map(ToString::to_string).collect::<Vec<_>>(), quoting)
    }

    #[test]
    fn the_table() {
        let table: [(&[&str], Quoting, &str); 7] = [
            (&["kernel", "version"], Quoting::Double, "kernel version"),
            (&["kernel version"], Quoting::None, "kernel version"),
            (&["kernel version"], Quoting::Double, "\"kernel version\""),
            (&["set", "a", "two words"], Quoting::Double, "set a \"two words\""),
            (&["set", "a", ""], Quoting::Double, "set a \"\""),
            (&["echo", "two  blanks"], Quoting::None, "echo two  blanks"),
            (&["echo", "\"x\";help"], Quoting::Double, "echo \"x\";help"),
        ];
        for (words, quoting, expected) in table {
            assert_eq!(typed(words, quoting).as_deref(), Ok(expected), "{words:?}");
        }
    }

    #[test]
    fn what_cannot_be_typed() {
        assert_eq!(typed(&[], Quoting::None), Err(LineError::Empty));
        assert_eq!(typed(&[" "], Quoting::None), Err(LineError::Empty));
        for key in ["a\nb", "a\rb", "\x03", "\t", "\x7f", "\x1b[A"] {
            assert_eq!(typed(&["x", key], Quoting::Double), Err(LineError::Control(key.to_owned())));
        }
        assert!(matches!(typed(&["say \"x\""], Quoting::Double), Err(LineError::Quote(_))));
        assert_eq!(typed(&["x".repeat(1025).as_str()], Quoting::None), Err(LineError::Long(1025)));
    }
}
