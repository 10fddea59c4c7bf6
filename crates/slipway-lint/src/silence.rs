//! Comments that silence rules: `# slipway ignore=ID,ID`, `# hadolint ignore=…` above a line, `global ignore` for the
//! whole file (`spec/analyze.md` section 7).

use std::collections::{BTreeMap, BTreeSet};

/// Which rules say nothing where.
#[derive(Debug, Default)]
pub(crate) struct Silences {
    everywhere: BTreeSet<String>,
    by_line: BTreeMap<usize, BTreeSet<String>>,
    /// The lines of the comments themselves, in order.
    pub(crate) lines: Vec<usize>,
}

impl Silences {
    pub(crate) fn of(text: &str) -> Silences {
        let mut silences = Silences::default();
        for (index, line) in text.lines().enumerate() {
            let Some((is_global, ids)) = line.trim_start().strip_prefix('#').and_then(comment) else { continue };
            silences.lines.push(index + 1);
            let place = match is_global {
                true => &mut silences.everywhere,
                // The line that follows, and nothing further down.
                false => silences.by_line.entry(index + 2).or_default(),
            };
            place.extend(ids);
        }
        // Comments that follow each other work together.
        for &line in &silences.lines {
            // What is said about a line that is such a comment itself is said about the one below.
            if let Some(ids) = silences.by_line.remove(&line) {
                silences.by_line.entry(line + 1).or_default().extend(ids);
            }
        }
        silences
    }

    /// Whether the rule `id` says nothing about the instruction that begins at `line`.
    pub(crate) fn covers(&self, id: &str, line: usize) -> bool {
        self.everywhere.contains(id) || self.by_line.get(&line).is_some_and(|ids| ids.contains(id))
    }
}

/// Whether a comment is for the whole file, and the ids that it names.
fn comment(text: &str) -> Option<(bool, Vec<String>)> {
    let text = text.trim_start();
    let text = text.strip_prefix("hadolint").or_else(|| text.strip_prefix("slipway"))?.trim_start();
    let (is_global, text) = match text.strip_prefix("global") {
        Some(rest) => (true, rest.trim_start()),
        None => (false, text),
    };
    let ids = text.strip_prefix("ignore")?.trim_start().strip_prefix('=')?;
    Some((is_global, ids.split(',').map(|id| id.trim().to_owned()).filter(|id| !id.is_empty()).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_hits, check_silent};

    #[test]
    fn the_comments_themselves_can_be_found() {
        check_hits("DL1001", &["# hadolint ignore=DL3003\nRUN x\n", "FROM a:1\n#slipway global ignore = A\n"]);
        check_silent("DL1001", &["# hadolint shell=powershell\nRUN x\n", "# ignore=A\nRUN x\n", "RUN x\n"]);
    }

    #[test]
    fn comments_cover_the_next_line_only() {
        let silences = Silences::of("# hadolint ignore=A, B\nRUN x\n#slipway  ignore = C\n\nRUN y\n");
        assert!(silences.covers("A", 2) && silences.covers("B", 2) && !silences.covers("A", 3));
        assert!(!silences.covers("C", 5));
    }

    #[test]
    fn comments_in_a_row_work_together() {
        let silences = Silences::of("# hadolint ignore=A\n# slipway ignore=B\n# hadolint ignore=C\nRUN x\n");
        assert!(["A", "B", "C"].iter().all(|id| silences.covers(id, 4)));
    }

    #[test]
    fn global_comments_cover_everything() {
        let silences = Silences::of("FROM a\n# hadolint global ignore=A\n");
        assert!(silences.covers("A", 1) && silences.covers("A", 77) && !silences.covers("B", 1));
    }
}
