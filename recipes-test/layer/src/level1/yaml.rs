//! Every file in YAML can be read as such.

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::{Workspace, note};
use serde::Deserialize as _;
use serde_yaml::{Deserializer, Value};

use super::Check;
use crate::tracked::{text, tracked};

/// What is broken on purpose.
const CORPUS: &str = "recipes-test/fuzz/corpus/";

pub fn checks() -> Vec<Check> {
    vec![Check { name: "YAML: every file can be read", run: readable }]
}

fn readable(workspace: &Workspace) -> Result<()> {
    let is_yaml = |file: &String| file.ends_with(".yml") || file.ends_with(".yaml");
    let is_meant = |file: &String| is_yaml(file) && !file.starts_with(CORPUS);
    let files: Vec<String> = tracked(workspace)?.into_iter().filter(is_meant).collect();
    ensure!(!files.is_empty(), "there are no files in YAML");
    for file in &files {
        for document in Deserializer::from_str(&text(workspace, file)?) {
            Value::deserialize(document).with_context(|| file.clone())?;
        }
    }
    note(format_args!("{} files", files.len()));
    Ok(())
}
