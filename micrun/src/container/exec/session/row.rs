//! What the last line of a console may be: a prompt, an echo, decoration, an error, or just output.

use micrun_image_spec::os::{Matcher, Pattern, Shell};

/// The line as far as it came in, matched with everything that it may become.
#[derive(Debug)]
pub struct Row {
    prompts: Vec<Matcher>,
    errors: Vec<Matcher>,
    decoration: Vec<Matcher>,
    /// How much of the command's echo it is.
    echo: Option<usize>,
    /// It is a prompt, whole, and nothing behind it.
    pub is_prompt: bool,
    /// Nothing is on it.
    pub is_empty: bool,
}

impl Row {
    /// An empty line.
    pub fn begin(shell: &Shell) -> Row {
        let begin = |patterns: &[Pattern]| patterns.iter().map(Pattern::begin).collect();
        Row {
            prompts: begin(&shell.prompts),
            errors: begin(&shell.errors),
            decoration: begin(&shell.decoration),
            echo: Some(0),
            is_prompt: false,
            is_empty: true,
        }
    }

    /// One more byte. The command that is echoed is empty where no echo is awaited.
    pub fn step(&mut self, shell: &Shell, command: &[u8], byte: u8) {
        // The echo stands at the line's beginning, or behind a prompt.
        let echo = if self.is_prompt { Some(0) } else { self.echo };
        self.echo = echo.filter(|at| command.get(*at) == Some(&byte)).map(|at| at + 1);
        step_all(&mut self.errors, &shell.errors, byte);
        step_all(&mut self.decoration, &shell.decoration, byte);
        step_all(&mut self.prompts, &shell.prompts, byte);
        self.is_prompt = accepts(&self.prompts, &shell.prompts);
        self.is_empty = false;
    }

    /// Whether it may be something else than output.
    pub fn may_be_none(&self) -> bool {
        let alive = |matchers: &[Matcher]| matchers.iter().any(|matcher| matcher.is_alive());
        self.echo.is_some() || alive(&self.prompts) || alive(&self.decoration)
    }

    /// It is output, whatever comes.
    pub fn give_up(&mut self) {
        self.echo = None;
        self.is_prompt = false;
        self.prompts.fill(Matcher::DEAD);
        self.decoration.fill(Matcher::DEAD);
    }

    /// Whether the whole of a command of this length has come back.
    pub fn is_echo(&self, length: usize) -> bool {
        self.echo == Some(length)
    }

    /// Whether a part of it has.
    pub fn is_amid_echo(&self, length: usize) -> bool {
        self.echo.is_some_and(|at| (1..length).contains(&at))
    }

    /// Whether it says that the command failed.
    pub fn is_error(&self, shell: &Shell) -> bool {
        accepts(&self.errors, &shell.errors)
    }

    /// Whether the shell writes it with its prompt.
    pub fn is_decoration(&self, shell: &Shell) -> bool {
        accepts(&self.decoration, &shell.decoration)
    }
}

fn step_all(matchers: &mut [Matcher], patterns: &[Pattern], byte: u8) {
    for (matcher, pattern) in matchers.iter_mut().zip(patterns).filter(|(matcher, _)| matcher.is_alive()) {
        *matcher = pattern.step(*matcher, byte);
    }
}

fn accepts(matchers: &[Matcher], patterns: &[Pattern]) -> bool {
    matchers.iter().zip(patterns).any(|(matcher, pattern)| pattern.accepts(*matcher))
}
