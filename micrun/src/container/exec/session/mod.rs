//! One command in a guest's shell, as a state machine without IO: what the guest writes and the clock come in; keys to
//! type, output and the end come out.
//!
//! ```text
//!   begin ──> WAKING ──a prompt, and nothing behind it──> RUNNING ──the same──> done
//!               ^ a new prompt is asked for                  ^ the line is typed; its echo is dropped
//! ```
//!
//! - A prompt is the whole of the last line. It counts when nothing followed it for [`QUIET`], so that a line of output
//!   that merely begins like one does not. Where logs of the guest's other tasks come between, the last prompt counts
//!   after [`GRACE`].
//! - What stands before the echo of the command may be the answer to somebody else's keys; a prompt there counts after
//!   [`GRACE`], too, for the shells that do not echo.
//! - Matching ignores colours. The cursor's way back to the line's beginning begins the line anew: shells write logs
//!   over their prompt and the prompt once more.

use std::time::{Duration, Instant};

use micrun_image_spec::os::Shell;

mod escapes;
mod row;

use escapes::{Escapes, Piece};
use row::Row;

/// How long nothing follows a prompt that is one.
pub const QUIET: Duration = Duration::from_millis(30);

/// How long a prompt stands that something followed, until it counts all the same.
pub const GRACE: Duration = Duration::from_secs(1);

/// How much of a line is kept back while it may become a prompt or an echo, bytes. Longer than any line that is typed.
const LONGEST_ROW: usize = 4096;

/// A command and its guest's shell.
#[derive(Debug)]
pub struct Session {
    shell: Shell,
    line: String,
    /// Output goes to a terminal: colours and CR stay.
    terminal: bool,
    phase: Phase,
    escapes: Escapes,
    /// A carriage return came, and what it means shows in the next byte.
    after_cr: bool,
    row: Row,
    /// Of this row, as long as it may be no output.
    held: Vec<u8>,
    /// An empty row before this one, which belongs to a prompt if one follows.
    blank: Vec<u8>,
    /// When the last prompt was whole.
    prompt: Option<Instant>,
    /// The command's echo has come.
    echoed: bool,
    /// A line said that the command failed.
    failed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Waking,
    Running,
    Done,
}

/// What is to be done when the time has come.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Type this.
    Type(Vec<u8>),
    /// The prompt is back.
    Done {
        /// The shell said that the command failed.
        failed: bool,
    },
}

impl Session {
    /// A command in a shell, and what to type first.
    pub fn begin(shell: Shell, line: String, terminal: bool) -> (Session, Vec<u8>) {
        let fresh = shell.fresh_prompt.as_ref().map(|keys| keys.as_bytes().to_vec());
        let row = Row::begin(&shell);
        let mut session = Session {
            shell,
            line,
            terminal,
            phase: Phase::Waking,
            escapes: Escapes::default(),
            after_cr: false,
            row,
            held: Vec::new(),
            blank: Vec::new(),
            prompt: None,
            echoed: false,
            failed: false,
        };
        let keys = fresh.unwrap_or_else(|| session.run());
        (session, keys)
    }

    /// Takes what the guest wrote, at this time. What of it is the command's goes to `output`.
    pub fn feed(&mut self, bytes: &[u8], now: Instant, output: &mut Vec<u8>) {
        for byte in bytes {
            if self.phase == Phase::Done {
                return;
            }
            match self.escapes.read(*byte) {
                Piece::Padding => {}
                Piece::CarriageReturn => self.after_cr = true,
                Piece::LineFeed => self.end_row(output),
                Piece::Text => self.text(*byte, now, output),
                Piece::Escape => self.keep_escape(*byte, output),
                Piece::Moves => {
                    self.keep_escape(*byte, output);
                    self.after_cr = false;
                    self.begin_anew(output);
                }
            }
        }
    }

    /// When [`Session::on_time`] is due, if nothing comes before.
    pub fn deadline(&self) -> Option<Instant> {
        let counts_soon = self.row.is_prompt && (self.echoed || self.phase == Phase::Waking);
        self.prompt.map(|at| at + if counts_soon { QUIET } else { GRACE })
    }

    /// The deadline has passed.
    pub fn on_time(&mut self, output: &mut Vec<u8>) -> Next {
        match self.phase {
            Phase::Waking => Next::Type(self.run()),
            Phase::Running | Phase::Done => {
                self.phase = Phase::Done;
                self.let_go(output);
                Next::Done { failed: self.failed }
            }
        }
    }

