//! What the page begins and ends with: name, numbers, troubles, and what was asked for.

use std::fmt::Write as _;

use crate::escape::escaped;
use crate::quantity::{duration, growth, size};
use crate::report::Report;
use crate::stages::StepState;

pub(super) fn header(page: &mut String, report: &Report) {
    let class = if report.is_completed { "good" } else { "bad" };
    let _ = write!(
        page,
        "<header>\n<p class=\"kicker\">slipway build report</p>\n<h1>{}</h1>\n\
         <p class=\"sub\"><span class=\"badge {class}\">{}</span> <time>{}</time> <code>{}</code></p>\n</header>\n",
        escaped(&report.name),
        escaped(&report.status),
        escaped(&report.started),
        escaped(&report.id)
    );
}

pub(super) fn cards(page: &mut String, report: &Report) {
    let count = |state| report.steps.iter().filter(|step| step.state == Some(state)).count();
    let before = report.against.as_ref();
    let mut cards = vec![(
        "Time",
        duration(report.wall),
        before.map(|before| format!("{} before", duration(before.wall))).unwrap_or_default(),
    )];
    let critical: std::time::Duration = report
        .steps
        .iter()
        .filter(|step| report.critical_path.contains(&step.number))
        .filter_map(|step| step.took)
        .sum();
    let n_failed = count(StepState::Failed);
    let failed = if n_failed > 0 { format!("{n_failed} failed") } else { String::new() };
    cards.push(("Critical path", duration(critical), format!("{} steps", report.critical_path.len())));
    cards.push(("Cached", count(StepState::Hit).to_string(), format!("of {} steps", report.steps.len())));
    cards.push(("Ran", count(StepState::Ran).to_string(), failed));
    if let Some(saved) = report.saved {
        cards.push(("Saved by the cache", duration(saved), String::new()));
    }
    if let Some(bytes) = report.image_bytes {
        let grown = before.and_then(|before| before.image_bytes).map(|before| growth(before, bytes));
        let compressed = report.compressed_bytes.map(|bytes| format!("{} compressed", size(bytes)));
        let remark = [grown, compressed].into_iter().flatten().collect::<Vec<_>>().join(", ");
        cards.push(("Image", size(bytes), remark));
    }
    page.push_str("<dl class=\"cards\">\n");
    for (title, value, remark) in cards {
        let _ = write!(page, "<div><dt>{title}</dt><dd>{}", escaped(&value));
        if !remark.is_empty() {
            let _ = write!(page, "<small>{}</small>", escaped(&remark));
        }
        page.push_str("</dd></div>\n");
    }
    page.push_str("</dl>\n");
}

/// Why the build failed, and what was said about the Dockerfile.
pub(super) fn troubles(page: &mut String, report: &Report) {
    if let Some(error) = &report.error {
        let _ = write!(
            page,
            "<section class=\"trouble bad\" aria-labelledby=\"error\">\n<h2 id=\"error\">The build failed</h2>\n\
             <pre tabindex=\"0\">{}</pre>\n</section>\n",
            escaped(error)
        );
    }
    if !report.warnings.is_empty() {
        let _ = write!(
            page,
            "<section class=\"trouble warn\" aria-labelledby=\"warnings\">\n<h2 id=\"warnings\">Warnings</h2>\n<ul>\n"
        );
        for warning in &report.warnings {
            let _ = writeln!(page, "<li>{}</li>", escaped(warning));
        }
        page.push_str("</ul>\n</section>\n");
    }
}

pub(super) fn section(report: &Report) -> String {
    let mut text = "<table class=\"facts\" aria-label=\"About the build\">\n<tbody>\n".to_owned();
    for (title, value) in &report.facts {
        let _ = writeln!(text, "<tr><th scope=\"row\">{}</th><td>{}</td></tr>", escaped(title), escaped(value));
    }
    text.push_str("</tbody>\n</table>\n");
    text
}
