//! Each kas file by itself, and what all of them have to keep to.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::{Workspace, note};
use serde_json::Value;

use super::Resolver;
use crate::level1::Check;
use crate::tracked::{self, tracked};

/// The first version of the format that knows locks.
const VERSION: u64 = 14;
/// What every file builds for, unless a product says otherwise.
const DISTRO: &str = "micrun";
/// What can be added to a board's file, and what comes of it: an image, and the update to it.
const OPTIONS: [(&str, &[&str]); 4] = [
    ("kas/include/development.yml", &["micrun-image", BUNDLE]),
    ("kas/include/k3s.yml", &["micrun-image", BUNDLE]),
    ("kas/include/debug.yml", &["micrun-image-dev", BUNDLE]),
    ("kas/include/test.yml", &["micrun-image-test"]),
];
const BUNDLE: &str = "micrun-bundle";
/// The image that a bundle carries without a word on it.
const IN_BUNDLE: &str = "micrun-image";

pub fn checks() -> Vec<Check> {
    vec![
        Check { name: "kas: each file is valid, and says what it must", run: valid },
        Check { name: "kas: each board is complete, and every layer locked", run: boards },
        Check { name: "kas: each option goes with each board", run: options },
    ]
}

/// All but the locks, which kas writes.
fn files(workspace: &Workspace) -> Result<Vec<String>> {
    let is_ours =
        |file: &String| file.starts_with("kas/") && file.ends_with(".yml") && !file.ends_with(".lock.yml");
    Ok(tracked(workspace)?.into_iter().filter(is_ours).collect())
}

/// Those that build something by themselves.
fn tops(workspace: &Workspace) -> Result<Vec<String>> {
    let is_top = |file: &String| Path::new(file).parent() == Some(Path::new("kas"));
    Ok(files(workspace)?.into_iter().filter(is_top).collect())
}

fn valid(workspace: &Workspace) -> Result<()> {
    let files = files(workspace)?;
    ensure!(!files.is_empty(), "there are no kas files");
    for file in &files {
        let value: Value = tracked::yaml(workspace, file)?;
        let version = value["header"]["version"].as_u64().unwrap_or_default();
        ensure!(version >= VERSION, "{file}: header.version is {version}, but locks need {VERSION}");
        for (name, repo) in entries(&value["repos"]) {
            ensure!(repo["commit"].is_null(), "{file}: {name} names a commit: `kas lock` would pass it over");
            let is_tracked = repo["url"].is_null() || repo["branch"].is_string();
            ensure!(
                is_tracked,
                "{file}: {name} has no branch: it would be whatever its default is on that day"
            );
        }
        ensure!(
            value["defaults"].is_null(),
            "{file}: `defaults` would hold for a product's own repositories, too"
        );
    }
    let tops = tops(workspace)?;
    for file in &tops {
        let value: Value = tracked::yaml(workspace, file)?;
        ensure!(value["distro"] == DISTRO, "{file} does not set distro: {DISTRO}");
    }
    note(format_args!("{} files, {} of them for a board", files.len(), tops.len()));
    Ok(())
}

fn boards(workspace: &Workspace) -> Result<()> {
    let resolver = Resolver::new(workspace)?;
    let mut used = BTreeSet::new();
    let mut locked = BTreeSet::new();
    for file in tops(workspace)? {
        let config = resolver.resolve(workspace.root(), &file)?;
        for key in ["machine", "distro"] {
            ensure!(config[key].is_string(), "{file} sets no {key}");
        }
        ensure!(
            targets(&config).contains(&"micrun-image"),
            "{file} builds no micrun-image: {}",
            config["target"]
        );
        used.extend(complete(&config).with_context(|| file.clone())?);
        locked.extend(entries(&config["overrides"]["repos"]).map(|(name, _)| name.clone()));
        note(format_args!("{file}: {}, {} layers", config["machine"], layers(&config)));
    }
    let idle: Vec<&String> = locked.difference(&used).collect();
    ensure!(idle.is_empty(), "the lock holds what no file uses: {idle:?}");
    Ok(())
}

/// What it fetches; all of it at a commit.
fn complete(config: &Value) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for (name, repo) in entries(&config["repos"]) {
        if repo["url"].is_null() {
            continue;
        }
        let commit = config["overrides"]["repos"][name]["commit"].as_str().unwrap_or_default();
        let is_commit = commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
        ensure!(is_commit, "{name} is not locked: see kas/README.md, \"New commits\"");
        ensure!(entries(&repo["layers"]).next().is_some(), "{name} names no layer");
        names.push(name.clone());
    }
    Ok(names)
}

fn options(workspace: &Workspace) -> Result<()> {
    let resolver = Resolver::new(workspace)?;
    for file in tops(workspace)? {
        let alone = resolver.resolve(workspace.root(), &file)?;
        for (option, wanted) in OPTIONS {
            let both = resolver.resolve(workspace.root(), &format!("{file}:{option}"))?;
            complete(&both).with_context(|| format!("{file}:{option}"))?;
            ensure!(targets(&both) == wanted, "{file}:{option} builds {}, not {wanted:?}", both["target"]);
            ensure!(
                !wanted.contains(&BUNDLE) || in_bundle(&both) == wanted[0],
                "{file}:{option} builds {} and a bundle with {}",
                wanted[0],
                in_bundle(&both)
            );
            for key in ["machine", "distro"] {
                ensure!(both[key] == alone[key], "{option} changes the {key} of {file}");
            }
            for (name, text) in entries(&alone["local_conf_header"]) {
                ensure!(&both["local_conf_header"][name] == text, "{option} overwrites `{name}` of {file}");
            }
        }
    }
    Ok(())
}

/// The image that the bundle carries.
fn in_bundle(config: &Value) -> &str {
    let lines =
        entries(&config["local_conf_header"]).filter_map(|(_, text)| text.as_str()).flat_map(str::lines);
    let set = lines.filter_map(|line| line.strip_prefix("MICRUN_BUNDLE_IMAGE = \"")?.strip_suffix('"'));
    set.last().unwrap_or(IN_BUNDLE)
}

fn targets(config: &Value) -> Vec<&str> {
    match &config["target"] {
        Value::String(one) => vec![one],
        several => several.as_array().into_iter().flatten().filter_map(Value::as_str).collect(),
    }
}

fn layers(config: &Value) -> usize {
    let of_repo = |(_, repo): (&String, &Value)| {
        entries(&repo["layers"]).filter(|(_, use_it)| *use_it != "disabled").count()
    };
    entries(&config["repos"]).map(of_repo).sum()
}

fn entries(map: &Value) -> impl Iterator<Item = (&String, &Value)> {
    map.as_object().into_iter().flatten()
}
