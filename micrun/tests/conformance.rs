//! docs/conformance.md names tests. They exist, and each promise has one.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

use std::fs;
use std::path::{Path, PathBuf};

const PAGE: &str = "docs/conformance.md";
/// Where the protocol's tests are, and the stories on real containerds.
const TESTS: [&str; 2] = ["micrun/src", "micrun/tests"];
const STORIES: [&str; 2] = ["recipes-test/e2e/src", "recipes-test/pods/src"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The text of all Rust files below a folder.
fn text_below(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text += &text_below(&path);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text += &fs::read_to_string(&path).unwrap();
        }
    }
    text
}

/// The rows of a page's tables, as cells, without heads and what separates those from rows.
fn rows(page: &str) -> Vec<Vec<&str>> {
    let is_rule = |line: &&str| line.starts_with("| ---");
    let lines: Vec<&str> = page.lines().collect();
    let rows = lines.iter().enumerate().filter(|(at, line)| {
        line.starts_with('|') && !is_rule(line) && !lines.get(at + 1).is_some_and(is_rule)
    });
    rows.map(|(_, line)| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// What stands between backticks.
fn names(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_test_that_the_page_names_exists_and_every_promise_has_one() {
    let page = fs::read_to_string(root().join(PAGE)).unwrap();
    let promises = page.split("## Where runc's shim does otherwise").next().unwrap();
    let text = |folders: [&str; 2]| folders.map(|folder| text_below(&root().join(folder))).concat();
    let (tests, stories) = (text(TESTS), text(STORIES));
    let mut missing = Vec::new();
    let rows = rows(promises);
    assert!(rows.len() > 25, "the page has its tables");
    for row in rows {
        let [.., protocol, real] = row[..] else { panic!("a short row: {row:?}") };
        let (protocol, real) = (names(protocol), names(real));
        if protocol.is_empty() && real.is_empty() {
            missing.push(format!("a test of {row:?}"));
        }
        let is_test = |name: &&str| tests.contains(&format!("fn {name}("));
        let is_story = |name: &&str| {
            stories.contains(&format!("\"{name}\"")) || stories.contains(&format!("\"{}\"", refused(name)))
        };
        missing.extend(protocol.iter().filter(|name| !is_test(name)).map(|name| format!("the test {name}")));
        missing.extend(real.iter().filter(|name| !is_story(name)).map(|name| format!("the story {name}")));
    }
    assert!(missing.is_empty(), "{PAGE} names what is not there:\n  {}", missing.join("\n  "));
}

/// Stories of refusals are named in a table, without their first word.
fn refused(name: &str) -> &str {
    name.strip_prefix("refused: ").unwrap_or(name)
}
