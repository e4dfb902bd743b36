//! What docs/integrate and docs/ci tell firmware projects to copy works as it stands there. Needs cmake, make,
//! gcc-aarch64-linux-gnu, and west from the Python package index (`cargo xtask test unit` brings it).
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_yaml::Value;
use support::{TestElf, builder, stderr, stdout, tool};
use tempfile::TempDir;

fn docs(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(path)
}

/// A block of docs/integrate/README.md, counted among those of its language.
fn block(language: &str, number: usize) -> String {
    let text = fs::read_to_string(docs("integrate/README.md")).unwrap();
    let start = format!("```{language}\n");
    text.split(&start).nth(number + 1).unwrap().split("```").next().unwrap().to_owned()
}

fn workplace(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

const START: &str = ".section .text\n.globl _start\n_start: wfe\n b _start\n";
const LINK: &str = "ENTRY(_start)\nSECTIONS { . = 0x40000000; .text : { *(.text*) } /DISCARD/ : { *(.note*) *(.comment) } }\n";

fn cmake(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new("cmake");
    command.current_dir(dir).args(args).env_remove("SOURCE_DATE_EPOCH");
    command.output().unwrap_or_else(|error| panic!("{error}: install cmake"))
}

/// Configures for a bare-metal aarch64.
fn configure(dir: &Path, more: &[&str]) -> Output {
    let builder = format!("-DMICRUN_IMAGE_BUILDER={}", env!("CARGO_BIN_EXE_micrun-image-builder"));
    let compilers = ["-DCMAKE_SYSTEM_NAME=Generic", "-DCMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY"];
    let languages =
        ["-DCMAKE_ASM_COMPILER=aarch64-linux-gnu-gcc", "-DCMAKE_C_COMPILER=aarch64-linux-gnu-gcc"];
    cmake(dir, &[&["-B", "build", &builder][..], &compilers, &languages, more].concat())
}

#[track_caller]
fn succeeds(output: &Output) {
    assert!(output.status.success(), "{}{}", stdout(output), stderr(output));
}

#[test]
fn a_project_with_cmake_gets_targets_for_its_image() {
    let module = fs::read_to_string(docs("integrate/cmake/micrun.cmake")).unwrap();
    let lists = block("cmake", 0);
    let dir = workplace(&[
        ("CMakeLists.txt", &lists),
        ("micrun.cmake", &module),
        ("start.S", START),
        ("link.ld", LINK),
    ]);
    succeeds(&configure(dir.path(), &[]));
    succeeds(&cmake(dir.path(), &["--build", "build"]));
    let archive = dir.path().join("build/app.oci.tar");
    assert!(!archive.exists(), "only ALL packs with every build");
    succeeds(&cmake(dir.path(), &["--build", "build", "--target", "app-check"]));
    succeeds(&cmake(dir.path(), &["--build", "build", "--target", "app-image"]));
    let packed = fs::read(&archive).unwrap();

    // Nothing to do, and then something.
    let time = || archive.metadata().unwrap().modified().unwrap();
    let before = time();
    succeeds(&cmake(dir.path(), &["--build", "build", "--target", "app-image"]));
    assert_eq!(time(), before);
    fs::write(dir.path().join("start.S"), START.replace("wfe", "wfi")).unwrap();
    succeeds(&cmake(dir.path(), &["--build", "build", "--target", "app-image"]));
    assert_ne!(fs::read(&archive).unwrap(), packed);

    // What is no firmware fails the build.
    fs::write(dir.path().join("link.ld"), LINK.replace("ENTRY(_start)", "nowhere = 0x10; ENTRY(nowhere)"))
        .unwrap();
    fs::write(dir.path().join("start.S"), START).unwrap();
    let output = cmake(dir.path(), &["--build", "build", "--target", "app-image"]);
    assert!(!output.status.success() && stderr(&output).contains("MIC302"), "{}", stderr(&output));
}

#[test]
fn a_misspelt_option_of_the_cmake_function_is_refused() {
    let module = fs::read_to_string(docs("integrate/cmake/micrun.cmake")).unwrap();
    let lists = block("cmake", 0).replace("BOARD qemu", "BORD qemu");
    let dir = workplace(&[
        ("CMakeLists.txt", &lists),
        ("micrun.cmake", &module),
        ("start.S", START),
        ("link.ld", LINK),
    ]);
    let output = configure(dir.path(), &[]);
    assert!(!output.status.success() && stderr(&output).contains("BORD"), "{}", stderr(&output));
}

/// What matters of Zephyr's own CMake: `app` is a library, and the commands of the property run behind the link.
const ZEPHYR_STUB: &str = r#"
project(stub LANGUAGES C ASM)
add_library(app OBJECT)
add_executable(zephyr_final $<TARGET_OBJECTS:app> ${CMAKE_SOURCE_DIR}/start.S)
target_link_options(zephyr_final PRIVATE -nostdlib -static -T ${CMAKE_SOURCE_DIR}/link.ld)
set_target_properties(zephyr_final PROPERTIES OUTPUT_NAME zephyr.elf RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/zephyr)
file(WRITE ${CMAKE_BINARY_DIR}/zephyr/.config "CONFIG_BOARD=\"qemu_cortex_a53\"\n")
get_property(extra GLOBAL PROPERTY extra_post_build_commands)
add_custom_command(TARGET zephyr_final POST_BUILD ${extra} WORKING_DIRECTORY ${CMAKE_BINARY_DIR}/zephyr)
"#;

#[test]
fn a_zephyr_build_makes_its_image_by_itself() {
    let dir = workplace(&[
        ("CMakeLists.txt", &block("cmake", 1)),
        ("zephyr/cmake/ZephyrConfig.cmake", ZEPHYR_STUB),
        ("main.c", "int main(void) { return 0; }\n"),
        ("start.S", START),
        ("link.ld", LINK),
    ]);
    let stub = format!("-DZephyr_DIR={}", dir.path().join("zephyr/cmake").display());
    succeeds(&configure(dir.path(), &[&stub]));
    succeeds(&cmake(dir.path(), &["--build", "build"]));
    assert!(dir.path().join("build/app.oci.tar").is_file());
}

#[test]
fn west_gets_a_command() {
    let file = |name: &str| fs::read_to_string(docs("integrate/west").join(name)).unwrap();
    let (commands, python) = (file("west-commands.yml"), file("micrun_commands.py"));
    let dir = workplace(&[
        ("app/west.yml", &block("yaml", 0)),
        ("app/scripts/west-commands.yml", &commands),
        ("app/scripts/micrun_commands.py", &python),
        ("build/zephyr/.config", "CONFIG_BOARD=\"qemu_cortex_a53\"\n"),
    ]);
    TestElf::new().write_to(&dir.path().join("build/zephyr/zephyr.elf"));
    let programs = Path::new(env!("CARGO_BIN_EXE_micrun-image-builder")).parent().unwrap().to_owned();
    let own = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([programs].into_iter().chain(std::env::split_paths(&own))).unwrap();
    let west = |args: &[&str]| {
        let mut command = Command::new("west");
        command.current_dir(dir.path()).env("PATH", &path).args(args);
        command
    };
    const PACKAGE: &str = "west, with pip or through `cargo xtask test unit`";
    tool(PACKAGE, &mut west(&["init", "-l", "app"]));
    let said = tool(PACKAGE, &mut west(&["micrun", "--tag", "demo/app:1", "-o", "app.tar"]));
    assert!(said.contains("docker.io/demo/app:1") && said.contains("qemu_cortex_a53"), "{said}");
    assert!(dir.path().join("app.tar").is_file());
    let refused = west(&["micrun", "-d", "app"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("no Zephyr build directory"), "{}", stderr(&refused));
}

/// Every text in a YAML document.
fn texts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Sequence(list) => list.iter().for_each(|item| texts(item, found)),
        Value::Mapping(map) => map.values().for_each(|item| texts(item, found)),
        _ => {}
    }
}

#[test]
fn the_ci_templates_are_yaml_and_their_options_exist() {
    let mut lines = 0;
    for template in ["ci/github-actions.yml", "ci/gitlab-ci.yml"] {
        let document: Value = serde_yaml::from_str(&fs::read_to_string(docs(template)).unwrap()).unwrap();
        let mut found = Vec::new();
        texts(&document, &mut found);
        let scripts = found.join("\n").replace("\\\n", " ");
        for line in scripts.lines().map(str::trim).filter(|line| line.starts_with("micrun-image-builder ")) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let help = builder().args([words[1], "--help"]).output().unwrap();
            succeeds(&help);
            for option in words.iter().filter(|word| word.starts_with("--")) {
                assert!(stdout(&help).contains(option), "{template}: {} has no {option}", words[1]);
            }
            lines += 1;
        }
    }
    assert!(lines >= 7, "only {lines} command lines were found");
}
