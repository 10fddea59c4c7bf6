//! Builds as a list (`spec/cli.md` section 14).

use jiff::Timestamp;
use serde_json::{Value, json};
use slipway_engine::BuildRecord;

use super::{counts, duration, length, name, status, time};
use crate::commands::images::age;
use crate::go_template::TemplateError;
use crate::listing::Listing;
use crate::metadata::full_reference;

/// How many builds are shown.
const MAX_LISTED: usize = 50;
/// How much of a name is shown.
const NAME_CHARS: usize = 36;

const LISTING: Listing<'_> = Listing {
    kind: "*history.lsContext",
    headers: &[
        ("Ref", "BUILD ID"),
        ("Name", "NAME"),
        ("Status", "STATUS"),
        ("CreatedAt", "CREATED AT"),
        ("Duration", "DURATION"),
    ],
    table: "{{.Ref}}\t{{.Name}}\t{{.Status}}\t{{.CreatedAt}}\t{{.Duration}}",
};

/// Writes the first of `all` as `format` says: `table`, `json` or a template. `is_long`: names are whole.
pub(super) fn list(all: &[BuildRecord], format: &str, is_long: bool, now: Timestamp) -> Result<String, TemplateError> {
    let shown = all.iter().take(MAX_LISTED);
    match format.trim() {
        "json" | "{{json .}}" | "{{ json . }}" => Ok(shown.map(|record| format!("{}\n", fields(record))).collect()),
        format => LISTING.write(format, &shown.map(|record| row(record, is_long, now)).collect::<Vec<_>>()),
    }
}

fn row(record: &BuildRecord, is_long: bool, now: Timestamp) -> Value {
    let name = name(record);
    json!({
        "Ref": record.id,
        "Name": if is_long { name } else { tail(&name) },
        "Status": status(record.status),
        "CreatedAt": age(time(record.started_ns), now),
        "Duration": duration(length(record)),
    })
}

fn fields(record: &BuildRecord) -> Value {
    let (total, completed, cached) = counts(record);
    // In the order in which the reference writes them.
    json!({
        "cached_steps": cached,
        "completed_at": time(record.completed_ns).to_string(),
        "completed_steps": completed,
        "created_at": time(record.started_ns).to_string(),
        "name": name(record),
        "ref": full_reference(&record.id),
        "status": status(record.status),
        "total_steps": total,
    })
}

/// The end of a long name.
fn tail(name: &str) -> String {
    let n_chars = name.chars().count();
    if n_chars <= NAME_CHARS {
        return name.to_owned();
    }
    format!("..{}", name.chars().skip(n_chars - NAME_CHARS + 2).collect::<String>())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::record;
    use super::*;

    #[test]
    fn builds_are_listed_as_docker_lists_them() {
        let now = Timestamp::from_second(3601).unwrap();
        let all = [
            record("q2gx2gt8rp9dh8bnhq8zfbzcl", "/src/app", Some("prod")),
            record("b", &format!("/{}", "x".repeat(40)), None),
        ];
        let expected = format!(
            "\
BUILD ID                    NAME                                   STATUS      CREATED AT          DURATION
q2gx2gt8rp9dh8bnhq8zfbzcl   app (prod)                             Completed   About an hour ago   1m 23s
b                           ..{}   Completed   About an hour ago   1m 23s
",
            "x".repeat(34)
        );
        assert_eq!(list(&all, "table", false, now).unwrap(), expected);
        let written = |format: &str| list(&all[..1], format, false, now).unwrap_or_else(|error| error.to_string());
        assert_eq!(written("{{.Ref}} {{upper .Status}}"), "q2gx2gt8rp9dh8bnhq8zfbzcl COMPLETED\n");
        assert_eq!(written("table {{.Name}}\\t{{.Duration}}"), "NAME         DURATION\napp (prod)   1m 23s\n");
        let nope = "template parsing error: template: :1:2: executing \"\" at <.CompletedSteps>: can't evaluate field \
                    CompletedSteps in type *history.lsContext";
        assert_eq!(written("{{.CompletedSteps}}"), nope);
        assert_eq!(written("{{json .}}"), written("json"));
        assert!(written("json").contains("\"total_steps\":0"), "{}", written("json"));
        assert_eq!(duration(Duration::from_millis(4540)), "4.5s");
        assert_eq!(duration(Duration::from_secs(63)), "1m  3s");
    }
}
