//! Builds as spans of OpenTelemetry: one for the build, and below it one for each step that did something. They are sent as
//! OTLP over HTTP in JSON (the mapping of opentelemetry-proto 1), or printed by `slipway builds trace`.
//!
//! A build never fails because of a collector, and waits for one no longer than [`MAX_WAIT`].

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use slipway_engine::{BuildRecord, Status, StepRecord};
use slipway_graph::request::NamedRequest;
use slipway_oci::Digest;
use slipway_registry::{ObjectBody, ObjectMethod, ObjectRequest, Registry};
use slipway_sandbox::ladder::Place;
use slipway_store::{OverlayFlavor, Store};

use crate::commands::builds;
use crate::{client_config, env_vars, place};

/// No collector holds a build up for longer, whatever it was told.
const MAX_WAIT: Duration = Duration::from_secs(2);
/// Of longer builds the first steps are told: collectors refuse what is larger than some MB.
const MAX_STEPS: usize = 5000;
/// The path that a base URL is completed with (OpenTelemetry Protocol Exporter, "Endpoint URLs for OTLP/HTTP").
const TRACES: &str = "v1/traces";
/// Kinds and codes of opentelemetry-proto 1.
const KIND_INTERNAL: u8 = 1;
const CODE_OK: u8 = 1;
const CODE_ERROR: u8 = 2;

/// The span that a build is part of (W3C Trace Context, section 3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parent {
    trace_id: String,
    span_id: String,
}

