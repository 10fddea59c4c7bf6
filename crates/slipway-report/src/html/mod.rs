//! A build as one page of HTML that needs nothing else: no network, no script. The browser is told to permit neither.
//!
//! Works without a mouse and without eyes: sections have headings, each picture has a table that says the same, what can
//! be chosen is a link, a `<details>` or a radio button.

mod comparison;
mod facts;
mod steps;
mod timeline;
mod treemap;

use std::fmt::Write as _;

use crate::escape::escaped;
use crate::report::Report;
use crate::svg::svg;

const STYLE: &str = include_str!("style.css");
const NO_NETWORK: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// The page.
pub fn html(report: &Report) -> String {
    let title = escaped(&format!("{} · slipway", report.name));
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{NO_NETWORK}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"generator\" content=\"slipway\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#content\">Skip to the build</a>\n"
    );
    let mut sections = vec![
        ("timeline", "Timeline", timeline::section(report)),
        ("stages", "Stages", stages(report)),
        ("steps", "Steps", steps::section(report)),
        ("sizes", "Sizes", treemap::section(report)),
    ];
    if let Some(against) = &report.against {
        sections.push(("comparison", "Comparison", comparison::section(report, against)));
    }
    sections.push(("about", "About", facts::section(report)));
    facts::header(&mut page, report);
    page.push_str("<nav aria-label=\"Sections\"><ul>\n");
    for (id, title, _) in &sections {
        let _ = writeln!(page, "<li><a href=\"#{id}\">{title}</a></li>");
    }
    page.push_str("</ul></nav>\n<main id=\"content\">\n");
    facts::cards(&mut page, report);
    facts::troubles(&mut page, report);
    for (id, title, content) in sections {
        let _ = write!(page, "<section aria-labelledby=\"{id}\">\n<h2 id=\"{id}\">{title}</h2>\n{content}</section>\n");
    }
    page.push_str(
        "</main>\n<footer>Written by slipway. This page loads nothing and runs no script.</footer>\n</body>\n</html>\n",
    );
    page
}

