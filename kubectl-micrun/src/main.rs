//! `kubectl micrun`: rollouts of RTOS guests that never leave a machine uncontrolled for want of an image.
//!
//! A guest's old pod ends before the new one pulls its image, since both want the same cores (`maxSurge: 0`). So every node
//! pulls and verifies the new image first, in a pod that runs no guest; a rollout that does not come to its end is taken back.
//!
//! - [`manifest`]: what the file asks for: workloads and their images.
//! - [`prepare`]: the DaemonSet that has every node pull and verify.
//! - [`rollout`]: the order of things, and the way back.
//! - [`kubectl`]: every word with the cluster, through kubectl: its contexts, credentials and plugins are the user's own.
//!
//! Exit status: 0 done; 1 nothing was changed; 2 the command line makes no sense; 3 it was taken back, and the version before runs;
//! 4 it was neither finished nor taken back: somebody has to look.

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

mod kubectl;
mod manifest;
mod prepare;
mod rollout;

use kubectl::Kubectl;
use manifest::Manifest;

/// Rolls RTOS guests out, prepared on every node and taken back where they do not come up.
#[derive(Parser)]
#[command(name = "kubectl-micrun", bin_name = "kubectl micrun", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  kubectl micrun rollout -f motor.yaml
  kubectl micrun rollout -k overlays/plant --timeout 10m --prepare-timeout 30m
  kubectl micrun rollout -f motor.yaml --dry-run=server
  kubectl micrun prepare -f motor.yaml        # now; the rollout in the maintenance window

Exit status: 0 done, 1 nothing was changed, 2 the command line makes no sense, 3 taken back: the version before runs,
4 neither finished nor taken back: somebody has to look.";

#[derive(Subcommand)]
enum Command {
    /// Prepare the images on every node, apply, wait, and undo what does not come up
    Rollout(Arguments),
    /// Only have every node pull and verify the images
    Prepare(Arguments),
}

#[derive(Args)]
struct Arguments {
    /// The manifest; its images are named by digest
    #[arg(short, long, value_name = "FILE", required_unless_present = "kustomize")]
    filename: Option<String>,
    /// A kustomization in place of a file
    #[arg(short, long, value_name = "DIR", conflicts_with = "filename")]
    kustomize: Option<String>,
    /// How long each workload may take to roll out, and to go back
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = seconds)]
    timeout: u64,
    /// How long pulling and verifying may take on all nodes together
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = seconds)]
    prepare_timeout: u64,
    /// Show what would be done: `client` asks nobody, `server` has the cluster check it
    #[arg(long, value_name = "WHO", value_enum)]
    dry_run: Option<DryRun>,
    /// The namespace of objects that name none
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    /// kubectl's context
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// kubectl's configuration
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<String>,
}

/// Who is asked what would happen.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DryRun {
    /// Nobody.
    Client,
    /// The cluster, which changes nothing.
    Server,
}

/// Seconds, or with a suffix s, m or h.
fn seconds(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3600),
        _ => (text, 1),
    };
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    number.filter(|number| *number > 0).ok_or_else(|| "write 90s, 5m or 1h".to_owned())
}

/// What went wrong, and in which state the cluster is now.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// As before.
    #[error("{0}; nothing was changed")]
    Unchanged(String),
    /// The new version came up nowhere or not everywhere; the one before runs.
    #[error("{0}; it was taken back, and the version before runs")]
    TakenBack(String),
    /// Anything can be.
    #[error("{0}; somebody has to look")]
    Open(String),
}

impl Failure {
    fn status(&self) -> u8 {
        match self {
            Failure::Unchanged(_) => 1,
            Failure::TakenBack(_) => 3,
            Failure::Open(_) => 4,
        }
    }
}

fn main() -> ExitCode {
    let (arguments, only_prepare) = match Cli::parse().command {
        Command::Rollout(arguments) => (arguments, false),
        Command::Prepare(arguments) => (arguments, true),
    };
    match run(&arguments, only_prepare) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.status())
        }
    }
}

fn run(arguments: &Arguments, only_prepare: bool) -> Result<(), Failure> {
    let kubectl = Kubectl::new(arguments);
    let text = match (&arguments.filename, &arguments.kustomize) {
        (_, Some(dir)) => {
            kubectl.text(&["kustomize", dir]).map_err(|error| Failure::Unchanged(error.to_string()))?
        }
        (Some(file), None) => std::fs::read_to_string(file)
            .map_err(|error| Failure::Unchanged(format!("cannot read {file}: {error}")))?,
        // clap asks for one of them.
        (None, None) => String::new(),
    };
    let mut manifest = Manifest::read(text).map_err(|error| Failure::Unchanged(error.to_string()))?;
    if arguments.dry_run != Some(DryRun::Client) {
        manifest.keep_guests(&kubectl).map_err(|error| Failure::Unchanged(error.to_string()))?;
    }
    manifest.check().map_err(|error| Failure::Unchanged(error.to_string()))?;
    if let Some(who) = arguments.dry_run {
        return dry_run(who, &kubectl, &manifest).map_err(|error| Failure::Unchanged(error.to_string()));
    }
    prepare::all(&kubectl, &manifest, arguments.prepare_timeout).map_err(Failure::Unchanged)?;
    if only_prepare {
        return Ok(());
    }
    rollout::run(&kubectl, &manifest, arguments.timeout)
}

/// Prints what would be applied, or has the cluster check it.
fn dry_run(who: DryRun, kubectl: &Kubectl, manifest: &Manifest) -> Result<(), kubectl::Error> {
    for workload in &manifest.workloads {
        let daemon_set = prepare::daemon_set(workload).to_string();
        match who {
            DryRun::Client => println!("{daemon_set}"),
            DryRun::Server => {
                print!("{}", kubectl.feed(&["create", "--dry-run=server", "-f", "-"], &daemon_set)?);
            }
        }
    }
    match who {
        DryRun::Client => print!("---\n{}", manifest.text),
        DryRun::Server => {
            print!("{}", kubectl.feed(&["apply", "--dry-run=server", "-f", "-"], &manifest.text)?)
        }
    }
    Ok(())
}

/// Tells what happens now, on one line.
fn tell(text: impl std::fmt::Display) {
    eprintln!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_kubectl_has_them() {
        let good = [("90", 90), ("90s", 90), ("5m", 300), ("1h", 3600)];
        for (text, expected) in good {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for text in ["", "s", "0s", "-1", "5d", "soon", "99999999999999999999m"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }
}
