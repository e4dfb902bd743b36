//! Files as operators write them, and as nobody should.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use micrun_image_spec::units::Mib;
use proptest::prelude::*;

use super::*;

/// The example that the layer ships.
const EXAMPLE: &str =
    include_str!("../../../../meta-micrun/recipes-containers/micrun/files/micrun.conf.example");

fn read(text: &str) -> Result<NodeConfig, NodeConfigError> {
    let mut config = NodeConfig::default();
    config.add_text(Path::new("micrun.conf"), text).map(|()| config)
}

#[test]
fn every_kind_of_value_is_read() {
    let config = read(
        "guest.memory = 64\n[guest]\nweight = 0x200\ncapacity = 150\n[console]\nbuffer = '1M'\nctrl_c = false\n\
         [exec]\ntimeout = \"2m\"\n[log]\nlevel = \"debug\"\n[policy]\nallow = { debug = true, iomem = [\"1,1\"] }\n",
    );
    // TOML wants the first line in the section that follows, or nowhere.
    assert!(config.is_err());
    let config = read(
        "[guest]\nmemory = 64\nmax_memory = \"1G\"\nweight = 0x200\ncapacity = 150\nmax_vcpus = 4\n[console]\n\
         buffer = '1M'\nctrl_c = false\n[exec]\ntimeout = \"2m\"\n[log]\nlevel = \"debug\"\n[policy]\n\
         allow = { debug = true, iomem = [\"1,1\"] }\n",
    )
    .unwrap();
    let guest = GuestConfig {
        memory: Some(Mib(64)),
        max_memory: Some(Mib(1024)),
        max_vcpus: Some(4),
        weight: Some(512),
        capacity: Some(150),
    };
    assert_eq!(config.guest, guest);
    assert_eq!(config.console, ConsoleConfig { buffer: 1 << 20, ctrl_c: false });
    assert_eq!((config.exec.timeout, config.log.level), (Duration::from_secs(120), LogLevel::Debug));
    assert!(config.policy.debug && config.policy.iomem.len() == 1);
    assert_eq!(config.place("guest.weight").unwrap().to_string(), "micrun.conf:4");
    assert_eq!(config.place("policy.allow.debug").unwrap().line, 15);
    assert_eq!(config.place("log.nonsense"), None);
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_what_to_write() {
    for (text, said) in [
        (
            "[guest]\nwieght = 1\n",
            "micrun.conf:2:1: there is no key `guest.wieght`; did you mean `guest.weight`?",
        ),
        ("[gest]\n", "micrun.conf:1:2: there is no key `gest`; did you mean `guest`?"),
        ("zzz = 1", "micrun.conf:1:1: there is no key `zzz`; `micrun config` lists all keys"),
        ("guest = 1", "micrun.conf:1:1: there is no key `guest`"),
        ("[guest.weight]\n", "micrun.conf:1:"),
        (
            "[guest]\n  weight = 70000",
            "micrun.conf:2:12: `guest.weight` is 70000: write a number from 1 to 65535",
        ),
        ("[guest]\nweight = \"1\"", "`guest.weight` is \"1\": write a number"),
        ("[guest]\nmemory = \"64\"", "`guest.memory` is \"64\": write MiB"),
        ("[guest]\nmemory = 1.5", "`guest.memory` is 1.5: write MiB"),
        ("[guest]\nmemory = -1", "`guest.memory` is -1: write MiB"),
        ("[console]\nctrl_c = \"yes\"", "`console.ctrl_c` is \"yes\": write true or false"),
        ("[exec]\ntimeout = 0", "`exec.timeout` is 0: write a time"),
        ("[exec]\ntimeout = \"1h\"", "`exec.timeout` is \"1h\": write a time"),
        ("[log]\nlevel = \"loud\"", "`log.level` is \"loud\": write \"error\""),
        (
            "[trace]\nendpoint = \"https://h:1\"",
            "`trace.endpoint` is \"https://h:1\": write http://HOST:PORT",
        ),
        (
            "[policy.allow]\niomem = [\"1,1\", \"x\"]",
            "micrun.conf:2:17: `policy.allow.iomem` is \"x\": write a list of first page",
        ),
        (
            "[policy.allow]\nnetwork = \"bridge=br0\"",
            "`policy.allow.network` is \"bridge=br0\": write a list",
        ),
        ("[guest]\nweight = 1\nweight = 2", "micrun.conf:3:1: this is not TOML: "),
        ("[guest\n", "this is not TOML: "),
        (
            "[guest]\nmemory = 64\nmax_memory = 32",
            "micrun.conf:3:1: `guest.max_memory` is below `guest.memory`",
        ),
        ("[guest]\nweight = 1979-05-27", "`guest.weight` is a date"),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(said), "{text:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn drop_ins_come_in_the_order_of_their_names_and_win_key_by_key() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("micrun.conf");
    let drop_ins = dir.path().join("micrun.conf.d");
    assert_eq!(NodeConfig::load(&path).unwrap(), NodeConfig::default(), "nothing is needed");
    fs::create_dir(&drop_ins).unwrap();
    fs::write(drop_ins.join("20-b.conf"), "[guest]\nweight = 20\n[policy.allow]\niomem = [\"2,1\"]\n")
        .unwrap();
    fs::write(drop_ins.join("10-a.conf"), "[guest]\nweight = 10\ncapacity = 10\n").unwrap();
    fs::write(drop_ins.join("30-c.conf.off"), "nonsense").unwrap();
    fs::write(&path, "[guest]\nmemory = 64\nweight = 1\n[policy.allow]\niomem = [\"1,1\"]\n").unwrap();
    let config = NodeConfig::load(&path).unwrap();
    let guest = &config.guest;
    assert_eq!((guest.memory, guest.weight, guest.capacity), (Some(Mib(64)), Some(20), Some(10)));
    assert_eq!(config.policy.iomem, ["2,1".parse().unwrap()], "a list replaces the earlier one");
    assert!(config.place("guest.weight").unwrap().to_string().ends_with("micrun.conf.d/20-b.conf:2"));
    assert!(config.place("guest.memory").unwrap().to_string().ends_with("micrun.conf:2"));

    fs::write(drop_ins.join("40-d.conf"), "[guest]\nmax_memory = 32\n").unwrap();
    let error = NodeConfig::load(&path).unwrap_err().to_string();
    assert!(error.contains("40-d.conf:2:1: `guest.max_memory` is below `guest.memory`"), "{error}");
}

#[test]
fn a_file_that_is_none_or_too_large_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("micrun.conf");
    let said = || NodeConfig::load(&file).unwrap_err().to_string();
    fs::write(&file, vec![b'#'; 64 * 1024]).unwrap();
    NodeConfig::load(&file).unwrap();
    fs::write(&file, vec![b'#'; 64 * 1024 + 1]).unwrap();
    assert!(said().contains("more than 65536 bytes"), "{}", said());
    fs::write(&file, b"# \xff").unwrap();
    assert!(said().contains("not UTF-8"), "{}", said());
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert!(said().contains("not a regular file"), "{}", said());
}

/// Without its comment signs the example is every key with its default or an example.
#[test]
fn the_example_parses_and_equals_the_defaults() {
    let config = read(EXAMPLE).unwrap();
    assert_eq!(config, NodeConfig::default(), "every key in it is a comment");
    let uncommented: String = EXAMPLE
        .lines()
        .map(|line| {
            line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line).to_owned() + "\n"
        })
        .collect();
    let config = read(&uncommented).unwrap();
    let (named, all): (BTreeSet<_>, BTreeSet<_>) =
        (config.places.keys().copied().collect(), keys::ALL.iter().map(|key| key.name).collect());
    assert_eq!(named, all, "the example has every key");
    let default = NodeConfig::default();
    for key in keys::ALL {
        // What is not set, or an empty list, shows what could be written instead.
        if let Some(value) = (key.get)(&default).filter(|value| value != "[]") {
            assert_eq!((key.get)(&config), Some(value), "{}", key.name);
        }
    }
}

