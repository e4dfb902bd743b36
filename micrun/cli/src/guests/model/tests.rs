#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Result<Declaration, String> {
    Declaration::parse(Path::new("motor.toml"), text).map_err(|error| error.to_string())
}

const EXAMPLE: &str =
    include_str!("../../../../../meta-micrun/recipes-containers/micrun-guests/files/example.toml.example");

#[test]
fn little_has_to_be_said() {
    let declaration = read("image = \"/data/rauc/guests/motor\"").unwrap();
    assert_eq!(declaration.image, Image::Archive("/data/rauc/guests/motor".into()));
    assert_eq!((declaration.namespace.as_str(), declaration.restart), ("default", Restart::Always));
    assert_eq!(declaration.health, Health::Runs(USUAL_RUN));
    assert_eq!((declaration.log, declaration.verify_key), (Log::File, None));
}

/// The example that is installed has every key, and each can be used as it stands there.
#[test]
fn the_example_holds() {
    read(EXAMPLE).unwrap();
    let leaf = |line: &str| line.trim_start_matches("# ").to_owned();
    let all: String = EXAMPLE
        .lines()
        .filter(|line| !line.starts_with("# ") || line.contains(" = "))
        .map(|line| leaf(line) + "\n")
        .collect();
    for key in keys::ALL {
        let name = key.name.rsplit('.').next().unwrap();
        assert!(all.lines().any(|line| line.starts_with(&format!("{name} = "))), "{}", key.name);
    }
}

#[test]
fn mistakes_have_a_place_and_a_remedy() {
    let image = "image = \"/a.tar\"\n";
    for (text, said) in [
        ("imgae = \"/a.tar\"", "motor.toml:1:1: there is no key `imgae`; did you mean `image`?"),
        ("image = 7", "motor.toml:1:9: `image` is 7: write an image in full"),
        ("image = \"zephyr\"", "`image` is \"zephyr\": write an image in full"),
        ("", "motor.toml: there is no `image`: write"),
        ("image = ", "motor.toml:1:9: this is not TOML:"),
        (
            &format!("{image}restart = \"sometimes\""),
            "motor.toml:2:11: `restart` is \"sometimes\": write \"always\"",
        ),
        (&format!("{image}restart = \"on-failure:0\""), "`restart` is"),
        (&format!("{image}[health]\nconsole = \"a\"\nexec = \"b\""), "keep the one that says more"),
        (&format!("{image}log = \"none\"\n[health]\nconsole = \"a\""), "write `log = \"file\"`"),
        (
            &format!("{image}[resources]\ncores = \"2-1\""),
            "motor.toml:3:9: `resources.cores` is \"2-1\": write cores",
        ),
        (&format!("{image}health = \"x\""), "motor.toml:2:10: `health` is \"x\": write a section"),
        (&format!("{image}[health]\nwithin = 0"), "motor.toml:3:10: `health.within` is 0: write a time"),
        (&format!("{image}[health]\nwithin = \"6m\""), "of five minutes at most"),
        (&format!("{image}[health]\nconsoel = \"a\""), "did you mean `health.console`?"),
        (
            &format!("{image}[annotations]\n\"org.openeuler.micrun.bord\" = \"x\""),
            "nobody reads the annotation",
        ),
        (
            &format!("{image}[annotations]\n\"org.openeuler.micrun.container.max_vcpu_num\" = \"many\""),
            "motor.toml:3:49: `annotations.\\\"org",
        ),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(&said.replace("\\\"", "\"")), "{text:?}: {error}");
    }
}

#[test]
fn a_file_names_its_guest() {
    assert_eq!(name_of(Path::new("/x/motor-1.toml")).unwrap(), "motor-1");
    for wrong in ["/x/mo tor.toml", "/x/-a.toml", "/x/a..b.toml"] {
        assert!(name_of(Path::new(wrong)).is_err(), "{wrong}");
    }
}

proptest! {
    /// Whatever the text is, an answer comes, and it is one that can be read.
    #[test]
    fn any_text_has_an_answer(text in "\\PC{0,200}") {
        if let Err(error) = read(&text) {
            prop_assert!(error.starts_with("motor.toml") && error.len() < 1500);
        }
    }

    /// What is taken is what was written.
    #[test]
    fn values_arrive(
        memory in 1_u32..100_000,
        capacity in 1_u32..409_600,
        text in "[a-zA-Z0-9 :.]{1,40}x",
        seconds in 1_u64..=300,
    ) {
        let declaration = read(&format!(
            "image = \"/a.tar\"\n[health]\nconsole = \"{text}\"\nwithin = {seconds}\n[resources]\nmemory = {memory}\ncapacity = {capacity}"
        )).unwrap();
        prop_assert_eq!(declaration.resources.memory_mib, Some(memory));
        prop_assert_eq!(declaration.resources.capacity, Some(capacity));
        prop_assert_eq!(declaration.health, Health::Console { text, within: Duration::from_secs(seconds) });
    }
}
