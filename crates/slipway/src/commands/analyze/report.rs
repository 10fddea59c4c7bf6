//! How an analysis is written (`spec/analyze.md` section 4.2).

use std::fmt::Write as _;

use slipway_analyze::{Analysis, Growth, Layer, Status, Verdict, grown_shares, shares};
use slipway_explorer::size;

/// So many files of a comparison are shown.
const MAX_GROWN: usize = 50;

/// The numbers, and the paths that several layers have.
pub(super) fn analysis(image: &Analysis) -> String {
    let wasted = image.efficiency.wasted_bytes();
    let (bytes, share) = match wasted {
        0 => ("0 bytes ".to_owned(), "0 %".to_owned()),
        _ => (format!("{wasted} bytes ({})", size(wasted)), percent(image.wasted_user_share())),
    };
    let score = percent(image.efficiency.score);
    let mut text = "Analysis:\n".to_owned();
    for (label, value) in [("efficiency:", score), ("wastedBytes:", bytes), ("userWastedPercent:", share)] {
        let _ = writeln!(text, "  {label:<18} {value}");
    }
    if image.efficiency.inefficient.is_empty() {
        return text + "\nInefficient Files: (None)\n";
    }
    text.push_str("\nInefficient Files:\n  Count  Wasted Space  File Path\n");
    for path in &image.efficiency.inefficient {
        let name = String::from_utf8_lossy(&path.path);
        let _ = writeln!(text, "  {:<5}  {:<12}  {name}", path.n_visits, size(path.size_bytes));
    }
    text
}

/// What the rules say.
pub(super) fn evaluation(verdicts: &[Verdict]) -> String {
    let mut text = "\nEvaluation:\n".to_owned();
    for Verdict { rule, status, message } in verdicts {
        let _ = writeln!(text, "  {status}  {rule} ({message})");
    }
    let tally = [(Status::Pass, "pass"), (Status::Fail, "fail"), (Status::Skip, "skip")].map(|(status, name)| {
        let n = verdicts.iter().filter(|verdict| verdict.status == status).count();
        (n > 0).then(|| format!("{name}:{n}"))
    });
    let total = if verdicts.iter().any(|verdict| verdict.status == Status::Fail) { Status::Fail } else { Status::Pass };
    let _ = writeln!(text, "\n{total} [{}]", tally.into_iter().flatten().collect::<Vec<_>>().join(" "));
    text
}

/// What each layer holds and what made it.
pub(super) fn layers(image: &Analysis) -> String {
    let mut text = "\nLayers:\n  Size     Files    Command\n".to_owned();
    for layer in &image.layers {
        let _ = writeln!(text, "  {:<7}  {:<7}  {}", size(layer.size_bytes), layer.n_entries, one_line(&layer.command));
        if let Some(origin) = &layer.origin {
            let _ = writeln!(text, "{:20}{}", "", one_line(&origin.to_string()));
        }
    }
    let hidden = &image.hidden;
    let _ = writeln!(
        text,
        "\n{} stored, {} visible: a flat image would be {} smaller.",
        size(hidden.stored_bytes),
        size(hidden.visible_bytes),
        size(hidden.reclaimable_bytes())
    );
    text
}

/// Which stage the bytes come from.
pub(super) fn stages(image: &Analysis) -> String {
    let n_unknown = image.layers.iter().filter(|layer| layer.origin.is_none()).count();
    let unknown = match n_unknown {
        0 => return share_table(image),
        1 => "1 layer".to_owned(),
        n => format!("{n} layers"),
    };
    let table = if n_unknown < image.layers.len() { share_table(image) } else { String::new() };
    format!("{table}\nWhich line made {unknown} is not known: {UNKNOWN}.\n")
}

/// Why a line may not be known, and what helps.
const UNKNOWN: &str = "no build of it is remembered (--file compares the history with a Dockerfile)";

