//! `builds inspect`: what was asked for, what came of it, and of what it was made (`spec/cli.md` section 14).

use std::fmt::Write as _;
use std::time::Duration;

use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};
use slipway_engine::{AttachmentRecord, BuildRecord, RequestSettings, Status, StepRecord};
use slipway_oci::{Digest, media_type, to_indented};
use slipway_store::Store;

use super::{NoBuildError, counts, duration, length, name, nanoseconds, status, time};
use crate::go_template::{Shape, Template, TemplateError};

/// In the words of Go, for messages.
const KIND: &str = "history.inspectOutput";
/// Tabs are as wide as on every terminal.
const TAB_COLUMNS: usize = 8;

/// What is known of `record`, as `format` says: `pretty`, `json` or a template.
pub(super) fn inspect(record: &BuildRecord, format: &str) -> Result<String, NoBuildError> {
    match format {
        "" | "pretty" | "table" => Ok(pretty(record)),
        "json" => {
            let bytes = to_indented(&without_empty(fields(record))).expect("because a record has only text keys");
            Ok(String::from_utf8_lossy(&bytes).into_owned() + "\n")
        }
        template => {
            let template = Template::parse(template).map_err(|error| NoBuildError::Template(told(&error)))?;
            let text = template.run(&as_in_go(fields(record), record), Shape::Struct(KIND));
            Ok(text.map_err(|error| NoBuildError::Template(told(&error)))? + "\n")
        }
    }
}

/// With the name that the reference gives its template.
fn told(error: &TemplateError) -> String {
    match error {
        TemplateError::Parse { line, reason } => {
            format!("failed to parse format template: template: inspect:{line}: {reason}")
        }
        TemplateError::Execute { line, column, at, reason } => format!(
            "failed to execute format template: template: inspect:{line}:{column}: executing \"inspect\" at <{at}>: {reason}"
        ),
    }
}

/// All fields, those that nothing is known of as well.
fn fields(record: &BuildRecord) -> Value {
    let (total, completed, cached) = counts(record);
    let request = &record.request;
    let pairs = |pairs: &[(String, String)]| -> Vec<Value> {
        pairs.iter().map(|(name, value)| json!({ "Name": name, "Value": value })).collect()
    };
    let materials = record
        .materials
        .iter()
        .map(|material| json!({ "URI": material.uri, "Digests": material.digest.iter().collect::<Vec<_>>() }));
    let attachments = record.attachments.iter().map(|attachment| {
        json!({ "Digest": attachment.digest, "Platform": attachment.platform, "Type": attachment.media_type })
    });
    json!({
        "Name": name(record),
        "Ref": record.id,
        "Context": request.context,
        "Dockerfile": request.dockerfile,
        "VCSRepository": "",
        "VCSRevision": "",
        "Target": request.target.clone().unwrap_or_default(),
        "Platform": request.platforms,
        "KeepGitDir": false,
        "NamedContexts": pairs(&request.named_contexts),
        "StartedAt": time(record.started_ns).to_string(),
        "CompletedAt": time(record.completed_ns).to_string(),
        "Duration": record.completed_ns - record.started_ns,
        "Status": status(record.status).to_lowercase(),
        "Error": failure(record),
        "NumCompletedSteps": completed,
        "NumTotalSteps": total,
        "NumCachedSteps": cached,
        "BuildArgs": pairs(&request.build_args),
        "Labels": pairs(&request.labels),
        "Config": config(&request.settings, request.platforms.len() > 1),
        "Materials": materials.collect::<Vec<_>>(),
        "Attachments": attachments.collect::<Vec<_>>(),
        "Errors": [],
    })
}

fn failure(record: &BuildRecord) -> Value {
    let Some(message) = &record.error else { return Value::Null };
    let failed = record.steps.iter().find(|step| step.error.is_some());
    json!({ "Message": message, "Name": failed.map(|step| step.name.as_str()).unwrap_or_default() })
}

fn config(settings: &RequestSettings, is_multi_platform: bool) -> Value {
    json!({
        "Network": settings.network,
        "ExtraHosts": settings.extra_hosts,
        "Hostname": "",
        "CgroupParent": "",
        "ImageResolveMode": if settings.pulls { "pull" } else { "" },
        "MultiPlatform": is_multi_platform,
        "NoCache": settings.ignores_cache,
        "NoCacheFilter": settings.ignores_cache_of,
        "ShmSize": settings.shm_size_bytes.map(|bytes| bytes.to_string()).unwrap_or_default(),
        "Ulimit": settings.ulimits.join(","),
        "RestRaw": [],
    })
}

