//! The streams that the engine names.

use std::fs;

use containerd_shim_protos::api::{CloseIORequest, CreateTaskRequest};
use containerd_shim_protos::events::task::TaskCreate;
use containerd_shim_protos::ttrpc::Code;
use micrun::pedestal::ExitCause;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::dying;
use crate::support::echo::Echo;
use crate::support::{self, Shim, create_request, is_empty, refusal, soon, start};

#[tokio::test]
async fn a_stream_that_is_not_there_is_refused_and_the_guest_undone() {
    let echo = Echo::default();
    let shim = Shim::start(echo.clone()).await;
    let fifo = shim.dir.path().join("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let log_on_a_fifo = format!("file://{}", fifo.display());
    for stdout in ["/nowhere/fifo", "binary:///no/such/logger", "relative", &log_on_a_fifo] {
        let request = CreateTaskRequest {
            bundle: shim.bundle("a").text(),
            stdout: stdout.to_owned(),
            ..create_request("a")
        };
        let (code, text) = refusal(shim.task.create(soon(), &request).await);
        assert_eq!(code, Code::FAILED_PRECONDITION, "{text}");
        assert!(text.contains(stdout), "{text}");
        assert!(echo.daemon.guests().is_empty() && is_empty(&shim.dir.path().join("state")));
    }
}

#[tokio::test]
async fn output_goes_to_a_file_and_is_complete_at_the_exit() {
    let shim = Shim::start(dying(ExitCause::PoweredOff)).await;
    let log = shim.dir.path().join("a folder/log.txt");
    let request = CreateTaskRequest {
        bundle: shim.bundle("a").text(),
        stdout: format!("file://{}", log.display()).replace(' ', "%20"),
        ..create_request("a")
    };
    shim.task.create(soon(), &request).await.unwrap();
    shim.task.start(soon(), &start("a")).await.unwrap();
    shim.task.wait(soon(), &support::wait("a")).await.unwrap();
    assert_eq!(fs::read_to_string(&log).unwrap(), "echo ready\r\n");
    let created: TaskCreate = shim.containerd.event("/tasks/create");
    assert_eq!(created.io.stdout, request.stdout);
}

#[tokio::test]
async fn close_io_and_resize_are_taken_without_complaint() {
    let shim = Shim::start(Echo::default()).await;
    shim.run("a").await;
    let close = CloseIORequest { id: "a".into(), stdin: true, ..Default::default() };
    shim.task.close_io(soon(), &close).await.unwrap();
    let resize = containerd_shim_protos::api::ResizePtyRequest { id: "a".into(), ..Default::default() };
    shim.task.resize_pty(soon(), &resize).await.unwrap();
}
