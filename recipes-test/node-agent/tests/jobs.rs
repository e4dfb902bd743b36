//! The agent on this machine, over a socket pair in place of a serial port.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use micrun_node_agent::frame::{Frame, Kind};
use micrun_node_agent::serve::serve;

fn start() -> UnixStream {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    std::thread::spawn(move || serve(theirs.try_clone().unwrap(), theirs));
    assert_eq!(Frame::read(&mut ours).unwrap().unwrap().kind, Kind::Hello);
    ours
}

fn send(agent: &mut UnixStream, channel: u32, kind: Kind, payload: &[u8]) {
    Frame { channel, kind, payload: payload.to_vec() }.write(agent).unwrap();
}

/// All that comes until a channel has ended, as (channel, kind, text).
fn until_ended(agent: &mut UnixStream, channel: u32) -> Vec<(u32, Kind, String)> {
    let mut seen = Vec::new();
    loop {
        let frame = Frame::read(agent).unwrap().unwrap();
        let end = frame.kind == Kind::Ended && frame.channel == channel;
        seen.push((frame.channel, frame.kind, String::from_utf8_lossy(&frame.payload).into_owned()));
        if end {
            return seen;
        }
    }
}

fn status(frames: &[(u32, Kind, String)]) -> ExitStatus {
    let bytes = frames.last().unwrap().2.as_bytes();
    ExitStatus::from_raw(i32::from_le_bytes(bytes.try_into().unwrap()))
}

#[test]
fn a_program_reads_writes_and_ends() {
    let mut agent = start();
    send(&mut agent, 1, Kind::Run, b"sh\0-c\0cat; echo \"$1\" >&2; exit 3\0sh\0said so\0");
    send(&mut agent, 1, Kind::Input, b"typed");
    send(&mut agent, 1, Kind::Input, b"");
    let frames = until_ended(&mut agent, 1);
    assert!(frames.contains(&(1, Kind::Output, "typed".into())), "{frames:?}");
    assert!(frames.contains(&(1, Kind::Error, "said so\n".into())), "{frames:?}");
    assert_eq!(status(&frames).code(), Some(3));
}

#[test]
fn several_run_at_a_time_and_one_is_killed() {
    let mut agent = start();
    send(&mut agent, 1, Kind::Run, b"cat\0");
    send(&mut agent, 2, Kind::Run, b"true\0");
    assert_eq!(status(&until_ended(&mut agent, 2)).code(), Some(0));
    send(&mut agent, 1, Kind::Kill, b"");
    assert_eq!(status(&until_ended(&mut agent, 1)).signal(), Some(9));
}

#[test]
fn what_cannot_start_says_why() {
    let mut agent = start();
    send(&mut agent, 1, Kind::Run, b"micrun-no-such-program\0");
    let frames = until_ended(&mut agent, 1);
    assert!(frames[0].2.contains("cannot start \"micrun-no-such-program\""), "{frames:?}");
    send(&mut agent, 2, Kind::Connect, b"/nowhere/socket");
    let frames = until_ended(&mut agent, 2);
    assert!(frames[0].2.contains("cannot connect to /nowhere/socket"), "{frames:?}");
}