/// As the reference writes it: what is empty, nothing or false is left out.
fn without_empty(value: Value) -> Value {
    let is_there = |value: &Value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(true) | Value::Number(_) => true,
    };
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| (name, without_empty(value)));
            Value::Object(fields.filter(|(_, value)| is_there(value)).collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_empty).collect()),
        value => value,
    }
}

/// With times as Go's templates print them.
fn as_in_go(mut fields: Value, record: &BuildRecord) -> Value {
    let shown = |ns: i64| time(ns).to_string().replace('T', " ").replace('Z', " +0000 UTC");
    fields["StartedAt"] = shown(record.started_ns).into();
    fields["CompletedAt"] = shown(record.completed_ns).into();
    fields["Duration"] = go_duration(length(record)).into();
    fields
}

/// `1h2m3.5s`, `26.962541355s`, `4.5ms`.
fn go_duration(duration: Duration) -> String {
    let ns = duration.as_nanos();
    let seconds = duration.as_secs();
    let below_minute = |unit_ns: u128, unit: &str| {
        let (whole, rest) = (ns / unit_ns, ns % unit_ns);
        let digits = unit_ns.ilog10() as usize;
        let fraction = format!("{rest:0digits$}");
        let fraction = if digits == 0 { "" } else { fraction.trim_end_matches('0') };
        let point = if fraction.is_empty() { "" } else { "." };
        format!("{whole}{point}{fraction}{unit}")
    };
    match seconds {
        0 if ns == 0 => "0s".to_owned(),
        0 if ns < 1_000 => below_minute(1, "ns"),
        0 if ns < 1_000_000 => below_minute(1_000, "µs"),
        0 => below_minute(1_000_000, "ms"),
        1..60 => below_minute(1_000_000_000, "s"),
        _ => {
            let rest = go_duration(Duration::from_nanos(u64::try_from(ns % 60_000_000_000).unwrap_or(0)));
            // What is below a second is told as a part of one there.
            let rest = if rest.ends_with("ms") || rest.ends_with("µs") || rest.ends_with("ns") {
                format!("0.{}s", format!("{:09}", ns % 1_000_000_000).trim_end_matches('0'))
            } else {
                rest
            };
            let hours = if seconds >= 3600 { format!("{}h", seconds / 3600) } else { String::new() };
            format!("{hours}{}m{rest}", seconds / 60 % 60)
        }
    }
}

fn pretty(record: &BuildRecord) -> String {
    let request = &record.request;
    let (total, completed, cached) = counts(record);
    let mut text = String::new();
    group(
        &mut text,
        &[
            ("Name:", name(record)),
            ("Ref:", record.id.clone()),
            ("Context:", request.context.clone()),
            ("Dockerfile:", request.dockerfile.clone()),
            ("Target:", request.target.clone().unwrap_or_default()),
            ("Platforms:", request.platforms.join(", ")),
            ("Tags:", request.tags.join(", ")),
            ("Secrets:", request.secrets.join(", ")),
        ],
    );
    let started = time(record.started_ns).to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string();
    let share = (100 * cached).checked_div(total).unwrap_or(0);
    let canceled = if record.status == Status::Canceled { status(record.status).to_owned() } else { String::new() };
    group(
        &mut text,
        &[
            ("Started:", started),
            ("Duration:", duration(length(record))),
            ("Error:", record.error.clone().filter(|_| canceled.is_empty()).unwrap_or_default()),
            ("Status:", canceled),
            ("Build Steps:", format!("{completed}/{total} ({share}% cached)")),
            ("Image:", record.image_id.as_ref().map(ToString::to_string).unwrap_or_default()),
        ],
    );
    let settings = &request.settings;
    group(
        &mut text,
        &[
            ("Network:", settings.network.clone()),
            ("Extra Hosts:", settings.extra_hosts.join(", ")),
            ("Image Resolve Mode:", if settings.pulls { "pull".to_owned() } else { String::new() }),
            ("No Cache:", if settings.ignores_cache { "true".to_owned() } else { String::new() }),
            ("No Cache Filter:", settings.ignores_cache_of.join(", ")),
            ("Shm Size:", settings.shm_size_bytes.map(|bytes| bytes.to_string()).unwrap_or_default()),
            ("Resource Limits:", settings.ulimits.join(", ")),
        ],
    );
    let rows = |pairs: &[(String, String)]| pairs.iter().map(|(name, value)| [name.clone(), value.clone()]).collect();
    table(&mut text, "", ["NAMED CONTEXT", "VALUE"], rows(&request.named_contexts));
    table(&mut text, "", ["BUILD ARG", "VALUE"], rows(&request.build_args));
    table(&mut text, "", ["LABEL", "VALUE"], rows(&request.labels));
    let materials = record.materials.iter().map(|m| [m.uri.clone(), m.digest.clone().unwrap_or_default()]);
    table(&mut text, "Materials:\n", ["URI", "DIGEST"], materials.collect());
    let attachment =
        |a: &AttachmentRecord| [a.digest.to_string(), a.platform.clone().unwrap_or_default(), a.media_type.clone()];
    let attachments = record.attachments.iter().map(attachment).collect();
    table(&mut text, "Attachments:\n", ["DIGEST", "PLATFORM", "TYPE"], attachments);
    table(&mut text, "", ["STEP", "DURATION", "NAME"], record.steps.iter().map(step).collect());
    let _ = writeln!(text, "Print build logs: slipway builds logs {}", record.id);
    text
}

