//! `explain`: where each value of a container came from, of one that runs or of one that would.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use micrun::bundle::{Bundle, merge_image};
use micrun::config::explanation::{Explained, Ignored};
use micrun::config::node::{self, NodeConfig};
use micrun::config::{Explanation, Merged, given};
use micrun::id::{Id, Key};
use micrun::pedestal::Node;
use micrun::resources::{Asked, Resources};
use micrun::store::{self, Entry, Store};
use serde::Serialize;

use super::CliError;
use super::print::{self, Format, Style, Table};

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ExplainArgs {
    /// A container: ID, or NAMESPACE/ID
    #[arg(required_unless_present_any = ["bundle", "image"])]
    container: Option<String>,
    /// A bundle directory, with config.json and the root file system in place, that was not run yet
    #[arg(long, value_name = "DIR", conflicts_with = "container")]
    bundle: Option<PathBuf>,
    /// The root of an image, with client.conf
    #[arg(long, value_name = "DIR", conflicts_with_all = ["container", "bundle"])]
    image: Option<PathBuf>,
    /// An annotation that the image would be run with; may be given several times
    #[arg(long = "annotation", value_name = "KEY=VALUE", requires = "image", value_parser = annotation)]
    annotations: Vec<(String, String)>,
    /// The node's configuration, with its drop-ins in FILE.d/*.conf, for what was not run yet
    #[arg(long, value_name = "FILE", default_value = node::PATH, conflicts_with = "container")]
    config: PathBuf,
    /// Where shims keep their state
    #[arg(long, value_name = "DIR", default_value = store::ROOT)]
    state: PathBuf,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  micrun explain z1
  micrun explain k8s.io/0a1b2c3d --format json
  micrun explain --bundle /run/containerd/io.containerd.runtime.v2.task/default/z1
  micrun explain --image rootfs --annotation org.openeuler.micrun.board=qemu_arm64

Exit status: 0 explained, 1 there is no such container, or it would be refused: the error says why.";

/// What `--format json` shows.
#[derive(Serialize)]
struct Answer<'a> {
    /// The container; null for what was not run yet.
    container: Option<String>,
    values: &'a [Explained],
    ignored: &'a [Ignored],
}

pub(super) fn run(args: &ExplainArgs) -> Result<ExitCode, CliError> {
    let (container, told) = match &args.container {
        Some(name) => {
            let (key, told) = of_container(&Store::at(&args.state), name)?;
            (Some(key.to_string()), told)
        }
        None => (None, not_run_yet(args)?),
    };
    match args.format {
        Format::Json => {
            print::json(&Answer { container, values: &told.values, ignored: &told.ignored })?;
        }
        Format::Text => io::stdout().write_all(text(&told, Style::of(&io::stdout())).as_bytes())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn annotation(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// The container of this name. An id alone is enough where one namespace has it.
fn of_container(store: &Store, name: &str) -> Result<(Key, Explanation), CliError> {
    let no_id =
        |why: micrun::id::InvalidId| CliError::Container { name: name.to_owned(), why: why.to_string() };
    let (namespace, id) = match name.split_once('/') {
        Some((namespace, id)) => (Some(Id::new(namespace).map_err(no_id)?), id),
        None => (None, name),
    };
    let id = Id::new(id).map_err(no_id)?;
    let mut found = store.all()?;
    found.retain(|(key, _)| {
        key.id == id && namespace.as_ref().is_none_or(|namespace| key.namespace == *namespace)
    });
    let other = |why: String| CliError::Container { name: name.to_owned(), why };
    let (key, entry) = match found.len() {
        0 => return Err(other(format!("there is none in {}", store.root().display()))),
        1 => found.swap_remove(0),
        _ => {
            let keys: Vec<String> = found.iter().map(|(key, _)| key.to_string()).collect();
            return Err(other(format!("there are several; write one of {}", keys.join(", "))));
        }
    };
    match Explanation::load(entry.dir()) {
        Ok(told) => Ok((key, told)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_sandbox(&key, &entry) => {
            let members = store.of_pod(&key.namespace, &key.id).into_iter().map(|(key, _)| key.to_string());
            let members: Vec<String> = members.collect();
            let ask = match members.is_empty() {
                true => "its containers, of which there are none yet".to_owned(),
                false => members.join(", "),
            };
            Err(other(format!("it is the sandbox of a pod, for which nothing is decided; ask for {ask}")))
        }
        Err(error) => {
            let dir = entry.dir().display();
            Err(other(format!("reading where its values come from, in {dir}: {error}")))
        }
    }
}

fn is_sandbox(key: &Key, entry: &Entry) -> bool {
    entry.load().is_some_and(|state| state.pod == key.id && state.guest.is_none())
}

/// The same as Create does, but for making anything.
fn not_run_yet(args: &ExplainArgs) -> Result<Explanation, CliError> {
    let node = NodeConfig::load(&args.config)?;
    let (merged, asked) = match (&args.bundle, &args.image) {
        (Some(dir), _) => {
            let bundle = Bundle::open(dir)?;
            (bundle.merge(&node)?, bundle.asked().clone())
        }
        (None, image) => {
            let annotations: HashMap<String, String> = args.annotations.iter().cloned().collect();
            let root = image.clone().unwrap_or_default();
            (merge_image(&root, &node, &annotations)?, Asked::default())
        }
    };
    let asked = merged.counting(asked);
    let Merged { settings, mut explanation, .. } = merged;
    // On Xen guests can have more than these; which ones is asked of Xen only when they are made.
    let cores = Node::read().map_err(|error| CliError::Boards(error.to_string()))?.cores;
    let resources = Resources::plan(&settings.wishes, &asked, &cores, None)?;
    given::settle(&mut explanation, &asked, &resources);
    Ok(explanation)
}

fn text(told: &Explanation, style: Style) -> String {
    let mut values = Table::with_header(["name", "value", "from", "instead of"]);
    for value in &told.values {
        let losers = value.instead_of.iter().map(|loser| format!("{} ({})", loser.value, loser.origin));
        let losers = losers.collect::<Vec<_>>().join("; ");
        values.row([value.name.clone(), value.value.clone(), value.origin.to_string(), losers]);
    }
    let mut text = values.text(style);
    if !told.ignored.is_empty() {
        let mut ignored = Table::with_header(["ignored", "value", "why"]);
        for it in &told.ignored {
            ignored.row([it.origin.to_string(), it.value.clone(), it.why.clone()]);
        }
        text += &format!("\n{}", ignored.text(style));
    }
    text
}
