//! Against a systemd of ours: the same authentication and the same messages, on a socket of the test's own.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::JoinHandle;

use proptest::prelude::*;

use super::wire::{Body, Message, Method, call, length};
use super::*;

/// What a peer answers a call with, and what it tells afterwards.
type Script = fn(number: u32, stream: &mut UnixStream);

/// Takes one connection; gives the bytes of the call.
fn peer(script: Script) -> (tempfile::TempDir, Unit, JoinHandle<Vec<u8>>) {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("private");
    let listener = UnixListener::bind(&socket).unwrap();
    let peer = std::thread::spawn(move || {
        let mut stream = BufReader::new(listener.accept().unwrap().0);
        let mut line = Vec::new();
        stream.read_until(b'\n', &mut line).unwrap();
        assert!(line.starts_with(b"\0AUTH EXTERNAL ") && line.ends_with(b"\r\n"), "{line:?}");
        stream.get_mut().write_all(b"OK 0123456789abcdef0123456789abcdef\r\n").unwrap();
        line.clear();
        stream.read_until(b'\n', &mut line).unwrap();
        assert_eq!(line, b"BEGIN\r\n");
        let mut prefix = [0; wire::PREFIX];
        stream.read_exact(&mut prefix).unwrap();
        let mut bytes = prefix.to_vec();
        bytes.resize(length(&prefix).unwrap(), 0);
        stream.read_exact(&mut bytes[wire::PREFIX..]).unwrap();
        script(u32::from_le_bytes(bytes[8..12].try_into().unwrap()), stream.get_mut());
        bytes
    });
    let scope = Scope { slice: "a-b.slice".to_owned(), unit: "x-y.scope".to_owned() };
    (dir, Unit { scope, socket }, peer)
}

/// A message as systemd writes it: kind, fields as (code, type, text or number), arguments.
fn message(kind: u8, fields: &[(u8, &str, &str)], reply_to: u32, arguments: &[&str]) -> Vec<u8> {
    let mut header = vec![0, 0, 0, 0];
    let pad = |bytes: &mut Vec<u8>, to: usize| bytes.resize(bytes.len().next_multiple_of(to), 0);
    let text = |bytes: &mut Vec<u8>, text: &str| {
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend((text.len() as u32).to_le_bytes());
        bytes.extend(text.bytes());
        bytes.push(0);
    };
    header.extend([5, 1, b'u', 0]);
    header.extend(reply_to.to_le_bytes());
    for (code, signature, value) in fields {
        // Fields begin at a multiple of eight of the whole message, which the first of them does.
        let at = (header.len() - 4).next_multiple_of(8) + 4;
        header.resize(at, 0);
        header.extend([*code, signature.len() as u8]);
        header.extend(signature.bytes());
        header.push(0);
        if *signature == "g" {
            header.push(value.len() as u8);
            header.extend(value.bytes());
            header.push(0);
        } else {
            header.resize((header.len() - 4).next_multiple_of(4) + 4, 0);
            text(&mut header, value);
        }
    }
    let fields_length = (header.len() - 4) as u32;
    header[..4].copy_from_slice(&fields_length.to_le_bytes());
    let mut body = Vec::new();
    for argument in arguments {
        match argument.parse::<u32>() {
            Ok(number) => {
                pad(&mut body, 4);
                body.extend(number.to_le_bytes());
            }
            Err(_) => text(&mut body, argument),
        }
    }
    let mut bytes = vec![b'l', kind, 1, 1];
    bytes.extend((body.len() as u32).to_le_bytes());
    bytes.extend(7u32.to_le_bytes());
    bytes.extend(header);
    pad(&mut bytes, 8);
    bytes.extend(body);
    bytes
}

const JOB: &str = "/org/freedesktop/systemd1/job/12";

fn returns(number: u32) -> Vec<u8> {
    message(2, &[(8, "g", "o")], number, &[JOB])
}

fn removed(job: &str, result: &str) -> Vec<u8> {
    let fields = [
        (1, "o", "/org/freedesktop/systemd1"),
        (2, "s", "org.freedesktop.systemd1.Manager"),
        (3, "s", "JobRemoved"),
        (8, "g", "uoss"),
    ];
    message(4, &fields, 0, &["12", job, "x-y.scope", result])
}

fn limits() -> Limits {
    Limits {
        weight: Some(Weight::of_shares(1024)),
        capacity: Capacity::of_quota(2_500, Some(100_000)),
        cpus: Some("0,9".parse().unwrap()),
        memory: Some(1 << 26),
        min_memory: Some(1 << 20),
    }
}

#[test]
fn a_scope_starts_with_its_process_and_its_limits() {
    let (_dir, unit, peer) = peer(|number, stream| {
        stream.write_all(&removed("/org/freedesktop/systemd1/job/11", "canceled")).unwrap();
        stream.write_all(&returns(number)).unwrap();
        stream.write_all(&removed(JOB, "done")).unwrap();
    });
    unit.start_with(77, &limits(), true).unwrap();
    let bytes = peer.join().unwrap();
    let sent = String::from_utf8_lossy(&bytes);
    for word in
        ["StartTransientUnit", "ssa(sv)a(sa(sv))", "x-y.scope", "replace", "a-b.slice", "Delegate", "PIDs"]
    {
        assert!(sent.contains(word), "{word} in {sent:?}");
    }
    // The whole of it, as busctl would send it: name and mode first.
    assert_eq!(Message::parse(&bytes).unwrap().text(1), Some("replace"));
}