/// The stage graph, which may be wider than the window.
fn stages(report: &Report) -> String {
    if report.graph.stages.is_empty() {
        return "<p class=\"note\">The build ended before its stages were known.</p>\n".to_owned();
    }
    format!(
        "<p class=\"note\">Lines run from what is used to what uses it; dashed ones are copies. <b>✓</b> cached, <b>●</b> ran, \
         <b>✗</b> failed.</p>\n<div class=\"scroll graph\" tabindex=\"0\" role=\"group\" aria-label=\"Stage graph\">\n{}</div>\n",
        svg(&report.graph)
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::examples;
    use crate::report::{Against, ComparedStep, Measured, ReportStep};
    use crate::stages::StepState;

    fn step(number: u32, instruction: &str, state: StepState, start: u64, took: u64, size_bytes: u64) -> ReportStep {
        ReportStep {
            number,
            stage: Some("build".to_owned()),
            instruction: instruction.to_owned(),
            line: Some(3),
            state: Some(state),
            start: Some(Duration::from_secs(start)),
            took: Some(Duration::from_secs(took)),
            size_bytes: Some(size_bytes),
            is_in_image: number.is_multiple_of(2),
            reasons: vec!["main.go: content".to_owned()],
            ..ReportStep::default()
        }
    }

    fn report() -> Report {
        let before = Measured { state: Some(StepState::Ran), took: Some(Duration::from_secs(9)) };
        let after = Measured { state: Some(StepState::Hit), took: None };
        Report {
            name: "app (prod)".to_owned(),
            id: "q2gx2gt8rp9dh8bnhq8zfbzcl".to_owned(),
            status: "Completed".to_owned(),
            is_completed: true,
            started: "2026-11-22 10:00:00 UTC".to_owned(),
            wall: Duration::from_secs(12),
            steps: vec![
                step(0, "FROM golang", StepState::Hit, 0, 0, 300_000_000),
                step(1, "COPY . .", StepState::Ran, 0, 2, 20_000),
                step(2, "RUN make", StepState::Ran, 2, 9, 45_000_000),
                step(3, "RUN test", StepState::Failed, 2, 4, 0),
            ],
            critical_path: vec![1, 2],
            graph: examples::rails(),
            saved: Some(Duration::from_secs(40)),
            image_bytes: Some(345_000_000),
            against: Some(Against {
                id: "other".to_owned(),
                started: "2026-11-21 10:00:00 UTC".to_owned(),
                wall: Duration::from_secs(60),
                image_bytes: Some(340_000_000),
                rows: vec![ComparedStep {
                    name: "[build 1/2] RUN x".to_owned(),
                    before: Some(before),
                    after: Some(after),
                    number: Some(2),
                }],
            }),
            ..Report::default()
        }
    }

    /// Elements that have no end.
    const VOID: [&str; 5] = ["meta", "br", "input", "hr", "!DOCTYPE"];

    /// The tags of a page, each with its attributes; panics unless all elements are closed in their order.
    fn tags(page: &str) -> Vec<String> {
        let (mut open, mut all) = (Vec::new(), Vec::new());
        let style = page.find("<style>").unwrap()..page.rfind("</style>").unwrap();
        let mut rest = page;
        while let Some(start) = rest.find('<') {
            let at = page.len() - rest.len() + start;
            let end = rest[start..].find('>').unwrap() + start;
            let tag = &rest[start + 1..end];
            rest = &rest[end + 1..];
            if style.contains(&at)
                && at != style.start
                && !tag.starts_with("/style")
                && !all.is_empty()
                && open.last() == Some(&"style")
            {
                continue;
            }
            let name = tag.split([' ', '/']).find(|word| !word.is_empty()).unwrap();
            if tag.starts_with('/') {
                assert_eq!(open.pop(), Some(name), "near {}", &page[at.saturating_sub(200)..at]);
            } else if !tag.ends_with('/') && !VOID.contains(&name) {
                open.push(name);
            }
            all.push(tag.to_owned());
        }
        assert!(open.is_empty(), "{open:?}");
        all
    }

    fn values(tags: &[String], attribute: &str) -> Vec<String> {
        let key = format!(" {attribute}=\"");
        let after = tags.iter().filter_map(|tag| tag.split_once(&key).map(|(_, rest)| rest));
        after.map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
    }

    #[test]
    fn elements_are_closed_and_links_lead_somewhere() {
        let page = html(&report());
        let tags = tags(&page);
        let ids = values(&tags, "id");
        let once: BTreeSet<&String> = ids.iter().collect();
        assert_eq!(once.len(), ids.len(), "{ids:?}");
        let links = values(&tags, "href");
        assert!(links.len() > 10);
        for link in &links {
            assert!(once.contains(&link.strip_prefix('#').unwrap().to_owned()), "{link}");
        }
        for label in values(&tags, "aria-labelledby").iter().flat_map(|ids| ids.split(' ')) {
            assert!(once.contains(&label.to_owned()), "{label}");
        }
    }

    #[test]
    fn nothing_is_loaded_and_no_script_runs() {
        let page = html(&report());
        assert!(!page.contains("<script") && !page.contains("url(") && !page.contains("@import"));
        assert_eq!(
            page.matches("http").count(),
            page.matches("http-equiv").count() + page.matches("http://www.w3.org/2000/svg").count()
        );
    }

    #[test]
    fn what_people_and_programs_wrote_is_text() {
        let evil = "</pre></script><script>alert(1)</script><img src=x onerror=alert(1)>\" onclick=\"x\x1b[31m";
        let mut report = report();
        report.graph = examples::hostile();
        (report.name, report.error) = (evil.to_owned(), Some(evil.to_owned()));
        report.warnings = vec![evil.to_owned()];
        report.facts = vec![(evil.to_owned(), evil.to_owned())];
        for step in &mut report.steps {
            (step.instruction, step.log, step.stage) = (evil.to_owned(), evil.to_owned(), Some(evil.to_owned()));
            (step.reasons, step.error) = (vec![evil.to_owned()], Some(evil.to_owned()));
        }
        if let Some(against) = &mut report.against {
            (against.id, against.rows[0].name) = (evil.to_owned(), evil.to_owned());
        }
        let page = html(&report);
        assert!(!page.contains("<script") && !page.contains("<img") && !page.contains('\x1b'));
        for tag in tags(&page) {
            let outside_of_values: String = tag.split('"').step_by(2).collect();
            assert!(!outside_of_values.contains("onclick") && !outside_of_values.contains("onerror"), "{tag}");
        }
    }

    #[test]
    fn a_build_of_which_little_is_known_has_a_page() {
        let page = html(&Report { name: "x".to_owned(), status: "Error".to_owned(), ..Report::default() });
        tags(&page);
        assert!(page.contains("ended before"), "{page}");
    }

    #[test]
    fn ten_thousand_steps_have_a_page() {
        let mut report = report();
        report.graph = examples::tall(10_000);
        report.steps = (0..10_000).map(|n| step(n, "RUN x", StepState::Ran, u64::from(n), 1, 1000)).collect();
        let n_bytes = html(&report).len();
        assert!(n_bytes < 25_000_000, "{n_bytes}");
    }
}