fn step(step: &StepRecord) -> [String; 3] {
    let took = match (step.hit, step.started_ns.zip(step.completed_ns)) {
        (Some(_), _) => "cached".to_owned(),
        (None, Some((start, end))) => duration(nanoseconds(end - start)),
        (None, None) => "-".to_owned(),
    };
    [(step.number + 1).to_string(), took, step.name.clone()]
}

/// Lines with a title each, but for those without a value, and an empty one behind them.
fn group(text: &mut String, lines: &[(&str, String)]) {
    let lines = lines.iter().filter(|(_, value)| !value.is_empty());
    let lines: Vec<[String; 2]> = lines.map(|(title, value)| [(*title).to_owned(), value.clone()]).collect();
    if !lines.is_empty() {
        text.push_str(&tabbed(&lines));
        text.push('\n');
    }
}

fn table<const N: usize>(text: &mut String, title: &str, header: [&str; N], rows: Vec<[String; N]>) {
    if rows.is_empty() {
        return;
    }
    text.push_str(title);
    text.push_str(&tabbed(&[vec![header.map(str::to_owned)], rows].concat()));
    text.push('\n');
}

/// Columns that tabs keep apart, as Go's `text/tabwriter` writes them for the reference.
fn tabbed<const N: usize>(rows: &[[String; N]]) -> String {
    let width_of = |column: usize| {
        let longest = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        (longest + 1).next_multiple_of(TAB_COLUMNS)
    };
    let widths: [usize; N] = std::array::from_fn(width_of);
    let mut text = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if column + 1 < N {
                let n_tabs = (widths[column] - cell.chars().count()).div_ceil(TAB_COLUMNS);
                text.push_str(&"\t".repeat(n_tabs));
            }
        }
        text.push('\n');
    }
    text
}

/// The bytes of a document that the build made: of `digest`, or of the first one of that kind and platform.
pub(super) fn attachment(
    store: &Store,
    record: &BuildRecord,
    digest: Option<&str>,
    kind: Option<&str>,
    platform: Option<&str>,
) -> Result<Vec<u8>, NoBuildError> {
    if digest.is_none() && kind.is_none() && platform.is_none() {
        return Err(NoBuildError::WhichAttachment);
    }
    let invalid = |text: &str| NoBuildError::AttachmentDigest(text.to_owned());
    let digest = digest.map(|text| text.parse::<Digest>().map_err(|_| invalid(text))).transpose()?;
    let is_meant = |attachment: &&AttachmentRecord| {
        digest.as_ref().is_none_or(|digest| *digest == attachment.digest)
            && kind.is_none_or(|kind| is_kind(&attachment.media_type, kind))
            && platform.is_none_or(|platform| attachment.platform.as_deref() == Some(platform))
    };
    let found = record.attachments.iter().find(is_meant);
    let found = found.ok_or_else(|| NoBuildError::NoAttachment(record.id.clone()))?;
    let gone = || NoBuildError::AttachmentGone(found.digest.clone());
    let (mut blob, _) = store.open_blob(&found.digest)?.ok_or_else(gone)?;
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut blob, &mut bytes).map_err(|_| gone())?;
    Ok(bytes)
}

