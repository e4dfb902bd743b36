//! kubectl as a program: it knows the cluster, the credentials and the right patch for each kind of object.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::Arguments;

/// What kubectl is started with each time.
pub struct Kubectl {
    options: Vec<String>,
}

/// A command that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be started, or its input not be handed over.
    #[error("cannot run kubectl: {0}")]
    Run(#[from] std::io::Error),
    /// It says why, in its own words.
    #[error("kubectl {command}: {said}")]
    Failed {
        /// Its first words.
        command: String,
        /// The last line of what it said.
        said: String,
    },
    /// It printed something else than JSON.
    #[error("kubectl {0} printed no JSON")]
    NoJson(String),
}

impl Kubectl {
    /// With the user's options.
    pub fn new(arguments: &Arguments) -> Kubectl {
        let given = [
            ("--namespace", &arguments.namespace),
            ("--context", &arguments.context),
            ("--kubeconfig", &arguments.kubeconfig),
        ];
        let given =
            given.into_iter().filter_map(|(option, value)| Some(format!("{option}={}", value.as_ref()?)));
        Kubectl { options: given.collect() }
    }

    /// What a command prints.
    ///
    /// # Errors
    ///
    /// What it says when it fails.
    pub fn text(&self, arguments: &[&str]) -> Result<String, Error> {
        self.run(arguments, None)
    }

    /// The same for one that reads something.
    ///
    /// # Errors
    ///
    /// What it says when it fails.
    pub fn feed(&self, arguments: &[&str], input: &str) -> Result<String, Error> {
        self.run(arguments, Some(input))
    }

    /// What a command prints with `-o json`; `None` where it prints nothing.
    ///
    /// # Errors
    ///
    /// What it says when it fails.
    pub fn json(&self, arguments: &[&str]) -> Result<Option<Value>, Error> {
        let text = self.text(&[arguments, &["-o", "json"]].concat())?;
        if text.trim().is_empty() {
            return Ok(None);
        }
        serde_json::from_str(&text).map(Some).map_err(|_| Error::NoJson(arguments.join(" ")))
    }

    fn run(&self, arguments: &[&str], input: Option<&str>) -> Result<String, Error> {
        let mut command = Command::new("kubectl");
        // The command's own options win: objects can name their namespace.
        command.args(&arguments[..1]).args(&self.options).args(&arguments[1..]);
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
            // kubectl reads all of it before it says anything. One that gives up early says why.
            let _ = stdin.write_all(input.as_bytes());
        }
        let output = child.wait_with_output()?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let lines = || said.lines().filter(|line| !line.trim().is_empty());
        // Warnings come before it.
        let error = lines().rfind(|line| line.starts_with("error") || line.starts_with("Error"));
        let said = error.or(lines().next_back()).unwrap_or("no reason given");
        let said = said.trim_start_matches("error: ").to_owned();
        Err(Error::Failed { command: arguments.join(" "), said })
    }
}
