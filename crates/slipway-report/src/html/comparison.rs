//! What differs from an earlier build, step by step.

use std::fmt::Write as _;

use crate::escape::escaped;
use crate::quantity::{duration, growth};
use crate::report::{Against, Measured, Report};
use crate::stages::StepState;

pub(super) fn section(report: &Report, against: &Against) -> String {
    let mut text = format!(
        "<p class=\"note\">Compared with <code>{}</code> of {}: {} then, {} now",
        escaped(&against.id),
        escaped(&against.started),
        duration(against.wall),
        duration(report.wall)
    );
    if let (Some(before), Some(after)) = (against.image_bytes, report.image_bytes) {
        let _ = write!(text, "; image {}", growth(before, after));
    }
    text.push_str(
        ".</p>\n<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"Comparison\"><table aria-label=\"Comparison\">\n<thead><tr>\
         <th scope=\"col\">Step</th><th scope=\"col\">Then</th><th scope=\"col\">Now</th><th scope=\"col\">Difference</th>\
         </tr></thead>\n<tbody>\n",
    );
    for row in &against.rows {
        let name = escaped(&row.name);
        let name = match row.number {
            Some(number) => format!("<a href=\"#step-{number}\">{name}</a>"),
            None => name,
        };
        let (difference, class) = difference(row.before, row.after);
        let _ = writeln!(
            text,
            "<tr><th scope=\"row\">{name}</th><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n {class}\">{difference}</td></tr>",
            cell(row.before),
            cell(row.after)
        );
    }
    text.push_str("</tbody>\n</table></div>\n");
    text
}

fn cell(measured: Option<Measured>) -> String {
    match measured {
        None => "–".to_owned(),
        Some(Measured { state: Some(StepState::Hit), .. }) => "cached".to_owned(),
        Some(Measured { state, took }) => {
            let took = took.map(duration).unwrap_or_default();
            let word = if state == Some(StepState::Ran) { "" } else { StepState::word(state) };
            format!("{took} {word}").trim().to_owned()
        }
    }
}

/// In words, and whether that is better or worse.
fn difference(before: Option<Measured>, after: Option<Measured>) -> (String, &'static str) {
    let (before, after) = match (before, after) {
        (None, _) => return ("new".to_owned(), ""),
        (_, None) => return ("gone".to_owned(), ""),
        (Some(before), Some(after)) => (before, after),
    };
    let spent =
        |measured: Measured| measured.took.filter(|_| measured.state != Some(StepState::Hit)).unwrap_or_default();
    let (before, after) = (spent(before), spent(after));
    let difference = before.abs_diff(after);
    match difference.as_millis() {
        0..50 => ("=".to_owned(), ""),
        _ if after > before => (format!("+{}", duration(difference)), "worse"),
        _ => (format!("-{}", duration(difference)), "better"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_cached_took_no_time() {
        let ran = |seconds| Some(Measured { state: Some(StepState::Ran), took: Some(Duration::from_secs(seconds)) });
        let hit = Some(Measured { state: Some(StepState::Hit), took: None });
        assert_eq!(difference(ran(3), hit), ("-3.0s".to_owned(), "better"));
        assert_eq!(difference(ran(3), ran(5)), ("+2.0s".to_owned(), "worse"));
        assert_eq!(difference(hit, hit).0, "=");
        assert_eq!((difference(None, hit).0, difference(hit, None).0), ("new".to_owned(), "gone".to_owned()));
        assert_eq!((cell(hit), cell(ran(1)), cell(None)), ("cached".to_owned(), "1.0s".to_owned(), "–".to_owned()));
    }
}
