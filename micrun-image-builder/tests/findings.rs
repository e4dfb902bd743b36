//! Every finding is brought about by a test, and docs/findings-tests.md says by which.
//!
//! `MICRUN_WRITE_DOCS=1 cargo test -p micrun-image-builder --test findings` writes that table anew.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

use std::fs;
use std::path::{Path, PathBuf};

use micrun_image_builder::check::Code;

/// Where tests are, from the top of the repository. In src they follow the code that they test.
const TESTS: [&str; 3] =
    ["micrun-image-builder/tests", "micrun-image-builder/src", "recipes-test/fuzz/tests/defects"];
const CORPUS: &str = "recipes-test/fuzz/corpus/README.md";
const TABLE: &str = "docs/findings-tests.md";
const THIS: &str = "micrun-image-builder/tests/findings.rs";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A file with tests, and what of it is tests.
struct TestFile {
    path: String,
    text: String,
}

impl TestFile {
    fn read(path: &str) -> Option<Self> {
        let text = fs::read_to_string(root().join(path)).ok()?;
        let text = match path.contains("/src/") {
            true => text.split_once("#[cfg(test)]").map(|(_, tests)| tests.to_owned())?,
            false => text,
        };
        Some(TestFile { path: path.to_owned(), text })
    }

    /// A test names the code, or looks for it in what the command prints.
    fn names(&self, code: Code) -> bool {
        let variant = format!("Code::{code:?}");
        let followed_by_more =
            |at: usize| self.text[at + variant.len()..].starts_with(|c: char| c.is_alphanumeric());
        self.text.match_indices(&variant).any(|(at, _)| !followed_by_more(at))
            || self.text.contains(code.as_str())
    }
}

fn test_files() -> Vec<TestFile> {
    let mut files = Vec::new();
    for folder in TESTS {
        collect(folder, &mut files);
    }
    files
}

fn collect(folder: &str, files: &mut Vec<TestFile>) {
    let mut names: Vec<String> = fs::read_dir(root().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    for name in names {
        let path = format!("{folder}/{name}");
        if root().join(&path).is_dir() {
            collect(&path, files);
        } else if name.ends_with(".rs") && path != THIS {
            files.extend(TestFile::read(&path));
        }
    }
}

/// The files of the fuzzers' corpus that are there for this code; the corpus' own tests hold that they do their part.
fn inputs(corpus: &str, code: Code) -> Vec<String> {
    let column = format!("| {code} |");
    let rows = corpus.lines().filter(|row| row.contains(&column));
    rows.filter_map(|row| Some(format!("recipes-test/fuzz/corpus/{}", row.split('|').nth(1)?.trim())))
        .collect()
}

/// For each code one input and one test, as far as there are.
fn shown_by(code: Code, corpus: &str, tests: &[TestFile]) -> Vec<String> {
    let input = inputs(corpus, code).into_iter().next();
    let is_definition = |file: &&TestFile| file.path.contains("/defects/") && input.is_some();
    let test = tests.iter().find(|file| file.names(code) && !is_definition(file));
    input.clone().into_iter().chain(test.map(|file| file.path.clone())).collect()
}

const HEAD: &str = "# What shows each finding

For each code of [findings.md](findings.md) an input that brings it about, if there is one by itself, and a test that
does. `cargo test -p micrun-image-builder --test findings` holds this table to the truth.

| code | finding | shown by |
| --- | --- | --- |
";

#[test]
fn every_code_is_shown_by_a_test() {
    let corpus = fs::read_to_string(root().join(CORPUS)).unwrap();
    let tests = test_files();
    let (mut table, mut missing) = (HEAD.to_owned(), Vec::new());
    for &code in Code::ALL {
        let files = shown_by(code, &corpus, &tests);
        if files.is_empty() {
            missing.push(code.as_str());
        }
        let links: Vec<String> = files.iter().map(|file| format!("[{file}](../{file})")).collect();
        table += &format!("| {code} | {} | {} |\n", code.title(), links.join(", "));
    }
    assert!(missing.is_empty(), "no test brings these about: {}", missing.join(", "));
    if std::env::var_os("MICRUN_WRITE_DOCS").is_some() {
        fs::write(root().join(TABLE), table).unwrap();
    }
}

#[test]
fn the_table_tells_the_truth() {
    if std::env::var_os("MICRUN_WRITE_DOCS").is_some() {
        return;
    }
    let corpus = fs::read_to_string(root().join(CORPUS)).unwrap();
    let table = fs::read_to_string(root().join(TABLE)).unwrap();
    for &code in Code::ALL {
        let start = format!("| {code} | {} | ", code.title());
        let row = table.lines().find_map(|row| row.strip_prefix(&start));
        let row = row.unwrap_or_else(|| panic!("{TABLE} lacks or misstates {code}: {start}"));
        let files: Vec<&str> = row.split(['[', ']']).skip(1).step_by(2).collect();
        assert!(!files.is_empty(), "{TABLE} names nothing for {code}");
        for file in files {
            let shows = inputs(&corpus, code).iter().any(|input| input == file)
                || TestFile::read(file).is_some_and(|file| file.names(code));
            assert!(shows, "{TABLE}: {file} does not show {code}");
        }
    }
    assert_eq!(table.matches("\n| MIC").count(), Code::ALL.len(), "{TABLE} has codes of its own");
}
