//! A board in QEMU that is talked to through its serial port, which is QEMU's own input and output.

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// How long the board may take until it says the next thing that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Dropped, the board is switched off.
pub struct Serial {
    qemu: Child,
    input: ChildStdin,
    output: Receiver<Vec<u8>>,
    seen: String,
    /// Of `seen`, what was waited for already.
    taken: usize,
}

impl Serial {
    /// Switches a board on.
    ///
    /// # Errors
    /// If QEMU cannot be started.
    pub fn start(qemu: &mut Command) -> Result<Self> {
        let pipes = qemu.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut qemu = pipes.spawn().context("cannot start QEMU")?;
        let input = qemu.stdin.take().context("QEMU has no input")?;
        let mut stdout = qemu.stdout.take().context("QEMU has no output")?;
        let (sender, output) = channel();
        // It ends with QEMU, which this is the only reader of.
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stdout.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Ok(Self { qemu, input, output, seen: String::new(), taken: 0 })
    }

    /// Waits for a text and returns what came before it, after what was waited for last.
    ///
    /// # Errors
    /// If it does not come in time, with all that did.
    pub fn expect(&mut self, text: &str) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.seen[self.taken..].find(text) {
                let before = self.seen[self.taken..self.taken + at].to_owned();
                self.taken += at + text.len();
                return Ok(before);
            }
            match self.output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes).replace('\r', "")),
                Err(RecvTimeoutError::Timeout) => {
                    bail!("the board did not say {text:?} in time, but:\n{}", self.seen)
                }
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("QEMU ended before the board said {text:?}:\n{}", self.seen)
                }
            }
        }
    }

    /// Everything so far.
    pub fn seen(&self) -> &str {
        &self.seen
    }

    /// Stops U-Boot before it boots, gives it commands, lets it keep what they set, and lets it boot without a pause from then on.
    ///
    /// # Errors
    /// If it does not come to its prompt.
    pub fn stop_at_prompt(&mut self, commands: &[&str]) -> Result<()> {
        self.expect("Hit any key to stop autoboot")?;
        let quick = ["", "setenv bootdelay 0", "setenv preboot"];
        for command in quick.iter().chain(commands).chain(&["saveenv", "boot"]) {
            if command.is_empty() {
                self.type_line("")?;
                continue;
            }
            self.expect("U-Boot> ")?;
            self.type_line(command)?;
        }
        Ok(())
    }

    fn type_line(&mut self, line: &str) -> Result<()> {
        let typed = self.input.write_all(format!("{line}\n").as_bytes()).and_then(|()| self.input.flush());
        typed.with_context(|| format!("cannot type {line:?}"))
    }
}

impl Drop for Serial {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}
