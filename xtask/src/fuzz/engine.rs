//! Runs of libFuzzer.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::shell;

/// Seconds for one input: all of them have a few kilobytes.
const TIMEOUT: u32 = 5;
/// Resident memory of the whole process, MiB. What is asked for at once is limited by the fuzzer's own allocator.
const MEMORY: u32 = 512;
/// Largest input that is made, bytes.
const MAX_LENGTH: u32 = 8192;
/// How many lines of a finding are shown.
const SHOWN: usize = 40;

/// How long a target is fuzzed.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    /// So many executions, the same ones every time.
    Runs(u64),
    /// So many seconds, differently every time.
    Seconds(u64),
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::Runs(runs) => write!(f, "{runs} executions"),
            Limit::Seconds(seconds) => write!(f, "{seconds} s"),
        }
    }
}

/// The instrumented program.
#[derive(Debug)]
pub struct Engine {
    pub program: PathBuf,
    /// Where inputs that fail are kept.
    pub findings: PathBuf,
}

/// What came of fuzzing a target.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub executions: u64,
    /// Edges of the program that were taken.
    pub edges: u64,
    /// Those that the corpus takes before anything is changed in it.
    pub edges_of_corpus: u64,
    /// The input that failed.
    pub finding: Option<PathBuf>,
    /// What was said about it.
    pub said: String,
}

impl Engine {
    fn command(&self, target: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.env("MICRUN_FUZZ_TARGET", target).env("RUST_BACKTRACE", "1");
        command.arg(format!("-timeout={TIMEOUT}")).arg(format!("-rss_limit_mb={MEMORY}"));
        command
    }

    /// Changes the inputs of `committed`; new ones go to `fresh`.
    pub fn fuzz(&self, target: &str, committed: &Path, fresh: &Path, limit: Limit) -> Result<Outcome> {
        let mut command = self.command(target);
        command.arg(format!("-max_len={MAX_LENGTH}")).arg("-print_final_stats=1");
        command.arg(format!("-artifact_prefix={}/{target}-", self.findings.display()));
        match limit {
            Limit::Runs(runs) => command.arg(format!("-runs={runs}")).arg("-seed=1"),
            Limit::Seconds(seconds) => command.arg(format!("-max_total_time={seconds}")),
        };
        let output = shell::capture(command.arg(fresh).arg(committed))?;
        let said = String::from_utf8_lossy(&output.stderr);
        let outcome = Outcome::read(&said);
        ensure!(
            outcome.finding.is_some() || (output.status.success() && outcome.edges > 0),
            "libFuzzer did not run `{}`: {}\n{said}",
            shell::line(&command),
            shell::ending(output.status)
        );
        Ok(outcome)
    }

    /// Runs one input, and shows what happens.
    pub fn replay(&self, target: &str, input: &Path) -> Result<()> {
        shell::run(self.command(target).arg(input)).with_context(|| format!("{target} fails with this input"))
    }

    /// Moves those inputs into the corpus that reach what nothing there reaches.
    pub fn keep(&self, target: &str, fresh: &Path, committed: &Path) -> Result<()> {
        shell::quietly(self.command(target).arg("-merge=1").args([committed, fresh]))
    }
}

impl Outcome {
    /// Reads libFuzzer's log: status lines such as `#512 NEW cov: 316 ft: 481 ...`, and what it says at the end.
    fn read(log: &str) -> Self {
        let mut outcome = Outcome::default();
        for line in log.lines() {
            if let Some(edges) = after(line, "cov: ") {
                outcome.edges = edges;
                if outcome.edges_of_corpus == 0 && line.contains("INITED") {
                    outcome.edges_of_corpus = edges;
                }
            }
            if let Some(executions) = after(line, "stat::number_of_executed_units: ") {
                outcome.executions = executions;
            }
            if let Some((_, path)) = line.split_once("Test unit written to ") {
                outcome.finding = Some(path.trim().into());
            }
        }
        if outcome.finding.is_some() {
            outcome.said = what_failed(log);
        }
        outcome
    }
}

/// The number behind a word.
fn after(line: &str, word: &str) -> Option<u64> {
    let rest = line.split_once(word)?.1.trim_start();
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The lines from the failure on, without those of every run.
fn what_failed(log: &str) -> String {
    let noise = |line: &&str| {
        ["#", "INFO:", "WARNING:", "\tNEW_FUNC", "stat::"].iter().any(|start| line.starts_with(start))
    };
    let lines: Vec<&str> = log.lines().filter(|line| !noise(line)).take(SHOWN).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_of_a_good_run_is_read() {
        let log = "INFO: Seed: 1\n#19\tINITED cov: 316 ft: 481 corp: 16/2571b exec/s: 0 rss: 27Mb\n\
                   #22\tNEW    cov: 319 ft: 484 corp: 17/2813b\nDone 20000 runs in 0 second(s)\n\
                   stat::number_of_executed_units: 20000\n";
        let outcome = Outcome::read(log);
        assert_eq!((outcome.executions, outcome.edges, outcome.edges_of_corpus), (20000, 319, 316));
        assert_eq!(outcome.finding, None);
    }

    #[test]
    fn a_finding_is_read() {
        let log = "#19\tINITED cov: 316 ft: 481\nthread '<unnamed>' panicked at src/x.rs:1:2:\nattempt to add with overflow\n\
                   ==1== ERROR: libFuzzer: deadly signal\nartifact_prefix='/f/elf-'; Test unit written to /f/elf-crash-0123\n\
                   stat::number_of_executed_units: 77\n";
        let outcome = Outcome::read(log);
        assert_eq!(outcome.finding.as_deref(), Some(Path::new("/f/elf-crash-0123")));
        assert!(outcome.said.starts_with("thread '<unnamed>' panicked"), "{}", outcome.said);
        assert_eq!(outcome.executions, 77);
    }
}