#[test]
fn what_is_printed_is_read_back() {
    let mut config =
        read("[guest]\nmemory = 64\nweight = 7\n[policy.allow]\nnetwork = [\"bridge=br*\"]\n").unwrap();
    let mut again = read(&file::to_toml(&config)).unwrap();
    (config.places, again.places) = Default::default();
    assert_eq!(config, again);
}

#[test]
fn every_key_is_documented_with_its_default_and_its_example_is_taken() {
    let page = include_str!("../../../../docs/configuration.md");
    for key in keys::ALL {
        assert!(page.contains(&format!("| `{}` |", key.name)), "docs/configuration.md lacks {}", key.name);
        read(&format!("[{}]\n{} = {}\n", key.section(), key.leaf(), key.example)).unwrap();
    }
}

/// Lines that are nearly right more often than bytes are.
fn lines() -> impl Strategy<Value = String> {
    let key = prop::sample::select(keys::ALL.iter().map(|key| key.name).collect::<Vec<_>>());
    let value = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        "\"[a-z0-9,=*@.]{0,12}\"",
        "\\[(\"[ -!#-~]{0,8}\",?){0,3}\\]",
        "[ -~]{0,12}",
    ];
    let line = (key, value).prop_map(|(key, value)| format!("{key} = {value}\n"));
    prop::collection::vec(line, 0..6).prop_map(|lines| lines.concat())
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text in prop_oneof![".{0,200}", lines()]) {
        match read(&text) {
            Ok(config) => {
                let mut again = read(&file::to_toml(&config)).unwrap();
                again.places = config.places.clone();
                prop_assert_eq!(again, config);
            }
            Err(error) => prop_assert!(error.to_string().len() < 1000),
        }
    }
}