impl Parent {
    /// Reads `00-<trace id>-<span id>-<flags>`; what is not of that form stands for no parent.
    fn of(text: &str) -> Option<Parent> {
        let mut parts = text.trim().split('-');
        let (version, trace_id, span_id, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_hex = |text: &str, length: usize| {
            text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let is_given = |id: &str| id.bytes().any(|byte| byte != b'0');
        let is_whole = is_hex(version, 2) && is_hex(trace_id, 32) && is_hex(span_id, 16) && is_hex(flags, 2);
        (is_whole && version != "ff" && is_given(trace_id) && is_given(span_id))
            .then(|| Parent { trace_id: trace_id.to_owned(), span_id: span_id.to_owned() })
    }
}

/// Where spans go.
#[derive(Debug, PartialEq, Eq)]
struct Collector {
    url: String,
    headers: Vec<(String, String)>,
    timeout: Duration,
}

impl Collector {
    /// The one that the environment names.
    fn of_environment() -> Option<Collector> {
        if env_vars::OTEL_SDK_DISABLED.is_true() {
            return None;
        }
        let base = || {
            let base = env_vars::OTEL_EXPORTER_OTLP_ENDPOINT.get()?;
            Some(format!("{}/{TRACES}", base.trim_end_matches('/')))
        };
        let url = env_vars::OTEL_EXPORTER_OTLP_TRACES_ENDPOINT.get().or_else(base)?;
        let wanted = env_vars::OTEL_EXPORTER_OTLP_TIMEOUT.get().and_then(|text| text.parse().ok());
        let timeout = wanted.map_or(MAX_WAIT, Duration::from_millis).min(MAX_WAIT);
        Some(Collector { url, headers: headers(env_vars::OTEL_EXPORTER_OTLP_HEADERS.get().as_deref()), timeout })
    }
}

/// The builds that `requests` asked for and that began since `started` are told to the collector, if there is one. Gives a
/// remark if it did not take them.
pub(crate) fn send(requests: &[NamedRequest], place: Place, started: SystemTime) -> Option<String> {
    let collector = Collector::of_environment()?;
    let started_ns = started.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as i64;
    let store = Store::open(&place::store_root(place), OverlayFlavor::Outside).ok()?;
    let since = BuildRecord::newest_first(&store).ok()?.take_while(|build| build.completed_ns >= started_ns);
    let is_ours = |build: &BuildRecord| {
        build.started_ns >= started_ns && requests.iter().any(|named| build.is_of_file_of(&named.request))
    };
    let builds: Vec<BuildRecord> = since.filter(is_ours).take(requests.len()).collect();
    if builds.is_empty() {
        return None;
    }
    let parent = env_vars::TRACEPARENT.get().and_then(|text| Parent::of(&text));
    let body = to_json(&builds, &service_name(), parent.as_ref()).to_string();
    post(collector, body).err().map(|reason| format!("the spans of the build were not taken: {reason}"))
}

/// What the spans say they come from.
pub(crate) fn service_name() -> String {
    env_vars::OTEL_SERVICE_NAME.get().unwrap_or_else(|| "slipway".to_owned())
}

/// Sends on a thread of its own: looking a name up has no limit of time, and ends with the process.
fn post(collector: Collector, body: String) -> Result<(), String> {
    let deadline = Instant::now() + collector.timeout;
    let (sender, receiver) = crossbeam_channel::bounded(1);
    std::thread::spawn(move || {
        let registry = Registry::new(client_config::registry_config(false));
        let mut headers = vec![("Content-Type", "application/json".to_owned())];
        headers.extend(collector.headers.iter().map(|(name, value)| (name.as_str(), value.clone())));
        let answer = registry.object(ObjectRequest {
            method: ObjectMethod::Post,
            url: collector.url.clone(),
            headers,
            body: ObjectBody::Bytes(body.as_bytes()),
            timeout: Some(collector.timeout),
        });
        let outcome = match answer {
            Ok(answer) if answer.is_success() => Ok(()),
            Ok(answer) => Err(format!("the collector answered with status {}", answer.status)),
            Err(error) => Err(error.to_string()),
        };
        // Nobody may be waiting any more.
        let _ = sender.send(outcome);
    });
    receiver.recv_deadline(deadline).unwrap_or_else(|_| Err("the collector took too long".to_owned()))
}

/// `name=value,name=value` with percent-encoded values; what is not of that form is left out.
fn headers(text: Option<&str>) -> Vec<(String, String)> {
    let pairs = text.unwrap_or_default().split(',').filter_map(|pair| pair.split_once('='));
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    let is_value = |value: &str| value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    pairs
        .map(|(name, value)| (name.trim().to_owned(), percent_decoded(value.trim())))
        .filter(|(name, value)| is_name(name) && is_value(value))
        .collect()
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let coded = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let decoded = coded.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(decoded.unwrap_or(*first));
        rest = if decoded.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// An `ExportTraceServiceRequest` with `builds`, which are one trace each, or parts of that of `parent`.
pub(crate) fn to_json(builds: &[BuildRecord], service: &str, parent: Option<&Parent>) -> Value {
    let spans: Vec<Value> = builds.iter().flat_map(|build| spans(build, parent)).collect();
    json!({ "resourceSpans": [{
        "resource": { "attributes": [text("service.name", service)] },
        "scopeSpans": [{
            "scope": { "name": "slipway", "version": env!("CARGO_PKG_VERSION") },
            "spans": spans,
        }],
    }] })
}

fn spans(build: &BuildRecord, parent: Option<&Parent>) -> Vec<Value> {
    let trace_id = parent.map_or_else(|| id_of(&["trace", &build.id], 32), |parent| parent.trace_id.clone());
    let build_id = id_of(&["build", &build.id], 16);
    let mut attributes = vec![
        text("slipway.build.id", &build.id),
        text("slipway.build.context", &build.request.context),
        text("slipway.build.dockerfile", &build.request.dockerfile),
        number("slipway.build.cached_steps", build.steps.iter().filter(|step| step.hit.is_some()).count() as u64),
        number("slipway.build.steps", build.steps.len() as u64),
    ];
    attributes.extend(build.request.target.as_ref().map(|target| text("slipway.build.target", target)));
    attributes.extend(build.image_id.as_ref().map(|id| text("slipway.image.id", id.as_str())));
    attributes.extend(build.image_bytes.map(|bytes| number("slipway.image.size", bytes)));
    let status = match build.status {
        Status::Completed => json!({ "code": CODE_OK }),
        Status::Error | Status::Canceled => {
            json!({ "code": CODE_ERROR, "message": build.error.clone().unwrap_or_default() })
        }
    };
    let times = (build.started_ns, build.completed_ns);
    let mut root = span(&trace_id, &build_id, &format!("build {}", builds::name(build)), times, attributes, status);
    if let Some(parent) = parent {
        root["parentSpanId"] = json!(parent.span_id);
    }
    let steps = build.steps.iter().take(MAX_STEPS).filter_map(|step| {
        let times = (step.started_ns?, step.completed_ns.unwrap_or(build.completed_ns));
        let id = step_id(build, step.number);
        let mut span = span(&trace_id, &id, &step.name, times, step_attributes(step), step_status(step));
        span["parentSpanId"] = json!(build_id);
        let inputs = step.vertex.iter().flat_map(|vertex| &vertex.inputs);
        let links: Vec<Value> =
            inputs.map(|input| json!({ "traceId": trace_id, "spanId": step_id(build, *input) })).collect();
        if !links.is_empty() {
            span["links"] = json!(links);
        }
        Some(span)
    });
    [root].into_iter().chain(steps).collect()
}

fn span(trace: &str, id: &str, name: &str, times: (i64, i64), attributes: Vec<Value>, status: Value) -> Value {
    json!({
        "traceId": trace,
        "spanId": id,
        "name": name,
        "kind": KIND_INTERNAL,
        // Numbers of 64 bits are texts in JSON of protobuf.
        "startTimeUnixNano": times.0.to_string(),
        "endTimeUnixNano": times.1.to_string(),
        "attributes": attributes,
        "status": status,
    })
}

fn step_attributes(step: &StepRecord) -> Vec<Value> {
    let mut attributes = vec![flag("slipway.step.cached", step.hit.is_some())];
    attributes.extend(step.stage().map(|stage| text("slipway.step.stage", stage)));
    attributes.extend(step.lines.map(|(first, _)| number("slipway.step.line", first as u64)));
    attributes.extend(step.vertex.as_ref().map(|vertex| text("slipway.step.key", vertex.key.as_str())));
    attributes
}

fn step_status(step: &StepRecord) -> Value {
    match &step.error {
        Some(message) => json!({ "code": CODE_ERROR, "message": message }),
        None if step.is_canceled => json!({ "code": CODE_ERROR, "message": "canceled" }),
        None => json!({ "code": CODE_OK }),
    }
}

fn step_id(build: &BuildRecord, number: u32) -> String {
    id_of(&["step", &build.id, &number.to_string()], 16)
}

/// An id that the same build always has.
fn id_of(parts: &[&str], length: usize) -> String {
    Digest::of(parts.join("\0").as_bytes()).hex()[..length].to_owned()
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn number(key: &str, value: u64) -> Value {
    json!({ "key": key, "value": { "intValue": value.to_string() } })
}

fn flag(key: &str, value: bool) -> Value {
    json!({ "key": key, "value": { "boolValue": value } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_are_taken_only_in_their_form() {
        let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        let expected = Parent { trace_id: trace.to_owned(), span_id: span.to_owned() };
        assert_eq!(Parent::of(&format!("00-{trace}-{span}-01")), Some(expected));
        let zeros = "0".repeat(32);
        for bad in [
            String::new(),
            format!("00-{trace}-{span}"),
            format!("ff-{trace}-{span}-01"),
            format!("00-{zeros}-{span}-01"),
            format!("00-{}-{span}-01", trace.to_uppercase()),
            format!("00-{trace}é-{span}-01"),
        ] {
            assert_eq!(Parent::of(&bad), None, "{bad}");
        }
    }

    #[test]
    fn headers_are_decoded_and_cannot_bring_others() {
        let found = headers(Some("api-key=a%20b%3D, x=y=z,bad name=1,evil=a%0D%0Ab,=c,d, p=50%"));
        let expected = [("api-key", "a b="), ("x", "y=z"), ("p", "50%")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(found, expected);
    }
}
