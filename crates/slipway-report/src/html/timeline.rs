//! Steps as bars over time, on as few lanes as keep them apart; those on the critical path stand out.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::escape::escaped;
use crate::quantity::duration;
use crate::report::{Report, ReportStep};
use crate::stages::StepState;

/// A step with a time, and where it is drawn.
struct Bar<'a> {
    step: &'a ReportStep,
    start: Duration,
    took: Duration,
    lane: usize,
}

/// Where, in hundredths of the width, labels begin to stand before their marks.
const LAST_LABEL: f64 = 85.0;

pub(super) fn section(report: &Report) -> String {
    let (bars, n_lanes) = lanes(&report.steps);
    if bars.is_empty() {
        return "<p class=\"note\">No step ran.</p>\n".to_owned();
    }
    let end = bars.iter().map(|bar| bar.start + bar.took).max().unwrap_or_default().max(report.wall);
    let total = end.as_secs_f64().max(0.001);
    let mut text =
        "<p class=\"note\">Outlined steps are on the critical path: the build could not end before them.</p>\n\
                    <div class=\"timeline\">\n<div class=\"axis\" aria-hidden=\"true\">\n"
            .to_owned();
    for tick in ticks(total) {
        let left = 100.0 * tick / total;
        // Near the end there is no room to the right of the mark.
        let class = if left > LAST_LABEL { " class=\"last\"" } else { "" };
        let _ = writeln!(text, "<span{class} style=\"left:{left:.3}%\">{}</span>", tick_label(tick));
    }
    let _ = writeln!(text, "</div>\n<ul class=\"lanes\" style=\"--lanes:{n_lanes}\" aria-label=\"Steps over time\">");
    for bar in &bars {
        write_bar(&mut text, bar, report, total);
    }
    text.push_str("</ul>\n</div>\n");
    write_table(&mut text, &bars, report);
    text
}

/// Bars in the order of their beginning, and how many lanes they take.
fn lanes(steps: &[ReportStep]) -> (Vec<Bar<'_>>, usize) {
    let mut bars: Vec<Bar<'_>> = steps
        .iter()
        .filter(|step| step.state != Some(StepState::Hit))
        .filter_map(|step| Some(Bar { step, start: step.start?, took: step.took.unwrap_or_default(), lane: 0 }))
        .collect();
    bars.sort_by_key(|bar| (bar.start, bar.step.number));
    let mut free: BinaryHeap<Reverse<usize>> = BinaryHeap::new();
    let mut busy: BinaryHeap<Reverse<(Duration, usize)>> = BinaryHeap::new();
    let mut n_lanes = 0;
    for bar in &mut bars {
        while let Some(Reverse((until, lane))) = busy.peek().copied()
            && until <= bar.start
        {
            busy.pop();
            free.push(Reverse(lane));
        }
        bar.lane = free.pop().map_or_else(
            || {
                n_lanes += 1;
                n_lanes - 1
            },
            |Reverse(lane)| lane,
        );
        busy.push(Reverse((bar.start + bar.took, bar.lane)));
    }
    (bars, n_lanes)
}

fn write_bar(text: &mut String, bar: &Bar<'_>, report: &Report, total: f64) {
    let is_critical = report.critical_path.contains(&bar.step.number);
    let left = 100.0 * bar.start.as_secs_f64() / total;
    let width = 100.0 * bar.took.as_secs_f64() / total;
    let name = escaped(&label(bar.step));
    let critical = if is_critical { ", on the critical path" } else { "" };
    let description = format!("{name}: {}, after {}{critical}", duration(bar.took), duration(bar.start));
    let _ = writeln!(
        text,
        "<li style=\"--lane:{};left:{left:.3}%;width:{width:.3}%\"><a class=\"bar {}{}\" href=\"#step-{}\" title=\"{description}\" \
         aria-label=\"{description}\">{name}</a></li>",
        bar.lane,
        StepState::word(bar.step.state),
        if is_critical { " critical" } else { "" },
        bar.step.number
    );
}

/// The same in words.
fn write_table(text: &mut String, bars: &[Bar<'_>], report: &Report) {
    text.push_str(
        "<details class=\"fallback\"><summary>The timeline as a table</summary>\n<div class=\"scroll\" tabindex=\"0\" role=\"group\" \
         aria-label=\"Timeline as a table\"><table aria-label=\"Timeline\">\n<thead><tr><th scope=\"col\">Step</th><th scope=\"col\">Begins after</th>\
         <th scope=\"col\">Takes</th><th scope=\"col\">Critical path</th></tr></thead>\n<tbody>\n",
    );
    for bar in bars {
        let is_critical = report.critical_path.contains(&bar.step.number);
        let _ = writeln!(
            text,
            "<tr><th scope=\"row\"><a href=\"#step-{}\">{}</a></th><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>",
            bar.step.number,
            escaped(&label(bar.step)),
            duration(bar.start),
            duration(bar.took),
            if is_critical { "yes" } else { "" }
        );
    }
    text.push_str("</tbody>\n</table></div>\n</details>\n");
}

/// Stage and instruction.
pub(super) fn label(step: &ReportStep) -> String {
    match &step.stage {
        Some(stage) => format!("{stage}: {}", step.instruction),
        None => step.instruction.clone(),
    }
}

/// Round numbers of seconds, at most eight, from 0 on.
fn ticks(total: f64) -> Vec<f64> {
    let rough = total / 6.0;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| *step >= rough);
    let step = step.unwrap_or(rough).max(1e-4);
    (0..8).map(|n| f64::from(n) * step).take_while(|tick| *tick < total * 0.97).collect()
}

fn tick_label(seconds: f64) -> String {
    match seconds {
        0.0 => "0".to_owned(),
        ..1.0 => format!("{:.0}ms", seconds * 1000.0),
        ..60.0 => format!("{seconds}s"),
        _ => duration(Duration::from_secs_f64(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(number: u32, start: u64, took: u64) -> ReportStep {
        let (start, took) = (Some(Duration::from_secs(start)), Some(Duration::from_secs(took)));
        ReportStep { number, start, took, state: Some(StepState::Ran), ..ReportStep::default() }
    }

    #[test]
    fn lanes_are_used_again() {
        let steps = [step(0, 0, 5), step(1, 1, 1), step(2, 2, 3), step(3, 5, 1), step(4, 5, 1)];
        let (bars, n_lanes) = lanes(&steps);
        assert_eq!(n_lanes, 2);
        assert_eq!(bars.iter().map(|bar| bar.lane).collect::<Vec<_>>(), [0, 1, 1, 0, 1]);
    }

    #[test]
    fn axes_have_round_numbers() {
        assert_eq!(ticks(12.0), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(ticks(0.3).last().map(|tick| tick_label(*tick)), Some("250ms".to_owned()));
        assert!(ticks(1e-9).len() <= 8 && ticks(1e9).len() <= 8);
    }
}