#[test]
fn limits_as_systemd_names_them() {
    let bits = Value::Bytes(vec![1, 2]);
    let long = Value::Long;
    let unified = [
        ("CPUWeight", long(39)),
        ("CPUQuotaPerSecUSec", long(30_000)),
        ("AllowedCPUs", bits),
        ("MemoryMax", long(1 << 26)),
        ("MemoryLow", long(1 << 20)),
    ];
    assert_eq!(of_limits(&limits(), true), unified);
    let split =
        [("CPUShares", long(1024)), ("CPUQuotaPerSecUSec", long(30_000)), ("MemoryLimit", long(1 << 26))];
    assert_eq!(of_limits(&limits(), false), split);
    assert_eq!(capacity(Capacity::UNLIMITED), ("CPUQuotaPerSecUSec", long(u64::MAX)));
}

#[test]
fn a_refusal_is_told_in_systemds_words() {
    let (_dir, unit, peer) = peer(|number, stream| {
        let name = "org.freedesktop.systemd1.UnitExists";
        let fields = [(4, "s", name), (8, "g", "s")];
        stream.write_all(&message(3, &fields, number, &["Unit x-y.scope was already loaded."])).unwrap();
    });
    let said = unit.start_with(77, &limits(), true).unwrap_err().to_string();
    peer.join().unwrap();
    assert!(said.contains("x-y.scope") && said.contains("already loaded"), "{said}");
}

#[test]
fn a_job_that_fails_is_no_scope() {
    let (_dir, unit, peer) = peer(|number, stream| {
        stream.write_all(&returns(number)).unwrap();
        stream.write_all(&removed(JOB, "failed")).unwrap();
    });
    let said = unit.start_with(77, &limits(), true).unwrap_err().to_string();
    peer.join().unwrap();
    assert!(said.contains("failed"), "{said}");
}

#[test]
fn a_systemd_that_hangs_up_is_told_from_one_that_refuses() {
    let (_dir, unit, peer) = peer(|_, _| {});
    let change = Change::Weight(Weight::default());
    assert!(matches!(unit.change(&change, true), Err(SystemdError::Io { .. })));
    peer.join().unwrap();
    let nowhere = Unit { socket: "/nowhere/private".into(), ..unit };
    assert!(!nowhere.is_manageable());
    assert!(nowhere.change(&change, true).unwrap_err().to_string().contains("/nowhere/private"));
}

#[test]
fn a_change_is_told_and_what_systemd_has_no_part_in_is_not() {
    let (_dir, unit, peer) = peer(|number, stream| {
        stream.write_all(&message(2, &[], number, &[])).unwrap();
    });
    unit.change(&Change::Vcpus(2), true).unwrap();
    unit.change(&Change::Cpus("0".parse().unwrap()), false).unwrap();
    unit.change(&Change::Capacity(Capacity::of_percent(50)), true).unwrap();
    let sent = String::from_utf8_lossy(&peer.join().unwrap()).into_owned();
    assert!(sent.contains("SetUnitProperties") && sent.contains("CPUQuotaPerSecUSec"), "{sent:?}");
}

#[test]
fn a_message_is_laid_out_as_the_specification_says() {
    let mut body = Body::default();
    body.text("ab").number(1).properties(&[("P", Value::Long(258))]).nothing();
    let bytes = call(3, Method { path: "/a", interface: "b.c", name: "D", signature: "sba(sv)" }, &body);
    #[rustfmt::skip]
    let expected = [
        // order, kind, flags, version; length of the body, number, length of the fields
        b'l', 1, 0, 1, 48, 0, 0, 0, 3, 0, 0, 0, 61, 0, 0, 0,
        1, 1, b'o', 0, 2, 0, 0, 0, b'/', b'a', 0, 0, 0, 0, 0, 0,
        2, 1, b's', 0, 3, 0, 0, 0, b'b', b'.', b'c', 0, 0, 0, 0, 0,
        3, 1, b's', 0, 1, 0, 0, 0, b'D', 0, 0, 0, 0, 0, 0, 0,
        8, 1, b'g', 0, 7, b's', b'b', b'a', b'(', b's', b'v', b')', 0, 0, 0, 0,
        2, 0, 0, 0, b'a', b'b', 0, 0, 1, 0, 0, 0, 24, 0, 0, 0,
        1, 0, 0, 0, b'P', 0, 1, b't', 0, 0, 0, 0, 0, 0, 0, 0,
        2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    let shown = |bytes: &[u8]| format!("{bytes:?}");
    assert_eq!(shown(&bytes), shown(&expected));
}

proptest! {
    #[test]
    fn any_bytes_are_a_message_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..200), little in any::<bool>()) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = if little { b'l' } else { b'B' };
        }
        if let Some(prefix) = bytes.first_chunk() {
            prop_assert!(length(prefix).is_ok_and(|length| length <= wire::MAX_MESSAGE) || length(prefix).is_err());
        }
        let _ = Message::parse(&bytes);
    }
}
