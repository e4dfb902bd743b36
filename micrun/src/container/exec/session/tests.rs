//! Shells as they really write, and as they might.

use micrun_image_spec::os::OsProfile;
use proptest::prelude::*;

use super::*;

const LATER: Duration = Duration::from_secs(3600);

fn shell(os: &str) -> Shell {
    OsProfile::built_in(&os.parse().unwrap()).unwrap().shell.unwrap()
}

/// What a session comes to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    typed: Vec<u8>,
    output: Vec<u8>,
    failed: Option<bool>,
}

/// Plays a session: before each deadline the guest writes one of `scenes`, in these pieces.
fn play(os: &str, line: &str, terminal: bool, scenes: &[Vec<&[u8]>]) -> Seen {
    let (mut session, typed) = Session::begin(shell(os), line.to_owned(), terminal);
    let mut seen = Seen { typed, ..Seen::default() };
    let mut now = Instant::now();
    for scene in scenes {
        for piece in scene {
            session.feed(piece, now, &mut seen.output);
        }
        if session.deadline().is_none() {
            continue;
        }
        now += LATER;
        match session.on_time(&mut seen.output) {
            Next::Type(keys) => seen.typed.extend(keys),
            Next::Done { failed } => seen.failed = Some(failed),
        }
    }
    seen
}

struct Case {
    os: &'static str,
    line: &'static str,
    scenes: &'static [&'static [u8]],
    typed: &'static [u8],
    output: &'static str,
    failed: bool,
}

