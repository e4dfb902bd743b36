//! The part of the corpus that is made, not written: firmware with one defect each, and what the builder says about it.
//!
//! `MICRUN_WRITE_CORPUS=1 cargo test -p micrun-fuzz --test defects` writes the files and the table in corpus/README.md anew.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

#[path = "../../../../crates/firmware-elf/tests/support/test_elf.rs"]
#[allow(dead_code, reason = "this file uses a part of it")]
mod test_elf;

mod boot_images;
mod judged;
mod programs;
mod resource_tables;

use std::fs;
use std::path::{Path, PathBuf};

use micrun_image_builder::check::Code;

/// A file of the corpus, and a finding that it gives rise to; none for good firmware.
pub struct Defect {
    /// Its path in the corpus.
    pub file: &'static str,
    /// The finding; None for good firmware.
    pub code: Option<Code>,
    /// None for a file that no linker would make, written by hand and kept as it is.
    pub bytes: Option<Vec<u8>>,
}

/// A file that is made from bytes.
pub fn made(file: &'static str, code: Code, bytes: impl Into<Vec<u8>>) -> Defect {
    Defect { file, code: Some(code), bytes: Some(bytes.into()) }
}

/// A file that is kept.
pub fn kept(file: &'static str, code: Code) -> Defect {
    Defect { file, code: Some(code), bytes: None }
}

/// A file without any error.
pub fn good(file: &'static str, bytes: impl Into<Vec<u8>>) -> Defect {
    Defect { file, code: None, bytes: Some(bytes.into()) }
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn all() -> Vec<Defect> {
    [programs::defects(), resource_tables::defects(), boot_images::defects()].into_iter().flatten().collect()
}

fn is_writing() -> bool {
    std::env::var_os("MICRUN_WRITE_CORPUS").is_some()
}

/// What a person reads about the made part of the corpus.
fn table(defects: &[Defect]) -> String {
    let mut table = String::from("| file | code | defect |\n| --- | --- | --- |\n");
    for Defect { file, code, .. } in defects {
        let (code, title) = code.map_or(("", "none: good firmware"), |code| (code.as_str(), code.title()));
        table += &format!("| {file} | {code} | {title} |\n");
    }
    table
}

#[test]
fn the_files_are_what_is_defined_here() {
    for Defect { file, bytes, .. } in all() {
        let path = corpus().join(file);
        match bytes {
            Some(bytes) if is_writing() => fs::write(&path, bytes).unwrap(),
            Some(bytes) => assert!(fs::read(&path).unwrap() == bytes, "{file} is not what is defined here"),
            None => assert!(path.is_file(), "{file} is gone"),
        }
    }
}

#[test]
fn the_readme_lists_them() {
    let (path, table) = (corpus().join("README.md"), table(&all()));
    let text = fs::read_to_string(&path).unwrap();
    let start = text.find("| file | code |").unwrap();
    if is_writing() {
        fs::write(&path, format!("{}{table}", &text[..start])).unwrap();
    } else {
        assert!(text[start..] == table, "corpus/README.md lists other files than are defined here");
    }
}

#[test]
fn no_other_files_are_there() {
    let defects = all();
    for folder in ["boot_image", "elf", "raw_firmware", "resource_table"] {
        for entry in fs::read_dir(corpus().join(folder)).unwrap() {
            let file = format!("{folder}/{}", entry.unwrap().file_name().to_string_lossy());
            assert!(defects.iter().any(|defect| defect.file == file), "{file} is not defined here");
        }
    }
}

#[test]
fn every_defect_is_found() {
    if is_writing() {
        return;
    }
    let mut wrong = Vec::new();
    for Defect { file, code, .. } in all() {
        let bytes = fs::read(corpus().join(file)).unwrap();
        match code {
            Some(code) => {
                let found = judged::codes(file, &bytes);
                if !found.contains(&code) {
                    wrong.push(format!("{file}: {code} is not among {found:?}"));
                }
            }
            None => assert_eq!(judged::errors(&bytes), [], "{file}"),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
