//! A node's administrator says how the shells of its guests look.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

use std::fs;
use std::path::Path;

use micrun_image_spec::firmware::Rtos;
use micrun_image_spec::os::{LineEnd, OsProfile, Quoting};
use micrun_image_spec::profile::ProfileError;

const MINE: &str = "\
name: my-os
aliases: [mine]
description: a shell of ours
shell:
  prompts: [\"mine> \"]
  line_end: lf
  fresh_prompt: \"\\x03\"
input: { bytes: 8, interval_ms: 10 }
";

fn os(name: &str) -> Rtos {
    name.parse().unwrap()
}

#[test]
fn every_built_in_profile_is_good() {
    for name in OsProfile::built_in_names() {
        let profile = OsProfile::built_in(&os(name)).unwrap();
        assert_eq!(profile.name.as_str(), name, "the file is named like its system");
        assert!(profile.aliases.is_empty(), "{name}: built-in profiles are found by name alone");
        assert!(profile.shell.is_some() && profile.input.is_none(), "{name}");
        assert_eq!(OsProfile::parse("again", &profile.to_yaml()).unwrap(), profile);
    }
    assert_eq!(OsProfile::built_in(&os("baremetal")), None);
}

#[test]
fn what_the_shells_print_is_what_the_profiles_say() {
    let table = [
        ("zephyr", "uart:~$ ", "nosuch: command not found"),
        ("uniproton", "openEuler UniProton # ", "foo:command not found"),
        ("rt-thread", "msh >", "foo: command not found."),
        ("rt-thread", "msh /bin>", "foo: command not found."),
        ("nuttx", "nsh> ", "nsh: foo: command not found"),
        ("freertos", ">", "Command not recognised.  Enter \"help\" to view a list of available commands."),
        ("u-boot", "=> ", "Unknown command 'foo' - try 'help'"),
        ("micrun-test", "micrun> ", "unknown command: foo (try help)"),
    ];
    for (name, prompt, error) in table {
        let shell = OsProfile::built_in(&os(name)).unwrap().shell.unwrap();
        assert!(shell.prompts.iter().any(|pattern| pattern.matches(prompt.as_bytes())), "{name} {prompt:?}");
        assert!(shell.errors.iter().any(|pattern| pattern.matches(error.as_bytes())), "{name} {error:?}");
    }
}

#[test]
fn a_directory_adds_profiles_and_replaces_built_in_ones() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("10-mine.yaml"), MINE).unwrap();
    fs::write(dir.path().join("20-zephyr.yaml"), MINE.replace("my-os", "zephyr").replace("[mine]", "[]"))
        .unwrap();
    let find = |name| OsProfile::find(dir.path(), &os(name)).unwrap();

    let mine = find("mine").unwrap();
    let shell = mine.shell.unwrap();
    assert_eq!((shell.line_end, shell.quoting, shell.ctrl_c), (LineEnd::Lf, Quoting::None, false));
    assert_eq!(shell.fresh_prompt.unwrap().as_bytes(), [3]);
    assert_eq!(mine.input.map(|pacing| (pacing.bytes, pacing.interval_ms)), Some((8, 10)));
    assert_eq!(find("zephyr").unwrap().description, "a shell of ours");
    assert_eq!(find("nuttx").unwrap().description, "The NuttShell of Apache NuttX");
    assert_eq!(find("baremetal"), None);
    assert!(OsProfile::find(Path::new("/does/not/exist"), &os("zephyr")).unwrap().is_some());
}

#[test]
fn an_error_names_the_file_and_the_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("typo.yaml");
    fs::write(&file, MINE.replace("line_end: lf", "line_end: crlf")).unwrap();
    let error = OsProfile::find(dir.path(), &os("zephyr")).unwrap_err();
    assert!(matches!(error, ProfileError::Invalid { line: Some(6), .. }), "{error:?}");
    assert!(
        error.to_string().starts_with(&format!("OS file {} line 6: shell.line_end", file.display())),
        "{error}"
    );
}

#[test]
fn what_contradicts_itself_is_refused() {
    let table = [
        ("\"mine> \"", "\"\"", "no pattern"),
        ("\"mine> \"", "\"*\"", "no pattern"),
        ("\"mine> \"", "\"mine*\"", "so would every line"),
        ("[\"mine> \"]", "[]", "prompts is empty"),
        ("[mine]", "[my-os]", "listed twice"),
        ("bytes: 8", "bytes: 0", "write 1 to 4096"),
        ("interval_ms: 10", "interval_ms: 1001", "write 1 to 1000"),
        ("\"\\x03\"", "\"\"", "no keys"),
        ("\"\\x03\"", "\"12345678901234567\"", "no keys"),
        ("line_end: lf", "line_end: lf\n  colour: blue", "unknown field `colour`"),
    ];
    for (from, to, expected) in table {
        let error = OsProfile::parse("mine", &MINE.replace(from, to)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