const CASES: &[Case] = &[
    Case {
        os: "micrun-test",
        line: "echo hi",
        scenes: &[b"\r\nmicrun> ", b"echo hi\r\nhi\r\nmicrun> "],
        typed: b"\recho hi\r",
        output: "hi\n",
        failed: false,
    },
    Case {
        os: "micrun-test",
        line: "nonsense",
        scenes: &[b"\r\nmicrun> ", b"nonsense\r\nunknown command: nonsense (try help)\r\nmicrun> "],
        typed: b"\rnonsense\r",
        output: "unknown command: nonsense (try help)\n",
        failed: true,
    },
    // Colours, and an echo that is broken where a terminal's line is full.
    Case {
        os: "zephyr",
        line: "kernel version",
        scenes: &[
            b"\r\n\x1b[1;32muart:~$ \x1b[m",
            b"kernel v\r\nersion\r\nZephyr version 3.5.0\r\n\x1b[1;32muart:~$ \x1b[m",
        ],
        typed: b"\x15\rkernel version\r",
        output: "Zephyr version 3.5.0\n",
        failed: false,
    },
    Case {
        os: "zephyr",
        line: "nosuch",
        scenes: &[
            b"\x1b[1;32muart:~$ \x1b[m",
            b"nosuch\r\n\x1b[1;31mnosuch: command not found\r\n\x1b[m\x1b[1;32muart:~$ \x1b[m",
        ],
        typed: b"\x15\rnosuch\r",
        output: "nosuch: command not found\n",
        failed: true,
    },
    // A log that is written over the prompt, and the prompt again.
    Case {
        os: "zephyr",
        line: "device list",
        scenes: &[
            b"uart:~$ ",
            b"device list\r\ndevices:\r\nuart:~$ \x1b[8D\x1b[J[00:01] <inf> net: up\r\nuart:~$ ",
        ],
        typed: b"\x15\rdevice list\r",
        output: "devices:\n[00:01] <inf> net: up\n",
        failed: false,
    },
    Case {
        os: "uniproton",
        line: "uname",
        scenes: &[b"\nopenEuler UniProton # ", b"uname\nUniProton 24.03-LTS\n\nopenEuler UniProton # "],
        typed: b"\runame\r",
        output: "UniProton 24.03-LTS\n",
        failed: false,
    },
    // No line end behind the error, and a terminal's line discipline between.
    Case {
        os: "uniproton",
        line: "foo",
        scenes: &[b"\r\nopenEuler UniProton # ", b"foo\r\nfoo:command not found\r\nopenEuler UniProton # "],
        typed: b"\rfoo\r",
        output: "foo:command not found\n",
        failed: true,
    },
    Case {
        os: "rt-thread",
        line: "pwd",
        scenes: &[b"\r\nmsh /bin>", b"pwd\r\n/bin\r\nmsh /bin>"],
        typed: b"\rpwd\r",
        output: "/bin\n",
        failed: false,
    },
    Case {
        os: "nuttx",
        line: "cat x",
        scenes: &[b"\r\nnsh> ", b"cat x\r\nnsh: cat: open failed: ENOENT\r\nnsh> \x1b[K"],
        typed: b"\rcat x\r",
        output: "nsh: cat: open failed: ENOENT\n",
        failed: true,
    },
    // There is no way to a new prompt; and the console writes more than a prompt.
    Case {
        os: "freertos",
        line: "task-stats",
        scenes: &[
            b"task-stats\r\r\nIDLE R 0\r\n\r\n[Press ENTER to execute the previous command again]\r\n>",
        ],
        typed: b"task-stats\r",
        output: "IDLE R 0\n",
        failed: false,
    },
    Case {
        os: "u-boot",
        line: "version",
        scenes: &[b"<INTERRUPT>\r\n=> ", b"version\r\nU-Boot 2023.01\r\n\r\naarch64-gcc\r\n=> "],
        typed: b"\x03version\r",
        output: "U-Boot 2023.01\n\naarch64-gcc\n",
        failed: false,
    },
    // Two prompts for the one key, the second one late: the answer to the key is not that to the command.
    Case {
        os: "micrun-test",
        line: "echo hi",
        scenes: &[b"\r\nmicrun> ", b"\r\nmicrun> echo hi\r\nhi\r\nmicrun> "],
        typed: b"\recho hi\r",
        output: "\nhi\n",
        failed: false,
    },
    // Output that looks like a prompt, but goes on.
    Case {
        os: "micrun-test",
        line: "echo micrun> no",
        scenes: &[b"micrun> ", b"echo micrun> no\r\nmicrun> no\r\nmicrun> "],
        typed: b"\recho micrun> no\r",
        output: "micrun> no\n",
        failed: false,
    },
    Case {
        os: "micrun-test",
        line: "echo micrun> ",
        scenes: &[b"micrun> ", b"echo micrun> \r\nmicrun> \r\nmicrun> "],
        typed: b"\recho micrun> \r",
        output: "micrun> \n",
        failed: false,
    },
    // A shell that does not echo.
    Case {
        os: "micrun-test",
        line: "echo hi",
        scenes: &[b"micrun> ", b"hi\r\nmicrun> "],
        typed: b"\recho hi\r",
        output: "hi\n",
        failed: false,
    },
    // The messages of an RPMsg console, filled up, behind a pty that adds carriage returns.
    Case {
        os: "micrun-test",
        line: "echo hi",
        scenes: &[b"\0\0micrun> \0\0", b"echo hi\r\r\n\0\0hi\0\r\r\nmicrun> \0\0"],
        typed: b"\recho hi\r",
        output: "hi\n",
        failed: false,
    },
    // A counter that is written over itself.
    Case {
        os: "micrun-test",
        line: "load",
        scenes: &[b"micrun> ", b"load\r\n10%\r20%\r\n\x1b[1mdone\x1b[m\r\nmicrun> "],
        typed: b"\rload\r",
        output: "10%\r20%\ndone\n",
        failed: false,
    },
];

#[test]
fn shells_as_they_write() {
    for case in CASES {
        let scenes: Vec<Vec<&[u8]>> = case.scenes.iter().map(|scene| vec![*scene]).collect();
        let seen = play(case.os, case.line, false, &scenes);
        let text = String::from_utf8_lossy(&seen.output);
        assert_eq!(
            (text.as_ref(), seen.failed),
            (case.output, Some(case.failed)),
            "{} {}",
            case.os,
            case.line
        );
        assert_eq!(seen.typed, case.typed, "{} {}", case.os, case.line);
    }
}

#[test]
fn a_terminal_gets_colours_and_carriage_returns() {
    let scenes: [Vec<&[u8]>; 2] =
        [vec![b"micrun> "], vec![b"load\r\n\x1b[1mdone\x1b[m\r\n\x1b[32mmicrun> \x1b[m"]];
    let seen = play("micrun-test", "load", true, &scenes);
    assert_eq!(seen.output, b"\x1b[1mdone\x1b[m\r\n");
}

