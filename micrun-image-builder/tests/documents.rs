//! What the documents say about the command line: its commands and options exist, and so do the files that are linked.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use support::{builder, stdout};

const PROGRAM: &str = "micrun-image-builder ";

/// Every document for people, in two languages.
fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found: Vec<_> =
        ["README.md", "README.zh-CN.md", "CHANGELOG.md", "CONTRIBUTING.md", "micrun-image-builder/README.md"]
            .map(|name| root.join(name))
            .into();
    let mut folders = vec![root.join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.extension() {
                _ if path.is_dir() => folders.push(path),
                Some(extension) if extension == "md" => found.push(path),
                _ => {}
            }
        }
    }
    found
}

/// Command lines: in blocks, those that begin with the program; in sentences, also those that begin with a command.
fn command_lines(text: &str, commands: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut found = Vec::new();
    for (i, part) in text.replace("\\\n", " ").split("```").enumerate() {
        if i % 2 == 1 {
            let lines = part.lines().map(|line| line.trim().trim_start_matches("$ "));
            found.extend(lines.filter_map(|line| line.strip_prefix(PROGRAM)).map(str::to_owned));
        } else {
            for code in part.replace('\n', " ").split('`').skip(1).step_by(2) {
                let said = code.strip_prefix(PROGRAM).unwrap_or(code).trim();
                let command = said.split_whitespace().next().unwrap_or_default();
                let is_option = said.contains(" -") && commands.contains_key(command);
                if is_option || code.starts_with(PROGRAM) {
                    found.push(said.to_owned());
                }
            }
        }
    }
    found
}

/// The options of all commands, under the names of the commands.
fn commands() -> BTreeMap<String, BTreeSet<String>> {
    let help = |args: &[&str]| stdout(&builder().args(args).arg("--help").output().unwrap());
    let listed = |text: &str| -> Vec<String> {
        let commands = text.lines().skip_while(|line| *line != "Commands:").skip(1);
        let names = commands.take_while(|line| !line.is_empty()).map(|line| line.trim().split(' ').next());
        names.flatten().map(str::to_owned).collect()
    };
    let options = |text: &str| -> BTreeSet<String> {
        let words = text.split(|c: char| c.is_whitespace() || c == ',');
        words.filter(|word| word.starts_with('-') && word.len() > 1).map(str::to_owned).collect()
    };
    let mut found = BTreeMap::new();
    for name in listed(&help(&[])).into_iter().chain(["push".to_owned(), "pull".to_owned()]) {
        let text = help(&[&name]);
        for inner in listed(&text) {
            found.insert(format!("{name} {inner}"), options(&help(&[&name, &inner])));
        }
        found.insert(name, options(&text));
    }
    found
}

#[test]
fn the_commands_in_the_documents_exist() {
    let commands = commands();
    let mut seen = BTreeSet::new();
    for path in documents() {
        for line in command_lines(&fs::read_to_string(&path).unwrap(), &commands) {
            let line = line.split(['|', '>', '#', ';', '&']).next().unwrap_or_default();
            let words: Vec<&str> = line.split_whitespace().collect();
            let Some(&first) = words.first() else { continue };
            let place = path.display();
            let two = words.get(1).map(|second| format!("{first} {second}"));
            let name = two.filter(|name| commands.contains_key(name)).unwrap_or_else(|| first.to_owned());
            let options = commands.get(&name).unwrap_or_else(|| panic!("{place}: no command {name}: {line}"));
            for option in words.iter().filter(|word| word.starts_with('-') && word.len() > 1) {
                let option = option.split('=').next().unwrap_or_default();
                assert!(options.contains(option), "{place}: {name} has no {option}: {line}");
            }
            seen.insert(name);
        }
    }
    for command in
        ["pack", "check", "inspect", "diff", "extract", "push", "sign", "verify", "load", "index create"]
    {
        assert!(seen.contains(command), "no document shows {command}; there are {seen:?}");
    }
}

#[test]
fn what_the_documents_link_to_is_there() {
    for path in documents() {
        let text = fs::read_to_string(&path).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            if !target.is_empty() && !target.contains("://") {
                let linked = path.parent().unwrap().join(target);
                assert!(linked.exists(), "{}: there is no {target}", path.display());
            }
        }
    }
}

#[test]
fn every_folder_has_its_line() {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(crate_dir.join("README.md")).unwrap();
    let map = fs::read_to_string(crate_dir.join("src/lib.rs")).unwrap();
    for entry in fs::read_dir(crate_dir.join("src")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if path.is_dir() {
            assert!(readme.contains(&format!("| `src/{name}/` |")), "README.md says nothing of src/{name}/");
        }
        if !["lib", "main"].contains(&name) {
            assert!(map.contains(&format!("//! | [`{name}`] |")), "lib.rs says nothing of {name}");
        }
    }
}
