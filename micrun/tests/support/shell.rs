//! A guest's shell, as the test firmware's: a prompt, an echo, and a few commands.

use std::time::Duration;

use micrun::pedestal::ExitCause;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::pty::Side;

const PROMPT: &str = "micrun> ";

/// Plays the shell until its guest ends by a command: the cause.
pub async fn play(mut terminal: Side) -> Option<ExitCause> {
    say(&mut terminal, "booted\r\n").await?;
    loop {
        say(&mut terminal, PROMPT).await?;
        let line = read_line(&mut terminal).await?;
        let (command, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match command {
            "" => {}
            "echo" => say(&mut terminal, &format!("{rest}\r\n")).await?,
            "lines" => {
                for number in 0..rest.parse().unwrap() {
                    say(&mut terminal, &format!("line {number:06}\r\n")).await?;
                }
            }
            "burn" => tokio::time::sleep(Duration::from_millis(rest.parse().unwrap())).await,
            "poweroff" => return Some(ExitCause::PoweredOff),
            "crash" => {
                say(&mut terminal, "FAULT: on purpose\r\n").await?;
                return Some(ExitCause::Crashed("on purpose".to_owned()));
            }
            unknown => say(&mut terminal, &format!("unknown command: {unknown} (try help)\r\n")).await?,
        }
    }
}

async fn say(terminal: &mut Side, text: &str) -> Option<()> {
    terminal.write_all(text.as_bytes()).await.ok()
}

async fn read_line(terminal: &mut Side) -> Option<String> {
    let mut line = Vec::new();
    loop {
        match terminal.read_u8().await.ok()? {
            b'\r' => {
                say(terminal, "\r\n").await?;
                return String::from_utf8(line).ok();
            }
            key => {
                terminal.write_all(&[key]).await.ok()?;
                line.push(key);
            }
        }
    }
}