fn share_table(image: &Analysis) -> String {
    let mut text = "\nWhere the bytes come from:\n  Visible  Share    Stored   From\n".to_owned();
    let total = image.hidden.visible_bytes.max(1) as f64;
    for share in shares(image) {
        let from = share.from.as_ref().map_or_else(|| "not known".to_owned(), |from| one_line(&from.to_string()));
        let places: Vec<String> = share.places.iter().map(|place| one_line(&place.to_string())).collect();
        let places = if places.is_empty() { String::new() } else { format!(" ({})", places.join(", ")) };
        let part = format!("{:.1} %", share.visible_bytes as f64 / total * 100.0);
        let _ = writeln!(
            text,
            "  {:<7}  {part:<7}  {:<7}  {from}{places}",
            size(share.visible_bytes),
            size(share.stored_bytes)
        );
    }
    text
}

/// What grew and shrank from one image to the next, and which line did it.
pub(super) fn growth(growth: &Growth, before: &Analysis, after: &Analysis) -> String {
    let difference = i128::from(after.hidden.visible_bytes) - i128::from(before.hidden.visible_bytes);
    let mut text = format!(
        "Visible:  {} -> {} ({})\nStored:   {} -> {}\n\n",
        size(before.hidden.visible_bytes),
        size(after.hidden.visible_bytes),
        signed_size(difference),
        size(before.size_bytes()),
        size(after.size_bytes()),
    );
    if growth.files.is_empty() {
        return text + "No file has another size.\n";
    }
    let layer_of = |is_of_later: bool, layer: usize| (if is_of_later { after } else { before }).layers.get(layer);
    text.push_str("Change    Line that did it\n");
    for grown in growth.by_layer() {
        let told = layer_of(grown.is_of_later, grown.layer).map(told).unwrap_or_default();
        let place = if grown.is_of_later { "" } else { "was " };
        let _ = writeln!(text, "{:<8}  {place}{told}", signed_size(grown.bytes));
    }
    text.push_str(&grown_stages(before, after));
    text.push_str("\nChange    File Path\n");
    let mut by_size: Vec<_> = growth.files.iter().collect();
    by_size.sort_by_key(|file| std::cmp::Reverse(file.bytes().unsigned_abs()));
    for file in by_size.iter().take(MAX_GROWN) {
        let told = layer_of(file.is_there(), file.layer).map(told).unwrap_or_default();
        let path = String::from_utf8_lossy(&file.path);
        let verb = if file.is_there() { "from" } else { "was from" };
        let _ = writeln!(text, "{:<8}  {path}\n          {verb} {told}", signed_size(file.bytes()));
    }
    if by_size.len() > MAX_GROWN {
        let _ = writeln!(text, "and {} more", by_size.len() - MAX_GROWN);
    }
    text
}

/// What the stages have to do with it, if anything is known of them.
fn grown_stages(before: &Analysis, after: &Analysis) -> String {
    let shares = grown_shares(before, after);
    if shares.iter().all(|(from, ..)| from.is_none()) {
        return String::new();
    }
    let mut text = "\nChange    Before   After    From\n".to_owned();
    for (from, before, after) in shares {
        let from = from.as_ref().map_or_else(|| "not known".to_owned(), |from| one_line(&from.to_string()));
        let change = signed_size(i128::from(after) - i128::from(before));
        let _ = writeln!(text, "{change:<8}  {:<7}  {:<7}  {from}", size(before), size(after));
    }
    text
}

/// The line that made a layer, if it is known, and its command.
fn told(layer: &Layer) -> String {
    let command = one_line(&layer.command);
    layer.origin.as_ref().map_or(command.clone(), |origin| format!("{}: {command}", one_line(&origin.to_string())))
}

fn one_line(command: &str) -> String {
    command.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn percent(share: f64) -> String {
    if share.is_infinite() { "+Inf %".to_owned() } else { format!("{:.2} %", share * 100.0) }
}

fn signed_size(bytes: i128) -> String {
    let sign = if bytes < 0 { "-" } else { "+" };
    format!("{sign}{}", size(u64::try_from(bytes.unsigned_abs()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_have_signs() {
        assert_eq!([signed_size(-1500), signed_size(0), signed_size(20)], ["-1.5 kB", "+0 B", "+20 B"]);
    }
}
