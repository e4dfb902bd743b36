use std::io::Read;

use super::*;

fn logger() -> (io::PipeReader, Sink) {
    let (reader, writer) = io::pipe().unwrap();
    (reader, Sink::logger(pipe::Sender::from_owned_fd(writer.into()).unwrap(), 1 << 20))
}

#[tokio::test]
async fn a_program_has_it_when_it_has_read_it() {
    let (mut reader, mut sink) = logger();
    // More than the pipe holds.
    sink.push(&[b'x'; 100_000]);
    let begun = Duration::from_millis(30);
    assert!(tokio::time::timeout(begun, sink.flushed()).await.is_err(), "nobody has read it");
    let reading = std::thread::spawn(move || {
        reader.read_exact(&mut [0; 100_000]).unwrap();
        reader
    });
    sink.flushed().await;
    assert!(sink.ring.is_empty());
    let _open = reading.join().unwrap();
    sink.flushed().await;
}

#[tokio::test]
async fn a_program_that_is_gone_is_waited_for_by_nobody() {
    let (reader, mut sink) = logger();
    drop(reader);
    sink.push(b"lost");
    sink.push(b"lost, too");
    sink.flushed().await;
    sink.finish().await;
}

#[test]
fn a_disk_that_was_full_gets_what_was_kept_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut sink = Sink::file(&path, 1000).unwrap();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let Target::File(file) = std::mem::replace(&mut sink.target, Target::File(full)) else { panic!() };
    sink.push(b"one ");
    sink.push(b"two ");
    assert!(sink.failing, "the log says it once");
    sink.target = Target::File(file);
    sink.push(b"three");
    assert_eq!(fs::read(&path).unwrap(), b"one two three");
    assert!(!sink.failing);
}

#[tokio::test]
async fn a_fifo_without_a_reader_ends_with_its_guest() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
        .unwrap();
    let mut sink = Sink::fifo(&path, 1000, None).unwrap();
    sink.push(&[b'x'; 100_000]);
    sink.finish().await;
    let mut gone = Sink::fifo(&path, 1000, None).unwrap();
    fs::remove_file(&path).unwrap();
    gone.push(b"x");
    gone.finish().await;
}

#[test]
fn only_plain_files_are_logs() {
    let dir = tempfile::tempdir().unwrap();
    for path in [Path::new("/dev/null"), dir.path()] {
        assert!(Sink::file(path, 0).is_err(), "{}", path.display());
    }
}
