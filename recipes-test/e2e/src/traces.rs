//! Traces from containerd through the shim to the guest. No package of a collector is in the registries that these
//! tests may use: what listens here is our own, and reads what comes with OpenTelemetry's own definitions.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::firmware::{OURS_ARM64, OURS_RISCV64};
use micrun_testkit::{observe, wait};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use crate::node::{Stage, Story};
use crate::story;

pub fn stories() -> Vec<Story> {
    vec![
        story("a trace from containerd to the guest", from_end_to_end),
        story("no collector, no trace, no socket", nothing),
    ]
}

/// containerd and its shims send their spans to one collector; the guest is told the span that creates it, and a
/// machine that cannot be told starts all the same.
fn from_end_to_end(stage: &mut Stage<'_>) -> Result<()> {
    let collector = Collector::start()?;
    stage.containerd.restart_with(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint)])?;
    stage.import_firmware(&OURS_ARM64)?;
    let mut console = stage.foreground(&OURS_ARM64, "traced")?;
    let shell = console.wait_for_prompt(&OURS_ARM64)?;
    console.send("trace")?;
    let answer = console.wait_for(shell.prompt)?;
    console.send("poweroff")?;
    console.exit()?;
    let told = answer.lines().find_map(|line| line.trim().strip_prefix("00-"));
    let told = told.with_context(|| format!("the guest knows no trace: {answer:?}"))?;
    let (trace, rest) = told.split_once('-').context("that is no traceparent")?;

    let (create, _) = collector.wait_for("the span of Create", |span, from| {
        from == SHIM && hex(&span.span_id) == rest[..16] && span.name.ends_with(".Task/Create")
    })?;
    ensure!(hex(&create.trace_id) == trace, "the guest was told another trace: {create:?}");
    for step in ["copy the image", "create the guest", "ask QEMU"] {
        collector.wait_for(step, |span, _| span.name == step && span.trace_id == create.trace_id)?;
    }
    // containerd tells a shim its trace since 2.0.
    if stage.release().version.starts_with("2.") {
        let parent = |span: &Span, from: &str| {
            from == "containerd" && span.span_id == create.parent_span_id && span.trace_id == create.trace_id
        };
        collector.wait_for("containerd's own span", parent)?;
    }
    stage.import_firmware(&OURS_RISCV64)?;
    stage.start(&OURS_RISCV64, "untold")?;
    stage.kill("untold", "SIGKILL")?;
    stage.reap("untold")?;
    stage.containerd.restart_with(&[])
}

/// Off by default: the shim has no internet socket, and the guest no trace.
fn nothing(stage: &mut Stage<'_>) -> Result<()> {
    stage.import_firmware(&OURS_ARM64)?;
    let mut console = stage.foreground(&OURS_ARM64, "untraced")?;
    let shell = console.wait_for_prompt(&OURS_ARM64)?;
    console.send("trace")?;
    let answer = console.wait_for(shell.prompt)?;
    ensure!(answer.contains("no trace"), "the guest was told a trace: {answer:?}");
    let shim = stage.shim()?.pid;
    let open = observe::descriptors(shim)?;
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        let text = std::fs::read_to_string(format!("/proc/{shim}/net/{table}"))
            .with_context(|| format!("cannot read {table}"))?;
        // The tenth word of a line is the socket's inode.
        let inodes = text.lines().skip(1).filter_map(|line| line.split_whitespace().nth(9));
        let own: Vec<_> = inodes.filter(|inode| open.contains(&format!("socket:[{inode}]"))).collect();
        ensure!(own.is_empty(), "the shim has {table} sockets: {own:?}");
    }
    console.send("poweroff")?;
    console.exit().map(drop)
}

/// The shim's `service.name`.
const SHIM: &str = "containerd-shim-mica-v2";

/// Takes spans on loopback, each with the name of the service that sent it.
struct Collector {
    endpoint: String,
    spans: Arc<Mutex<Vec<(Span, String)>>>,
}

impl Collector {
    fn start() -> Result<Collector> {
        let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen on loopback")?;
        let endpoint = format!("http://{}", listener.local_addr().context("cannot read the port")?);
        let spans = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&spans);
        // It ends with the process: nothing waits for it.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || serve(stream, &kept));
            }
        });
        Ok(Collector { endpoint, spans })
    }

    fn wait_for(&self, what: &str, is_it: impl Fn(&Span, &str) -> bool) -> Result<(Span, String)> {
        let look = || {
            let spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(spans.iter().find(|(span, from)| is_it(span, from)).cloned())
        };
        wait::until(what, look).with_context(|| {
            let spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
            let names: Vec<_> = spans.iter().map(|(span, from)| format!("{from}: {}", span.name)).collect();
            format!("the collector has {names:#?}")
        })
    }
}

/// One connection: requests until the client closes it.
fn serve(mut stream: TcpStream, kept: &Mutex<Vec<(Span, String)>>) -> Option<()> {
    stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
    loop {
        let body = request(&mut stream)?;
        let request = ExportTraceServiceRequest::decode(body.as_slice()).ok()?;
        for of_one in request.resource_spans {
            let attributes = of_one.resource.unwrap_or_default().attributes;
            let name = attributes.into_iter().find(|pair| pair.key == "service.name");
            let from = match name.and_then(|pair| pair.value?.value) {
                Some(Value::StringValue(text)) => text,
                _ => String::new(),
            };
            let spans = of_one.scope_spans.into_iter().flat_map(|scope| scope.spans);
            let spans = spans.map(|span| (span, from.clone()));
            kept.lock().unwrap_or_else(PoisonError::into_inner).extend(spans);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").ok()?;
    }
}

/// Reads a request and gives its body.
fn request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.extend(byte);
    }
    let head = String::from_utf8(head).ok()?.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?.parse().ok()?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(body)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
