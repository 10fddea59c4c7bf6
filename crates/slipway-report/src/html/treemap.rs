//! Where the megabytes are: stages as areas, and in them the steps that made them (a squarified treemap, after Bruls,
//! Huizing and van Wijk).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::timeline::label;
use crate::escape::escaped;
use crate::quantity::size;
use crate::report::{Report, ReportStep};

/// An area in parts of a hundred of the whole.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Area {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

const WHOLE: Area = Area { x: 0.0, y: 0.0, width: 100.0, height: 100.0 };
/// How much wider than high the picture is, for areas to look square in it.
const ASPECT: f64 = 2.4;
/// More than that nobody can tell apart; the table has them all.
const MAX_AREAS: usize = 400;

pub(super) fn section(report: &Report) -> String {
    let mut sized: Vec<&ReportStep> =
        report.steps.iter().filter(|step| step.size_bytes.is_some_and(|n| n > 0)).collect();
    if sized.is_empty() {
        return "<p class=\"note\">What the steps made is no longer in the store, or they made nothing.</p>\n"
            .to_owned();
    }
    sized.sort_by_key(|step| std::cmp::Reverse(step.size_bytes));
    let mut stages: BTreeMap<&str, Vec<&ReportStep>> = BTreeMap::new();
    for step in sized.iter().take(MAX_AREAS) {
        stages.entry(step.stage.as_deref().unwrap_or("image")).or_default().push(step);
    }
    let mut stages: Vec<(&str, Vec<&ReportStep>)> = stages.into_iter().collect();
    stages.sort_by_key(|(_, steps)| std::cmp::Reverse(bytes_of(steps)));
    let mut text = "<p class=\"note\">What each step added, by stage. <span class=\"key image\"></span> in the image, \
                    <span class=\"key build\"></span> left behind in the build.</p>\n<div class=\"treemap\" role=\"group\" \
                    aria-label=\"Sizes of steps; the table below says the same\">\n"
        .to_owned();
    let weights: Vec<f64> = stages.iter().map(|(_, steps)| bytes_of(steps) as f64).collect();
    for ((stage, steps), area) in stages.iter().zip(squarified(&weights, WHOLE, ASPECT)) {
        let title = format!("{}: {}", escaped(stage), size(bytes_of(steps)));
        let _ = writeln!(
            text,
            "<div class=\"area\" style=\"{}\"><h3 title=\"{title}\">{title}</h3><div class=\"inner\">",
            style(area)
        );
        let weights: Vec<f64> = steps.iter().map(|step| step.size_bytes.unwrap_or(0) as f64).collect();
        let aspect = ASPECT * area.width / area.height.max(0.01);
        for (step, area) in steps.iter().zip(squarified(&weights, WHOLE, aspect)) {
            write_layer(&mut text, step, area);
        }
        text.push_str("</div></div>\n");
    }
    text.push_str("</div>\n");
    write_table(&mut text, &sized);
    text
}

fn bytes_of(steps: &[&ReportStep]) -> u64 {
    steps.iter().filter_map(|step| step.size_bytes).sum()
}

fn write_layer(text: &mut String, step: &ReportStep, area: Area) {
    let bytes = size(step.size_bytes.unwrap_or(0));
    let place = if step.is_in_image { "in the image" } else { "left behind" };
    let name = escaped(&label(step));
    let class = if step.is_in_image { "image" } else { "build" };
    let _ = writeln!(
        text,
        "<a class=\"layer {class}\" style=\"{}\" href=\"#step-{}\" title=\"{name}: {bytes}, {place}\" \
         aria-label=\"{name}: {bytes}, {place}\"><span>{}</span><b>{bytes}</b></a>",
        style(area),
        step.number,
        escaped(&step.instruction)
    );
}