/// Whether `--type` means this: a word for several media types, or one of these itself.
fn is_kind(media_type: &str, kind: &str) -> bool {
    match kind {
        "index" => [media_type::OCI_INDEX, media_type::DOCKER_INDEX].contains(&media_type),
        "manifest" => [media_type::OCI_MANIFEST, media_type::DOCKER_MANIFEST].contains(&media_type),
        "image" => [media_type::OCI_CONFIG, media_type::DOCKER_CONFIG].contains(&media_type),
        kind => media_type == kind,
    }
}

#[cfg(test)]
mod tests {
    use slipway_engine::MaterialRecord;

    use super::super::tests::record;
    use super::*;

    fn known() -> BuildRecord {
        let mut record = record("q2gx", "/src/app", Some("prod"));
        record.request.build_args = vec![("A".to_owned(), "1".to_owned())];
        record.request.settings = RequestSettings { network: "host".to_owned(), ..RequestSettings::default() };
        let digest = Digest::of(b"x");
        record.materials =
            vec![MaterialRecord { uri: "pkg:docker/busybox@latest".to_owned(), digest: Some(digest.to_string()) }];
        let media_type = media_type::OCI_MANIFEST.to_owned();
        record.attachments = vec![AttachmentRecord { digest, media_type, platform: None }];
        record
    }

    #[test]
    fn what_is_known_is_laid_out_as_by_the_reference() {
        let digest = Digest::of(b"x");
        let expected = format!(
            "Name:\t\tapp (prod)\nRef:\t\tq2gx\nContext:\t/src/app\nDockerfile:\tDockerfile\nTarget:\t\tprod\n\n\
             Started:\tSTARTED\nDuration:\t1m 23s\nBuild Steps:\t0/0 (0% cached)\n\nNetwork:\thost\n\n\
             BUILD ARG\tVALUE\nA\t\t1\n\n\
             Materials:\nURI\t\t\t\tDIGEST\npkg:docker/busybox@latest\t{digest}\n\n\
             Attachments:\nDIGEST\t\t\t\t\t\t\t\t\tPLATFORM\tTYPE\n{digest}\t\t\t{}\n\n\
             Print build logs: slipway builds logs q2gx\n",
            media_type::OCI_MANIFEST
        );
        let text = inspect(&known(), "pretty").unwrap();
        let started = text.lines().find(|line| line.starts_with("Started:")).unwrap();
        assert_eq!(text.replace(started, "Started:\tSTARTED"), expected);
    }

    #[test]
    fn json_leaves_out_what_is_empty_and_templates_do_not() {
        let json: Value = serde_json::from_str(&inspect(&known(), "json").unwrap()).unwrap();
        assert_eq!((&json["Status"], &json["Duration"]), (&"completed".into(), &83_000_000_000_i64.into()));
        assert_eq!(json["Config"], json!({"Network": "host"}));
        assert_eq!(json["Materials"][0]["Digests"][0], Digest::of(b"x").to_string());
        let keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        assert!(!keys.contains(&"VCSRevision") && !keys.contains(&"Error") && keys.contains(&"NumCachedSteps"));
        let written = |format: &str| inspect(&known(), format).unwrap_or_else(|error| error.to_string());
        assert_eq!(written("{{.Ref}} {{.Status}} <{{.VCSRevision}}> {{.Duration}}"), "q2gx completed <> 1m23s\n");
        assert_eq!(written("{{.StartedAt}}{{range .BuildArgs}} {{.Name}}{{end}}"), "1970-01-01 00:00:01 +0000 UTC A\n");
        assert_eq!(
            written("{{.Nope}}"),
            "failed to execute format template: template: inspect:1:2: executing \"inspect\" at <.Nope>: can't evaluate \
             field Nope in type history.inspectOutput"
        );
        assert_eq!(written("{{.Ref"), "failed to parse format template: template: inspect:1: unclosed action");
    }

    #[test]
    fn durations_are_those_of_go() {
        for (ns, expected) in [
            (0, "0s"),
            (15, "15ns"),
            (1_500, "1.5µs"),
            (4_500_000, "4.5ms"),
            (26_962_541_355, "26.962541355s"),
            (60_000_000_000, "1m0s"),
            (60_500_000_000, "1m0.5s"),
            (3_723_000_000_000, "1h2m3s"),
        ] {
            assert_eq!(go_duration(Duration::from_nanos(ns)), expected);
        }
    }
}
