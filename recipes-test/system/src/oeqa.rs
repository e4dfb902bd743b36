//! The cases that OpenEmbedded's `testimage` runs on an image, run on this node: by OpenEmbedded's own framework, where a
//! clone of it is at hand, through the node's agent instead of ssh.

use std::io::{BufRead, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use micrun_testkit::Workspace;
use micrun_testkit::firmware::OURS_XEN;
use micrun_testkit::node::Said;

use crate::stage::{Driver, Stage, Story};

/// Names the folder with clones of OpenEmbedded's layers, as for `cargo xtask test layer`.
pub const CLONES: &str = "MICRUN_OE_LAYERS";

/// The packages whose content the node has, by the names of their recipes; cases of others are skipped.
const PACKAGES: [&str; 3] = ["containerd", "micrun", "micrun-import"];

/// Those that have to pass here: a case that is skipped by mistake is a mistake.
const PASSED: [&str; 7] = [
    "micrun.MicrunNodeTest.test_node_answers",
    "micrun.MicrunNodeTest.test_shim_answers",
    "micrun.MicrunNodeTest.test_containerd_answers",
    "micrun.MicrunNodeTest.test_check_finds_nothing_wrong",
    "micrun.MicrunImagesTest.test_images_are_imported_and_pinned",
    "micrun.MicrunGuestTest.test_guest_answers_and_powers_off",
    "micrun.MicrunGuestTest.test_guest_is_stopped",
];

pub fn stories() -> Vec<Story> {
    vec![Story { name: "the cases that testimage runs pass on this node", drivers: Driver::ALL, tell: cases }]
}

/// Whether there is a framework to run them with.
pub fn is_here() -> bool {
    std::env::var_os(CLONES).is_some()
}

fn cases(stage: &mut Stage<'_>) -> Result<()> {
    let mut framework = start()?;
    let answers = framework.stdin.take().context("the framework has no stdin")?;
    let requests = framework.stdout.take().context("the framework has no stdout")?;
    let told = serve(stage, BufReader::new(requests), answers);
    let status = framework.wait().context("cannot wait for the framework")?;
    let told = told?;
    ensure!(status.success(), "the framework ended with {status}");
    stage.node.remark(&format!("what the cases came to:\n{}", told.join("\n")));
    for name in PASSED {
        ensure!(told.iter().any(|line| *line == format!("passed {name}")), "{name} did not pass: {told:#?}");
    }
    ensure!(!told.iter().any(|line| line.starts_with("failed")), "cases failed: {told:#?}");
    Ok(())
}

fn start() -> Result<Child> {
    let clones = PathBuf::from(std::env::var_os(CLONES).context("there is no framework")?);
    let ours = Workspace::find()?.root().join("recipes-test");
    let libraries = [clones.join("openembedded-core/meta/lib"), clones.join("bitbake/lib")];
    let libraries = std::env::join_paths(libraries).context("a clone's path holds a colon")?;
    let mut python = Command::new("python3");
    python.arg(ours.join("system/oeqa/run.py")).arg(ours.join("lib/oeqa/runtime/cases"));
    python.arg(format!("MICRUN_TEST_GUEST={}", OURS_XEN.image())).arg(PACKAGES.join(","));
    python.env("PYTHONPATH", libraries).env("PYTHONDONTWRITEBYTECODE", "1");
    python.stdin(Stdio::piped()).stdout(Stdio::piped());
    python.spawn().context("cannot start python3")
}

/// Runs what the cases ask for, and returns what became of each.
fn serve(stage: &Stage<'_>, requests: impl BufRead, mut answers: ChildStdin) -> Result<Vec<String>> {
    let mut told = Vec::new();
    for line in requests.lines() {
        let line = line.context("cannot read what the framework asks")?;
        match line.split_once(' ') {
            Some(("run", command)) => {
                let Said { status, stdout, stderr } = stage.node.try_run(&["sh", "-c", command])?;
                // As over ssh: one stream.
                let output = format!("{stdout}{stderr}");
                let status = status.code().unwrap_or(255);
                write!(answers, "{status} {}\n{output}", output.len()).context("the framework is gone")?;
                answers.flush().context("the framework is gone")?;
            }
            Some(("passed" | "skipped" | "failed", _)) => told.push(line),
            _ => bail!("the framework said {line:?}"),
        }
    }
    Ok(told)
}
