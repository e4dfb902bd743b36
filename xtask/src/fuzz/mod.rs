//! Feeds whatever reads bytes from outside with bytes that may be anything, guided by coverage.
//!
//! The targets and their corpus are recipes-test/fuzz. libFuzzer comes with the crate libfuzzer-sys, and a stable
//! compiler can instrument for it, so nothing but a C++ compiler is needed.
//!
//! - [`build`]: the instrumented program
//! - [`engine`]: one run of libFuzzer, and what it says

mod build;
mod engine;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use micrun_testkit::{Workspace, note, packages, step};

use engine::{Engine, Limit, Outcome};

/// Executions per target in CI: about half a minute for all of them, after the build.
const RUNS: u64 = 30_000;

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  cargo xtask fuzz                         every target, as CI does it\n  \
                        cargo xtask fuzz elf client_conf --minutes 10\n  \
                        cargo xtask fuzz elf --input FILE        run one input once, to see why it fails\n\n\
                        The exit status is 1 if there is a finding: a panic, a promise that is not kept, a hang, or an \
                        allocation by a size that the input merely claims."
)]
pub struct Arguments {
    /// What to fuzz; everything if no target is named. The folders of recipes-test/fuzz/corpus are the targets
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,

    /// Executions of each target
    #[arg(long, value_name = "N", default_value_t = RUNS)]
    runs: u64,

    /// Fuzzes all targets for this long together, instead of a number of executions
    #[arg(long, value_name = "M", conflicts_with = "runs")]
    minutes: Option<u64>,

    /// Adds inputs that reach something new to the committed corpus
    #[arg(long)]
    keep: bool,

    /// Runs this file through the target once, and nothing else
    #[arg(long, value_name = "FILE", conflicts_with_all = ["minutes", "runs", "keep"])]
    input: Option<PathBuf>,
}

/// Fuzzes what the user asks for.
pub fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let known = targets(workspace)?;
    if let Some(unknown) = arguments.targets.iter().find(|name| !known.contains(*name)) {
        bail!("there is no target {unknown}; there are: {}", known.join(", "));
    }
    let chosen = if arguments.targets.is_empty() { &known } else { &arguments.targets };
    match &arguments.input {
        Some(input) => {
            ensure!(arguments.targets.len() == 1, "name the one target that shall read {}", input.display());
            engine(workspace)?.replay(&chosen[0], input)
        }
        None => {
            let limit = match arguments.minutes {
                Some(minutes) => Limit::Seconds((minutes * 60).div_ceil(chosen.len() as u64)),
                None => Limit::Runs(arguments.runs),
            };
            fuzz(workspace, chosen, limit, arguments.keep)
        }
    }
}

/// What CI does: every target, a fixed number of executions from a fixed seed.
pub fn bounded(workspace: &Workspace) -> Result<()> {
    fuzz(workspace, &targets(workspace)?, Limit::Runs(RUNS), false)
}

/// Every target for a share of this time.
pub fn for_minutes(workspace: &Workspace, minutes: u64) -> Result<()> {
    let targets = targets(workspace)?;
    fuzz(workspace, &targets, Limit::Seconds((minutes * 60).div_ceil(targets.len() as u64)), false)
}

fn engine(workspace: &Workspace) -> Result<Engine> {
    packages::ensure("fuzzing", &[&packages::FUZZ])?;
    Ok(Engine { program: build::build(workspace)?, findings: workspace.kit("fuzz-findings")? })
}

fn corpus(workspace: &Workspace) -> PathBuf {
    workspace.root().join("recipes-test/fuzz/corpus")
}

/// Each folder of the corpus has the name of a target; the crate's tests see to that.
fn targets(workspace: &Workspace) -> Result<Vec<String>> {
    let corpus = corpus(workspace);
    let entries = fs::read_dir(&corpus).with_context(|| format!("cannot read {}", corpus.display()))?;
    let folders = entries.flatten().filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> =
        folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    ensure!(!names.is_empty(), "{} has no folders", corpus.display());
    Ok(names)
}

fn fuzz(workspace: &Workspace, targets: &[String], limit: Limit, keep: bool) -> Result<()> {
    let engine = engine(workspace)?;
    step(format_args!("Fuzzing {} targets, {limit} each", targets.len()));
    println!(
        "{:<16} {:>11} {:>7} {:>6} {:>9} {:>8}",
        "target", "executions", "corpus", "edges", "of these*", "findings"
    );
    let mut findings = 0;
    for target in targets {
        let committed = corpus(workspace).join(target);
        let fresh = workspace.kit("fuzz-fresh")?.join(target);
        let outcome = engine.fuzz(target, &committed, &emptied(&fresh)?, limit)?;
        print_row(target, &committed, &outcome)?;
        if let Some(finding) = &outcome.finding {
            findings += 1;
            report(target, finding, &outcome.said);
        }
        if keep {
            engine.keep(target, &fresh, &committed)?;
        }
    }
    println!("* edges that the committed corpus alone reaches");
    ensure!(findings == 0, "{findings} of {} targets have a finding", targets.len());
    Ok(())
}

fn print_row(target: &str, committed: &Path, outcome: &Outcome) -> Result<()> {
    let files =
        fs::read_dir(committed).with_context(|| format!("cannot read {}", committed.display()))?.count();
    let Outcome { executions, edges, edges_of_corpus, finding, .. } = outcome;
    let findings = u32::from(finding.is_some());
    println!("{target:<16} {executions:>11} {files:>7} {edges:>6} {edges_of_corpus:>9} {findings:>8}");
    Ok(())
}

fn report(target: &str, finding: &Path, said: &str) {
    println!("{said}");
    println!("the input:  {}", finding.display());
    println!("to see it:  cargo xtask fuzz {target} --input {}", finding.display());
    note("make it small, give it a name, and put it into recipes-test/fuzz/corpus with its repair");
}

/// A folder with nothing in it, for the inputs that reach something new.
fn emptied(folder: &Path) -> Result<PathBuf> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder.to_owned())
}
