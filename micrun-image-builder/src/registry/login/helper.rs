//! The protocol of docker-credential-* programs: `get`, the registry on standard input, JSON on standard output
//! (docker/docker-credential-helpers, README).

use std::io::{Read, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use micrun_image_spec::text::excerpt;
use serde::Deserialize;

use super::Credential;

/// How long a helper may take: some ask the user for a passphrase.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// Most bytes that are read from one.
const MAX_OUTPUT: u64 = 64 << 10;
/// How often it is looked whether it has ended.
const POLL: Duration = Duration::from_millis(5);

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username")]
    user: String,
    #[serde(rename = "Secret")]
    secret: String,
}

/// True for what may stand behind `docker-credential-`: no paths.
pub(super) fn is_name(name: &str) -> bool {
    name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// Asks a helper. None if it has nothing for this server.
///
/// # Errors
/// A sentence on what went wrong.
pub(super) fn ask(
    mut command: Command,
    server: &str,
    patience: Duration,
) -> Result<Option<Credential>, String> {
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = command.spawn().map_err(|error| format!("cannot start it: {error}. Is it in PATH?"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read its input says so with its exit status.
        let _ = writeln!(stdin, "{server}");
    }
    let deadline = Instant::now() + patience;
    let output = read_output(&mut child, patience);
    let success = match output {
        Some(_) => wait(&mut child, deadline),
        None => None,
    };
    let (Some(output), Some(success)) = (output, success) else {
        // It may have ended just now; both fail then, and nothing is lost.
        let _ = child.kill();
        let _ = child.wait();
        return Err(format!("it did not answer within {} s", patience.as_secs()));
    };
    judge(success, &output)
}

/// Takes what a helper wrote.
fn judge(success: bool, output: &[u8]) -> Result<Option<Credential>, String> {
    let text = String::from_utf8_lossy(output);
    if !success {
        // The words that all helpers share (credentials/error.go there).
        let is_nothing = text.contains("credentials not found");
        return if is_nothing { Ok(None) } else { Err(format!("it failed: {}", excerpt(text.trim()))) };
    }
    // The answer is secret: the error must not quote it.
    let answer: Answer =
        serde_json::from_slice(output).map_err(|_| "its answer is not what helpers answer")?;
    Ok(match (answer.user.as_str(), answer.secret) {
        (_, secret) if secret.is_empty() => None,
        ("<token>", secret) => Some(Credential::IdentityToken(secret)),
        (user, secret) => Some(Credential::Password { user: user.to_owned(), password: secret }),
    })
}

/// Reads in a thread, which is left alone if it takes too long: what the helper started may hold the pipe open.
fn read_output(child: &mut Child, patience: Duration) -> Option<Vec<u8>> {
    let stdout = child.stdout.take()?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut output = Vec::new();
        let result = stdout.take(MAX_OUTPUT).read_to_end(&mut output);
        // Nobody listens any more if it took too long.
        let _ = sender.send(result.map(|_| output));
    });
    receiver.recv_timeout(patience).ok()?.ok()
}

/// Whether it ended well; None if it has not ended.
fn wait(child: &mut Child, deadline: Instant) -> Option<bool> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status.success()),
            Ok(None) if Instant::now() < deadline => thread::sleep(POLL),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn understands_what_helpers_answer() {
        let password = br#"{"ServerURL":"r.example","Username":"me","Secret":"pw"}"#;
        let token = br#"{"ServerURL":"r.example","Username":"<token>","Secret":"t"}"#;
        let me = Credential::Password { user: "me".into(), password: "pw".into() };
        assert_eq!(judge(true, password), Ok(Some(me)));
        assert_eq!(judge(true, token), Ok(Some(Credential::IdentityToken("t".into()))));
        assert_eq!(judge(false, b"credentials not found in native keychain\n"), Ok(None));
        assert!(judge(false, b"keychain is locked").unwrap_err().contains("locked"));
        assert!(!judge(true, b"secret").unwrap_err().contains("secret"));
    }

    #[test]
    fn a_name_is_no_path() {
        assert!(is_name("osxkeychain") && is_name("ecr-login"));
        assert!(!is_name("../../bin/sh") && !is_name("a b") && !is_name(&"x".repeat(65)));
    }

    #[cfg(unix)]
    mod programs {
        use super::*;

        fn ask_script(script: &str, patience: Duration) -> Result<Option<Credential>, String> {
            let mut shell = Command::new("sh");
            // What follows the script is its $0.
            shell.args(["-c", script]);
            ask(shell, "r.example:5000", patience)
        }

        #[test]
        fn is_told_the_server() {
            let script = r#"read server; echo "{\"Username\":\"$0\",\"Secret\":\"$server\"}""#;
            let expected = Credential::Password { user: "get".into(), password: "r.example:5000".into() };
            assert_eq!(ask_script(script, PATIENCE), Ok(Some(expected)));
        }

        #[test]
        fn may_hang_or_babble_or_be_missing() {
            let error = ask_script("exec sleep 600", Duration::from_millis(200)).unwrap_err();
            assert!(error.contains("did not answer"), "{error}");
            assert!(ask_script("exec yes", PATIENCE).is_err());
            let error =
                ask(Command::new("/nowhere/docker-credential-none"), "r.example", PATIENCE).unwrap_err();
            assert!(error.contains("PATH"), "{error}");
        }
    }
}
