//! Which known word did somebody mean who wrote an unknown one?

/// Two letters may be wrong. A suggestion that is further away is more often noise than help.
const MAX_DISTANCE: usize = 2;

/// The candidate that is nearest to `word`, if one is near; of equally near ones the first.
///
/// Upper and lower case differ; callers for which they do not, pass both in one case. `None` also when `word` is
/// itself a candidate: then its spelling is not what is wrong.
pub(crate) fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let distance = edit_distance(word, candidate);
        if distance == 0 {
            return None;
        }
        if distance <= MAX_DISTANCE && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// How many letters must be added, dropped or replaced to turn one word into the other (Levenshtein).
fn edit_distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (n_before, from_char) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = n_before + 1;
        for (i, &to_char) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(from_char != to_char);
            diagonal = row[i + 1];
            row[i + 1] = replaced.min(row[i] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::{closest, edit_distance};

    #[test]
    fn distance_counts_single_letters() {
        for (from, to, distance) in [("", "abc", 3), ("FORM", "FROM", 2), ("chwon", "chown", 2), ("a", "a", 0)] {
            assert_eq!(edit_distance(from, to), distance, "{from} {to}");
        }
    }

    #[test]
    fn suggests_only_what_is_near() {
        assert_eq!(closest("FORM", ["COPY", "FROM"]), Some("FROM"));
        assert_eq!(closest("biulder", ["base", "builder"]), Some("builder"));
        assert_eq!(closest("XYZZY", ["COPY", "FROM"]), None);
        assert_eq!(closest("from", ["from", "form"]), None);
        assert_eq!(closest("ab", ["ax", "ay"]), Some("ax"));
    }
}
