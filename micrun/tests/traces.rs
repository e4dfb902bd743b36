//! Spans of a shim's calls, as a collector gets them, and what a caller's trace becomes without one.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

mod support;

use std::time::Duration;

use containerd_shim_protos::ttrpc::context::Context;
use micrun::config::NodeConfig;
use micrun::trace::context::{SpanId, TraceContext, TraceId};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use proptest::prelude::*;
use support::collector::{Collector, Manner, attribute};
use support::echo::{Echo, Script};
use support::{Shim, create_request, kill, refusal, soon, start};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// A shim whose spans go to this collector.
async fn traced(collector: &Collector, driver: Echo) -> Shim {
    let mut config = NodeConfig::default();
    config.trace.endpoint = Some(collector.endpoint().parse().unwrap());
    Shim::configured(config, driver).await
}

/// A request's context with what containerd 2.x puts into it.
fn from(traceparent: &str) -> Context {
    let mut context = soon();
    context.add("traceparent".to_owned(), traceparent.to_owned());
    context.add("tracestate".to_owned(), "vendor=1".to_owned());
    context
}

fn sampled() -> Context {
    from(&format!("00-{TRACE}-{CALLER}-01"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const CREATE: &str = "containerd.task.v3.Task/Create";
const START: &str = "containerd.task.v3.Task/Start";

#[tokio::test]
async fn a_call_is_a_span_below_its_callers() {
    let collector = Collector::start(Manner::Accepts).await;
    let shim = traced(&collector, Echo::default()).await;
    let bundle = shim.bundle("a");
    let request =
        containerd_shim_protos::api::CreateTaskRequest { bundle: bundle.text(), ..create_request("a") };
    shim.task.create(sampled(), &request).await.unwrap();

    let call = collector.span(CREATE).await;
    assert_eq!((hex(&call.trace_id), hex(&call.parent_span_id)), (TRACE.to_owned(), CALLER.to_owned()));
    assert_eq!((call.trace_state.as_str(), call.flags & 0xff, call.kind), ("vendor=1", 1, 2));
    assert!(call.status.is_none(), "{call:?}");
    for (name, value) in [
        ("rpc.system", "ttrpc"),
        ("rpc.service", "containerd.task.v3.Task"),
        ("rpc.method", "Create"),
        ("rpc.ttrpc.status_code", "0"),
        ("container.id", "a"),
        ("containerd.namespace", "test"),
        ("micrun.pedestal", "qemu"),
        ("micrun.driver", "echo"),
    ] {
        assert_eq!(attribute(&call.attributes, name).as_deref(), Some(value), "{name}");
    }
    for step in
        ["reserve the name", "copy the image", "plan", "reserve", "create the guest", "connect the streams"]
    {
        is_within(&collector.span(step).await, &call);
    }
    for (name, value) in
        [("service.name", "containerd-shim-mica-v2"), ("service.version", env!("CARGO_PKG_VERSION"))]
    {
        assert_eq!(attribute(&collector.resource(), name).as_deref(), Some(value), "{name}");
    }
    assert!(attribute(&collector.resource(), "host.name").is_some_and(|host| !host.is_empty()));
}

#[track_caller]
fn is_within(step: &Span, call: &Span) {
    assert_eq!((&step.trace_id, &step.parent_span_id), (&call.trace_id, &call.span_id), "{}", step.name);
    assert_eq!((step.kind, step.flags & 0xff), (1, 1));
    assert_ne!(step.span_id, call.span_id);
    // Two clocks: when it began by the one, how long it took by the other.
    let slack = 50_000_000;
    assert!(call.start_time_unix_nano <= step.start_time_unix_nano + slack);
    assert!(step.start_time_unix_nano <= step.end_time_unix_nano);
    assert!(step.end_time_unix_nano <= call.end_time_unix_nano + slack);
}

#[tokio::test]
async fn what_the_containers_own_task_does_belongs_to_the_call() {
    let collector = Collector::start(Manner::Accepts).await;
    let shim = traced(&collector, Echo::default()).await;
    shim.create("a", &shim.bundle("a")).await.unwrap();
    shim.task.start(sampled(), &start("a")).await.unwrap();
    let call = collector.span(START).await;
    assert_eq!(hex(&call.parent_span_id), CALLER);
    assert_eq!(attribute(&call.attributes, "micrun.driver").as_deref(), Some("echo"));
    is_within(&collector.span("run the guest").await, &call);
}

#[tokio::test]
async fn a_call_of_nobodys_trace_begins_one() {
    let collector = Collector::start(Manner::Accepts).await;
    let shim = traced(&collector, Echo::default()).await;
    for malformed in ["", "00-0-0-1", "00-00000000000000000000000000000000-b7ad6b7169203331-01"] {
        assert!(shim.task.start(from(malformed), &start("x")).await.is_err());
    }
    shim.create("a", &shim.bundle("a")).await.unwrap();
    collector.span(CREATE).await;
    let roots: Vec<Span> =
        collector.spans().into_iter().filter(|span| span.parent_span_id.is_empty()).collect();
    assert_eq!(roots.len(), 4, "{roots:?}");
    let mut traces: Vec<String> = roots.iter().map(|span| hex(&span.trace_id)).collect();
    traces.sort();
    traces.dedup();
    assert_eq!(traces.len(), 4, "each is a trace of its own");
}

#[tokio::test]
async fn a_caller_that_records_nothing_gets_no_spans() {
    let collector = Collector::start(Manner::Accepts).await;
    let shim = traced(&collector, Echo::default()).await;
    let quiet = from(&format!("00-{TRACE}-{CALLER}-00"));
    assert!(shim.task.start(quiet, &start("x")).await.is_err());
    shim.create("a", &shim.bundle("a")).await.unwrap();
    collector.span(CREATE).await;
    assert!(collector.spans().iter().all(|span| hex(&span.trace_id) != TRACE));
}

#[tokio::test]
async fn a_failure_is_told_as_the_client_is() {
    let collector = Collector::start(Manner::Accepts).await;
    let shim = traced(&collector, Echo::with(Script { fail_create: true, ..Script::default() })).await;
    let (_, said) = refusal(shim.create("a", &shim.bundle("a")).await);
    let status = collector.span(CREATE).await.status.unwrap();
    assert_eq!((status.code(), status.message), (StatusCode::Error, said));
    let step = collector.span("create the guest").await.status.unwrap();
    assert_eq!(step.code(), StatusCode::Error);
    assert!(!step.message.is_empty());

    let (_, said) = refusal(shim.task.start(soon(), &start("x")).await);
    let call = collector.span(START).await;
    assert!(call.status.is_none(), "who asks for what is not there makes the mistake");
    assert_eq!(attribute(&call.attributes, "rpc.ttrpc.status_code").as_deref(), Some("5"));
    assert_eq!(attribute(&call.attributes, "error.message"), Some(said));
}

#[tokio::test]
async fn without_a_collector_the_guest_is_told_the_callers_trace() {
    let driver = Echo::default();
    let shim = Shim::start(driver.clone()).await;
    let request = containerd_shim_protos::api::CreateTaskRequest {
        bundle: shim.bundle("a").text(),
        ..create_request("a")
    };
    shim.task.create(sampled(), &request).await.unwrap();
    shim.create("b", &shim.bundle("b")).await.unwrap();
    let told: Vec<_> =
        driver.traces.lock().unwrap().iter().map(|trace| trace.map(|t| t.to_string())).collect();
    assert_eq!(told, [Some(format!("00-{TRACE}-{CALLER}-01")), None], "the caller's, and nobody's");
}

#[tokio::test]
async fn a_guest_is_told_the_span_that_creates_it() {
    let collector = Collector::start(Manner::Accepts).await;
    let driver = Echo::default();
    let shim = traced(&collector, driver.clone()).await;
    shim.create("a", &shim.bundle("a")).await.unwrap();
    let call = collector.span(CREATE).await;
    let told = driver.traces.lock().unwrap()[0].unwrap();
    assert_eq!((told.trace.to_string(), told.span.to_string()), (hex(&call.trace_id), hex(&call.span_id)));
}

/// A whole life of a container beside a collector that is of no use; nothing takes longer for that.
async fn lives_beside(manner: Manner) -> Collector {
    let collector = Collector::start(manner).await;
    let shim = traced(&collector, Echo::default()).await;
    let life = async {
        shim.run("a").await;
        shim.task.kill(soon(), &kill("a", 9)).await.unwrap();
        shim.task.wait(soon(), &support::wait("a")).await.unwrap();
        shim.task.delete(soon(), &support::delete("a")).await.unwrap();
    };
    tokio::time::timeout(Duration::from_secs(10), life).await.unwrap();
    collector
}

#[tokio::test]
async fn a_collector_of_no_use_harms_nothing() {
    for manner in
        [Manner::Refuses(500), Manner::Refuses(503), Manner::Babbles, Manner::Hangs, Manner::HangsUp]
    {
        let collector = lives_beside(manner).await;
        assert!(collector.spans().is_empty());
    }
}

#[tokio::test]
async fn spans_that_were_not_taken_for_now_go_with_the_next() {
    let collector = Collector::start(Manner::Refuses(503)).await;
    let shim = traced(&collector, Echo::default()).await;
    shim.create("a", &shim.bundle("a")).await.unwrap();
    while collector.connections() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    collector.behave(Manner::Accepts);
    shim.task.start(soon(), &start("a")).await.unwrap();
    collector.span(START).await;
    collector.span(CREATE).await;
}

#[tokio::test]
async fn nothing_is_sent_while_nothing_happens_and_what_happens_together_goes_together() {
    let collector = Collector::start(Manner::Accepts).await;
    let shim = traced(&collector, Echo::default()).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(collector.connections(), 0, "an idle shim");
    shim.create("a", &shim.bundle("a")).await.unwrap();
    collector.span(CREATE).await;
    assert_eq!(collector.connections(), 1, "one request for a call and its steps");
}

#[tokio::test]
async fn the_last_spans_are_sent_at_the_end() {
    let collector = Collector::start(Manner::Accepts).await;
    let mut shim = traced(&collector, Echo::default()).await;
    assert!(shim.task.start(soon(), &start("x")).await.is_err());
    shim.stop().await.unwrap().flush().await;
    assert!(collector.spans().iter().any(|span| span.name == START));
}

#[tokio::test]
async fn the_end_does_not_wait_for_a_collector_that_hangs() {
    let collector = Collector::start(Manner::Hangs).await;
    let mut shim = traced(&collector, Echo::default()).await;
    assert!(shim.task.start(soon(), &start("x")).await.is_err());
    let flushed = shim.stop().await.unwrap();
    tokio::time::timeout(Duration::from_secs(4), flushed.flush()).await.unwrap();
}

proptest! {
    #[test]
    fn every_context_is_read_back(trace in 1_u128.., span in 1_u64.., flags: u8) {
        let context = TraceContext {
            trace: TraceId(trace.to_be_bytes()),
            span: SpanId(span.to_be_bytes()),
            flags,
        };
        prop_assert_eq!(TraceContext::parse(&context.to_string()), Some(context));
    }

    #[test]
    fn whatever_is_read_is_written_as_it_came(text in "(00|[0-9a-f]{2})-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?|.*") {
        if let Some(context) = TraceContext::parse(&text) {
            let written = context.to_string();
            prop_assert_eq!(&written[2..], &text[2..written.len()]);
        }
    }

    #[test]
    fn whatever_a_collector_answers_is_read(answer: Vec<u8>, status in 0_u16..2000) {
        micrun::trace::http::status(&answer);
        let known = (100..600).contains(&status).then_some(status);
        prop_assert_eq!(micrun::trace::http::status(format!("HTTP/1.1 {status} x\r\n").as_bytes()), known);
    }

    #[test]
    fn an_endpoint_that_is_taken_is_one_line_without_blanks(text in "http://[ -~]{0,40}|\\PC*") {
        if let Ok(endpoint) = text.parse::<micrun::trace::Endpoint>() {
            prop_assert!(endpoint.to_string().bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }
}
