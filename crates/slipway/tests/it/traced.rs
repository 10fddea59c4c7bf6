//! Builds as spans: what a collector is sent, and that a build never depends on one.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread::{self, JoinHandle};

use serde_json::Value;

use crate::process::wait_until;
use crate::site::{Site, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("a_collector_gets_the_spans_of_a_build", a_collector_gets_the_spans_of_a_build),
    test("a_failed_build_is_told_too", a_failed_build_is_told_too),
    test("a_build_does_not_depend_on_its_collector", a_build_does_not_depend_on_its_collector),
    test("spans_can_be_printed", spans_can_be_printed),
];

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// What came in one request.
struct Received {
    head: String,
    body: Value,
}

/// Takes one request and answers with `status`.
fn collect_one(status: &'static str) -> (String, JoinHandle<Received>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let thread = thread::spawn(move || answer(listener.accept().unwrap().0, status));
    (url, thread)
}

fn answer(mut stream: TcpStream, status: &str) -> Received {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
    }
    let lower = head.to_lowercase();
    let length = lower.split("content-length: ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    // Who gave up does not get it.
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}").ok();
    Received { head: lower, body: serde_json::from_slice(&body).unwrap() }
}

fn build(site: &Site, endpoint: &str) -> Command {
    let mut command = site.build_command(&["--network=none"]);
    command.arg(".").env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
    command
}

fn spans(body: &Value) -> &Vec<Value> {
    body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap()
}

fn span<'a>(spans: &'a [Value], name: &str) -> &'a Value {
    spans
        .iter()
        .find(|span| span["name"].as_str().unwrap().contains(name))
        .unwrap_or_else(|| panic!("{name}: {spans:?}"))
}

fn a_collector_gets_the_spans_of_a_build() {
    let site = Site::new("FROM busybox AS a\nRUN echo a\nFROM busybox\nCOPY --from=a /etc /x\n");
    let (url, collector) = collect_one("200 OK");
    let mut command = build(&site, &format!("{url}/"));
    command.env("TRACEPARENT", PARENT).env("OTEL_SERVICE_NAME", "ci").env("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b");
    run(&mut command).success();
    let received = collector.join().unwrap();
    assert!(received.head.starts_with("post /v1/traces http/1.1\r\n"), "{}", received.head);
    for header in ["content-type: application/json\r\n", "x-key: a b\r\n"] {
        assert!(received.head.contains(header), "{}", received.head);
    }
    let service = &received.body["resourceSpans"][0]["resource"]["attributes"][0];
    assert_eq!((&service["key"], &service["value"]["stringValue"]), (&"service.name".into(), &"ci".into()));
    let spans = spans(&received.body);
    let (root, ran, copied) = (span(spans, "build ctx"), span(spans, "RUN echo a"), span(spans, "COPY --from=a"));
    assert!(spans.iter().all(|span| span["traceId"] == "4bf92f3577b34da6a3ce929d0e0e4736"));
    assert_eq!(root["parentSpanId"], "00f067aa0ba902b7");
    assert_eq!((&ran["parentSpanId"], &ran["status"]["code"]), (&root["spanId"], &1.into()));
    assert!(copied["links"].as_array().unwrap().iter().any(|link| link["spanId"] == ran["spanId"]), "{copied}");
    let time = |span: &Value, key: &str| span[key].as_str().unwrap().parse::<u64>().unwrap();
    assert!(time(root, "startTimeUnixNano") <= time(ran, "startTimeUnixNano"));
    assert!(time(ran, "endTimeUnixNano") <= time(root, "endTimeUnixNano"));
    wait_until("a collector answers in time", || !told_with_collector(&site, "200 OK").contains("WARNING"));
    site.assert_tidy();
}

fn a_failed_build_is_told_too() {
    let site = Site::new("FROM busybox\nRUN exit 9\n");
    let (url, collector) = collect_one("200 OK");
    let mut command = site.build_command(&["--network=none"]);
    let whole = format!("{url}/own/path");
    run(command.arg(".").env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", whole)).failure();
    let received = collector.join().unwrap();
    assert!(received.head.starts_with("post /own/path http/1.1\r\n"), "{}", received.head);
    let failed = span(spans(&received.body), "RUN exit 9");
    assert_eq!(failed["status"]["code"], 2);
    assert!(failed["status"]["message"].as_str().unwrap().contains("exit code: 9"), "{failed}");
    assert_eq!(span(spans(&received.body), "build ctx")["status"]["code"], 2);
}

/// What a build says whose collector answers with `status`.
fn told_with_collector(site: &Site, status: &'static str) -> String {
    let (url, collector) = collect_one(status);
    let told = run(&mut build(site, &url)).success().stderr;
    collector.join().unwrap();
    told
}

/// One refuses connections, one refuses spans, one never answers, one has no URL.
fn a_build_does_not_depend_on_its_collector() {
    let site = Site::new("FROM busybox\nRUN echo x\n");
    let gone = "127.0.0.1:1";
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_url = format!("http://{}", silent.local_addr().unwrap());
    let warning = "WARNING: the spans of the build were not taken: ";
    for endpoint in [format!("http://{gone}"), silent_url, "not a url".to_owned()] {
        let mut command = build(&site, &endpoint);
        let told = run(command.env("OTEL_EXPORTER_OTLP_TIMEOUT", "500")).success().stderr;
        assert!(told.contains(warning), "{told}");
    }
    let refused = format!("{warning}the collector answered with status 400");
    wait_until("a collector refuses in time", || told_with_collector(&site, "400 Bad Request").contains(&refused));
    let mut command = build(&site, &format!("http://{gone}"));
    assert!(!run(command.env("OTEL_SDK_DISABLED", "true")).success().stderr.contains("spans"));
}

fn spans_can_be_printed() {
    let site = Site::new("FROM busybox\nRUN echo x\n");
    site.build(&["--network=none"]).success();
    site.build(&["--network=none"]).success();
    let outcome = run(site.slipway().args(["builds", "trace", "^1", "--compare", "^0"])).success();
    let body: Value = serde_json::from_slice(&outcome.stdout).unwrap();
    let spans = spans(&body);
    let traces: std::collections::BTreeSet<&str> = spans.iter().map(|span| span["traceId"].as_str().unwrap()).collect();
    assert_eq!(traces.len(), 2, "each build is a trace of its own");
    assert!(spans.iter().all(|span| span["spanId"].as_str().unwrap().len() == 16));
}
