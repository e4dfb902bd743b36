//! What a guest writes while a command runs in its shell.

// The folder alone: the rest of the runtime brings a hundred crates, which would all be built for the fuzzer.
#[path = "../../../../micrun/src/container/exec/session/mod.rs"]
#[allow(dead_code, reason = "the task of a command uses more of it")]
mod session;

use std::time::{Duration, Instant};

use micrun_image_spec::os::OsProfile;
use session::{Next, Session};

/// Between the pieces of the input that the guest writes before it is quiet for a while.
const QUIET: u8 = 0xfe;

/// The first byte chooses the shell. The result is the same, however the bytes are cut into pieces.
pub fn run(bytes: &[u8]) {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let names: Vec<&str> = OsProfile::built_in_names().collect();
    let name = names[usize::from(*choice) % names.len()];
    let profile = name.parse().ok().and_then(|os| OsProfile::built_in(&os));
    let Some(shell) = profile.and_then(|profile| profile.shell) else { return };
    let play = |size: usize| {
        let (mut session, mut typed) = Session::begin(shell.clone(), "help".to_owned(), choice & 0x80 != 0);
        let (mut now, mut output, mut done) = (Instant::now(), Vec::new(), None);
        for scene in bytes.split(|byte| *byte == QUIET) {
            for piece in scene.chunks(size) {
                session.feed(piece, now, &mut output);
            }
            if session.deadline().is_some() && done.is_none() {
                now += Duration::from_secs(3600);
                match session.on_time(&mut output) {
                    Next::Type(keys) => typed.extend(keys),
                    Next::Done { failed } => done = Some(failed),
                }
            }
        }
        let end = session.end(&mut output);
        assert!(output.len() <= 2 * bytes.len(), "the guest did not write that much");
        (typed, output, done, end)
    };
    assert_eq!(play(bytes.len().max(1)), play(1));
}