    /// The console is at its end. Says whether the command had failed if its prompt was back.
    pub fn end(&mut self, output: &mut Vec<u8>) -> Option<bool> {
        let done = self.row.is_prompt && self.echoed && self.phase == Phase::Running;
        self.let_go(output);
        self.phase = Phase::Done;
        done.then_some(self.failed)
    }

    /// What to type to a command that is to end now, where the shell listens meanwhile.
    pub fn interrupt(&self) -> Option<Vec<u8>> {
        const CTRL_C: u8 = 0x03;
        (self.phase == Phase::Running && self.shell.ctrl_c).then(|| vec![CTRL_C])
    }

    /// Whether the line was typed.
    pub fn is_typed(&self) -> bool {
        self.phase != Phase::Waking
    }

    fn run(&mut self) -> Vec<u8> {
        self.phase = Phase::Running;
        self.prompt = None;
        self.held.clear();
        self.blank.clear();
        // What is typed stands behind the prompt, which is not written again.
        self.row = Row::begin(&self.shell);
        [self.line.as_bytes(), &[self.shell.line_end.byte()]].concat()
    }

    fn text(&mut self, byte: u8, now: Instant, output: &mut Vec<u8>) {
        if std::mem::take(&mut self.after_cr) {
            self.begin_anew(output);
            self.keep(b"\r", output);
        }
        let echo = if self.awaits_echo() { self.line.as_bytes() } else { &[] };
        self.row.step(&self.shell, echo, byte);
        if self.row.is_prompt {
            self.prompt = Some(now);
        }
        self.keep(&[byte], output);
    }

    fn keep_escape(&mut self, byte: u8, output: &mut Vec<u8>) {
        if self.terminal {
            self.keep(&[byte], output);
        }
    }

    /// Keeps bytes of the row back, if there is reason to.
    fn keep(&mut self, bytes: &[u8], output: &mut Vec<u8>) {
        self.held.extend_from_slice(bytes);
        if self.held.len() > LONGEST_ROW {
            self.row.give_up();
        }
        if !self.row.may_be_none() {
            self.let_go(output);
        }
    }

    fn awaits_echo(&self) -> bool {
        self.phase == Phase::Running && !self.echoed
    }

    /// The row is whole.
    fn end_row(&mut self, output: &mut Vec<u8>) {
        let after_cr = std::mem::take(&mut self.after_cr);
        let line_end: &[u8] = if after_cr && self.terminal { b"\r\n" } else { b"\n" };
        if self.row.is_amid_echo(self.line.len()) {
            // A shell that knows how wide terminals are breaks long lines.
            return self.keep(line_end, output);
        }
        if self.is_echo() {
            return self.on_echo();
        }
        // Behind the echo, a prompt that a line end follows is none; before it, it answers somebody else's keys.
        let strange_prompt = std::mem::take(&mut self.row.is_prompt) && !self.echoed;
        if strange_prompt || self.row.is_decoration(&self.shell) {
            self.held.clear();
            return self.next_row();
        }
        self.failed |= self.row.is_error(&self.shell);
        self.held.extend_from_slice(line_end);
        if self.row.is_empty && self.shell.blank_before_prompt {
            let blank = std::mem::take(&mut self.held);
            self.let_go(output);
            self.blank = blank;
        } else {
            self.let_go(output);
        }
        self.next_row();
    }

    /// The cursor is back at the beginning, and the row is written anew.
    fn begin_anew(&mut self, output: &mut Vec<u8>) {
        if self.row.is_amid_echo(self.line.len()) {
            return;
        }
        if self.is_echo() {
            return self.on_echo();
        }
        if self.row.is_prompt {
            self.held.clear();
        } else {
            self.let_go(output);
        }
        self.next_row();
    }

    fn is_echo(&self) -> bool {
        self.awaits_echo() && self.row.is_echo(self.line.len())
    }

    /// Nothing before the echo was the command's doing.
    fn on_echo(&mut self) {
        self.echoed = true;
        self.failed = false;
        self.prompt = None;
        self.held.clear();
        self.blank.clear();
        self.next_row();
    }

    fn next_row(&mut self) {
        self.row = Row::begin(&self.shell);
    }

    /// What was held is output; but for a prompt.
    fn let_go(&mut self, output: &mut Vec<u8>) {
        if self.phase != Phase::Waking && !self.row.is_prompt {
            output.append(&mut self.blank);
            output.append(&mut self.held);
        }
        self.blank.clear();
        self.held.clear();
    }
}

#[cfg(test)]
mod tests;
