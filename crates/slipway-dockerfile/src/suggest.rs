//! Which known word did somebody mean who wrote an unknown one?

use crate::syntax::{Args, Dockerfile, Instruction, Keyword};

/// Two letters may be wrong. A suggestion that is further away is more often noise than help.
const MAX_DISTANCE: usize = 2;

/// Among more words than that nobody looks for one that was misspelt.
const MAX_CANDIDATES: usize = 200;
/// Nor for what a longer word than that was to be.
const MAX_WORD_BYTES: usize = 200;

/// The candidate that is nearest to `word`, if one is near; of equally near ones the first.
///
/// Upper and lower case differ; callers for which they do not, pass both in one case. `None` also when `word` is
/// itself a candidate: then its spelling is not what is wrong; and when there are too many to compare with.
pub(crate) fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut best: Option<(usize, &str)> = None;
    let candidates: Vec<&str> = candidates.into_iter().take(MAX_CANDIDATES + 1).collect();
    if candidates.len() > MAX_CANDIDATES || word.len() > MAX_WORD_BYTES {
        return None;
    }
    for candidate in candidates.into_iter().filter(|candidate| candidate.len() <= MAX_WORD_BYTES) {
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

/// What to say where `name` was taken for an image because no stage is called so, but one nearly is.
pub fn similar_stage(dockerfile: &Dockerfile, name: &str) -> Option<String> {
    let stages: Vec<(String, usize)> = dockerfile.instructions.iter().filter_map(stage_name).collect();
    let lower = name.to_lowercase();
    let found = closest(&lower, stages.iter().map(|(stage, _)| stage.as_str()))?;
    let (stage, line) = stages.iter().find(|(stage, _)| stage == found)?;
    Some(format!("no stage is named `{name}`; `{stage}` is defined on line {line}"))
}

/// Images that many files are based on, as the reference has them.
const COMMON_IMAGES: [&str; 7] = ["alpine", "busybox", "centos", "debian", "fedora", "golang", "ubuntu"];

/// The stage or common image that is nearest to `name`, which is no image that can be had.
pub fn similar_base(dockerfile: &Dockerfile, name: &str) -> Option<String> {
    let stages: Vec<(String, usize)> = dockerfile.instructions.iter().filter_map(stage_name).collect();
    closest(name, stages.iter().map(|(stage, _)| stage.as_str()).chain(COMMON_IMAGES)).map(str::to_owned)
}

/// The name that a `FROM` gives to its stage, and its line.
fn stage_name(instruction: &Instruction) -> Option<(String, usize)> {
    match (&instruction.keyword, &instruction.args) {
        (Keyword::From, Args::Words(words)) => Some((words.get(2)?.text.to_lowercase(), instruction.lines.first)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn too_many_are_not_compared() {
        let mut candidates = vec!["aaa"; MAX_CANDIDATES];
        assert_eq!(closest("aab", candidates.clone()), Some("aaa"));
        candidates.push("aaa");
        assert_eq!(closest("aab", candidates), None);
    }

    #[test]
    fn a_misspelt_stage_is_named_with_its_line() {
        let (dockerfile, _) = crate::parse(b"FROM a AS Builder\nRUN x\nFROM b\n");
        let told = similar_stage(&dockerfile, "biulder");
        assert_eq!(told.as_deref(), Some("no stage is named `biulder`; `builder` is defined on line 1"));
        assert_eq!(similar_stage(&dockerfile, "busybox"), None);
        assert_eq!(similar_base(&dockerfile, "biulder").as_deref(), Some("builder"));
        assert_eq!(similar_base(&dockerfile, "debain").as_deref(), Some("debian"));
        assert_eq!(similar_base(&dockerfile, "debian"), None);
    }
}