fn write_table(text: &mut String, sized: &[&ReportStep]) {
    text.push_str(
        "<details class=\"fallback\"><summary>The sizes as a table</summary>\n<div class=\"scroll\" tabindex=\"0\" role=\"group\" \
         aria-label=\"Sizes as a table\"><table aria-label=\"Sizes\">\n<thead><tr><th scope=\"col\">Step</th><th scope=\"col\">Added</th>\
         <th scope=\"col\">In the image</th></tr></thead>\n<tbody>\n",
    );
    for step in sized {
        let _ = writeln!(
            text,
            "<tr><th scope=\"row\"><a href=\"#step-{}\">{}</a></th><td class=\"n\">{}</td><td>{}</td></tr>",
            step.number,
            escaped(&label(step)),
            size(step.size_bytes.unwrap_or(0)),
            if step.is_in_image { "yes" } else { "no" }
        );
    }
    text.push_str("</tbody>\n</table></div>\n</details>\n");
}

fn style(area: Area) -> String {
    format!("left:{:.3}%;top:{:.3}%;width:{:.3}%;height:{:.3}%", area.x, area.y, area.width, area.height)
}

/// Divides `whole` in proportion to `weights`, which are sorted, the largest first. `aspect` is how much wider a unit of
/// width is than one of height.
fn squarified(weights: &[f64], whole: Area, aspect: f64) -> Vec<Area> {
    let mut areas = Vec::with_capacity(weights.len());
    let mut left = Area { width: whole.width * aspect, x: whole.x * aspect, ..whole };
    let mut rest: f64 = weights.iter().sum();
    let mut from = 0;
    while from < weights.len() {
        let scale = if rest > 0.0 { left.width * left.height / rest } else { 0.0 };
        let side = left.width.min(left.height).max(f64::MIN_POSITIVE);
        let mut to = from + 1;
        let mut sum = weights[from];
        while to < weights.len()
            && worst(&weights[from..=to], sum + weights[to], scale, side) <= worst(&weights[from..to], sum, scale, side)
        {
            sum += weights[to];
            to += 1;
        }
        let thickness = sum * scale / side;
        let mut along = 0.0;
        for weight in &weights[from..to] {
            let length = if sum > 0.0 { side * weight / sum } else { 0.0 };
            areas.push(match left.width >= left.height {
                true => Area { x: left.x, y: left.y + along, width: thickness, height: length },
                false => Area { x: left.x + along, y: left.y, width: length, height: thickness },
            });
            along += length;
        }
        if left.width >= left.height {
            (left.x, left.width) = (left.x + thickness, (left.width - thickness).max(0.0));
        } else {
            (left.y, left.height) = (left.y + thickness, (left.height - thickness).max(0.0));
        }
        rest -= sum;
        from = to;
    }
    areas.into_iter().map(|area| Area { x: area.x / aspect, width: area.width / aspect, ..area }).collect()
}

/// How far from a square the worst area of a row would be. The largest of a row comes first, the smallest last.
fn worst(row: &[f64], sum: f64, scale: f64, side: f64) -> f64 {
    let (Some(largest), Some(smallest)) = (row.first(), row.last()) else { return f64::INFINITY };
    let area = sum * scale;
    (side * side * largest * scale / (area * area))
        .max(area * area / (side * side * smallest * scale).max(f64::MIN_POSITIVE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_fill_the_whole_in_proportion() {
        let weights = [60.0, 30.0, 5.0, 3.0, 1.0, 1.0];
        let areas = squarified(&weights, WHOLE, ASPECT);
        for (area, weight) in areas.iter().zip(weights) {
            assert!((area.width * area.height / 100.0 - weight).abs() < 0.01, "{area:?}");
            assert!(area.x >= -0.01 && area.x + area.width < 100.01 && area.y + area.height < 100.01, "{area:?}");
        }
        let is_apart = |a: &Area, b: &Area| {
            a.x + a.width < b.x + 0.01
                || b.x + b.width < a.x + 0.01
                || a.y + a.height < b.y + 0.01
                || b.y + b.height < a.y + 0.01
        };
        for (n, a) in areas.iter().enumerate() {
            assert!(areas[..n].iter().all(|b| is_apart(a, b)), "{areas:?}");
        }
    }

    #[test]
    fn odd_weights_do_no_harm() {
        for weights in [&[][..], &[0.0], &[1e18, 1.0], &[0.0, 0.0, 0.0]] {
            let areas = squarified(weights, WHOLE, ASPECT);
            assert_eq!(areas.len(), weights.len());
            assert!(areas.iter().all(|area| area.width.is_finite() && area.height.is_finite()), "{areas:?}");
        }
    }
}
