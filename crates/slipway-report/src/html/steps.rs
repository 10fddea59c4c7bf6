//! Each step: what became of it and why, and what it wrote. Radio buttons choose which of them are shown.

use std::fmt::Write as _;

use super::timeline::label;
use crate::escape::escaped;
use crate::quantity::{duration, size};
use crate::report::{Report, ReportStep};
use crate::stages::StepState;

const CHOICES: [(&str, &str); 4] = [("all", "All"), ("ran", "Ran"), ("hit", "Cached"), ("logged", "With output")];

pub(super) fn section(report: &Report) -> String {
    if report.steps.is_empty() {
        return "<p class=\"note\">The build ended before its first step.</p>\n".to_owned();
    }
    let mut text = "<fieldset class=\"filter\"><legend>Show</legend>\n".to_owned();
    for (n, (id, title)) in CHOICES.iter().enumerate() {
        let checked = if n == 0 { " checked" } else { "" };
        let _ = writeln!(
            text,
            "<input type=\"radio\" name=\"filter\" id=\"filter-{id}\"{checked}><label for=\"filter-{id}\">{title}</label>"
        );
    }
    text.push_str("</fieldset>\n<ol class=\"steps\">\n");
    for step in &report.steps {
        write_step(&mut text, step, report.critical_path.contains(&step.number));
    }
    text.push_str("</ol>\n");
    text
}

fn write_step(text: &mut String, step: &ReportStep, is_critical: bool) {
    let word = StepState::word(step.state);
    let logged = if step.log.is_empty() { "" } else { " logged" };
    // What failed is open from the beginning.
    let open = if step.state == Some(StepState::Failed) { " open" } else { "" };
    let _ = writeln!(
        text,
        "<li class=\"{word}{logged}\"><details{open}><summary><span class=\"mark {word}\" title=\"{verdict}\">{}</span> \
         <span class=\"what\">{}<code>{}</code></span> <span class=\"measure\">{}</span></summary>",
        StepState::mark(step.state),
        step.stage.as_ref().map(|stage| format!("<span class=\"chip\">{}</span> ", escaped(stage))).unwrap_or_default(),
        escaped(&step.instruction),
        measure(step),
        verdict = verdict(step)
    );
    let _ = write!(text, "<div class=\"body\" id=\"step-{}\">\n<p><b>{}</b>", step.number, verdict(step));
    if let Some(line) = step.line {
        let _ = write!(text, " · line {line} of the Dockerfile");
    }
    if is_critical {
        text.push_str(" · on the critical path");
    }
    if step.is_in_image {
        text.push_str(" · in the image");
    }
    text.push_str("</p>\n");
    if !step.reasons.is_empty() {
        text.push_str("<ul class=\"reasons\">\n");
        for reason in &step.reasons {
            let _ = writeln!(text, "<li>{}</li>", escaped(reason));
        }
        text.push_str("</ul>\n");
    }
    if let Some(error) = &step.error {
        let _ = writeln!(text, "<pre class=\"error\" tabindex=\"0\">{}</pre>", escaped(error));
    }
    if !step.log.is_empty() {
        if step.n_bytes_left_out > 0 {
            let left_out = size(step.n_bytes_left_out);
            let _ = writeln!(text, "<p class=\"note\">{left_out} in the middle are left out.</p>");
        }
        let name = escaped(&label(step));
        let _ = writeln!(
            text,
            "<pre class=\"log\" tabindex=\"0\" role=\"group\" aria-label=\"Output of {name}\">{}</pre>",
            escaped(&step.log)
        );
    }
    text.push_str("</div>\n</details></li>\n");
}

fn verdict(step: &ReportStep) -> &'static str {
    match step.state {
        None => "Not reached",
        Some(StepState::Hit) => "Cached",
        Some(StepState::Ran) => "Ran",
        Some(StepState::Failed) => "Failed",
        Some(StepState::Canceled) => "Canceled",
    }
}

fn measure(step: &ReportStep) -> String {
    let took = step.took.filter(|_| step.state != Some(StepState::Hit)).map(duration);
    let size_bytes = step.size_bytes.filter(|bytes| *bytes > 0).map(size);
    [took, size_bytes].into_iter().flatten().collect::<Vec<_>>().join(" · ")
}