#[test]
fn a_prompt_counts_by_what_is_known_of_it() {
    let begin = Instant::now();
    let mut output = Vec::new();
    let (mut session, _) = Session::begin(shell("micrun-test"), "help".to_owned(), false);
    assert_eq!(session.deadline(), None, "nothing was seen");
    session.feed(b"micrun> ", begin, &mut output);
    assert_eq!(session.deadline(), Some(begin + QUIET));
    session.feed(b"log\r\n", begin, &mut output);
    assert_eq!(session.deadline(), Some(begin + GRACE), "something followed it");
    session.on_time(&mut output);
    assert_eq!(session.deadline(), None, "the line is typed");
    session.feed(b"micrun> ", begin, &mut output);
    assert_eq!(session.deadline(), Some(begin + GRACE), "it stands before the echo");
    session.feed(b"help\r\n", begin, &mut output);
    assert_eq!(session.deadline(), None);
    session.feed(b"micrun> ", begin, &mut output);
    assert_eq!(session.deadline(), Some(begin + QUIET));
    assert_eq!(session.on_time(&mut output), Next::Done { failed: false });
    assert_eq!(output, b"");
}

#[test]
fn the_last_words_of_a_guest_are_output() {
    let (mut session, _) = Session::begin(shell("micrun-test"), "crash".to_owned(), false);
    let (now, mut output) = (Instant::now(), Vec::new());
    session.feed(b"micrun> ", now, &mut output);
    session.on_time(&mut output);
    session.feed(b"crash\r\n\r\nFAULT: esr=0x2000000\r\nmicr", now, &mut output);
    assert_eq!(session.end(&mut output), None);
    assert_eq!(output, b"\nFAULT: esr=0x2000000\nmicr");
    session.feed(b"more", now, &mut output);
    assert_eq!(output.len(), 26, "it is over");
}

#[test]
fn ctrl_c_goes_only_to_a_shell_that_hears_it() {
    for (os, expected) in [("u-boot", Some(vec![3])), ("zephyr", None)] {
        let (mut session, _) = Session::begin(shell(os), "x".to_owned(), false);
        assert_eq!(session.interrupt(), None, "nothing runs yet");
        session.on_time(&mut Vec::new());
        assert_eq!(session.interrupt(), expected, "{os}");
    }
}

/// Bytes that look like something.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&[u8]> = vec![
        b"\r",
        b"\n",
        b"\r\n",
        b"\0",
        b"\x1b[1;32m",
        b"\x1b[m",
        b"\x1b[8D\x1b[J",
        b"\x1b",
        b"\x1b]",
        b"micrun> ",
        b"uart:~$ ",
        b"msh /",
        b">",
        b"=> ",
        b"help",
        b"he",
        b"lp",
        b"x",
        b": command not found",
        b"\xff",
    ];
    prop_oneof![
        proptest::sample::select(words).prop_map(<[u8]>::to_vec),
        proptest::collection::vec(any::<u8>(), 0..4),
    ]
}

proptest! {
    /// However the guest's bytes are cut into pieces, the result is the same.
    #[test]
    fn cutting_changes_nothing(
        os in proptest::sample::select(OsProfile::built_in_names().collect::<Vec<_>>()),
        scenes in proptest::collection::vec(proptest::collection::vec(piece(), 0..12), 0..4),
        size in 1_usize..5,
        terminal: bool,
    ) {
        let scenes: Vec<Vec<u8>> = scenes.into_iter().map(|scene| scene.concat()).collect();
        let whole: Vec<Vec<&[u8]>> = scenes.iter().map(|scene| vec![scene.as_slice()]).collect();
        let cut: Vec<Vec<&[u8]>> = scenes.iter().map(|scene| scene.chunks(size).collect()).collect();
        prop_assert_eq!(play(os, "help", terminal, &whole), play(os, "help", terminal, &cut));
    }

    /// What is kept back is bounded, whatever the guest writes.
    #[test]
    fn little_is_kept_back(piece in piece(), terminal: bool) {
        let (mut session, _) = Session::begin(shell("rt-thread"), "help".to_owned(), terminal);
        session.on_time(&mut Vec::new());
        let flood = [b"msh /".as_slice(), &piece.repeat(3000)].concat();
        session.feed(&flood, Instant::now(), &mut Vec::new());
        prop_assert!(session.held.capacity() + session.blank.capacity() <= 8 * LONGEST_ROW);
    }

    /// What is neither prompt nor echo comes out as it went in.
    #[test]
    fn output_is_whole(lines in proptest::collection::vec("[a-z ]{0,9}", 0..6)) {
        let text: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let answer = format!("help\r\n{text}micrun> ");
        let seen = play("micrun-test", "help", false, &[vec![b"micrun> "], vec![answer.as_bytes()]]);
        prop_assert_eq!(String::from_utf8(seen.output).unwrap(), text.replace('\r', ""));
    }
}
