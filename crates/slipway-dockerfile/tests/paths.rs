//! Answers one question: do the patterns of `paths.txt` select the files that the reference builder selects?
//!
//! `cargo xtask record-tables` writes the answers there: `=> files`, or `=! message`. A line `~ why` in front of an
//! answer says that slipway differs on purpose.

use std::collections::BTreeSet;

use slipway_dockerfile::{IgnoreRules, match_pattern};

const TABLE: &str = include_str!("paths.txt");

#[test]
fn patterns_select_what_they_select_for_the_reference() {
    let (tree, blocks) = TABLE.split_once("\n\n").expect("the tree comes first");
    let tree: Vec<&str> = tree.lines().filter(|line| !line.starts_with("# ")).collect();
    let (mut n_pairs, mut wrong) = (0, Vec::new());
    for block in blocks.trim_end().split("\n\n") {
        let lines: Vec<&str> = block.lines().collect();
        let [kind, patterns @ .., answer] = lines.as_slice() else { panic!("a block without an answer: {block}") };
        let (differs, patterns) = match patterns.split_last() {
            Some((last, patterns)) if last.starts_with("~ ") => (true, patterns),
            _ => (false, patterns),
        };
        let selected = match *kind {
            "ignore" => kept(IgnoreRules::parse((patterns.join("\n") + "\n").as_bytes()), &tree),
            "exclude" => kept(IgnoreRules::from_patterns(patterns.iter().copied()), &tree),
            _ => picked(patterns[0], &tree),
        };
        n_pairs += patterns.len() * tree.len();
        let is_right = match (&selected, answer.strip_prefix("=> ")) {
            (Ok(files), Some(expected)) => files.iter().map(String::as_str).eq(expected.split_whitespace()),
            (Err(message), None) => answer.contains(message.as_str()),
            (Ok(_), None) | (Err(_), Some(_)) => false,
        };
        if is_right == differs {
            let shown = match selected {
                Ok(files) => format!("=> {}", files.into_iter().collect::<Vec<_>>().join(" ")),
                Err(message) => format!("=! {message}"),
            };
            wrong.push(format!("{block}\n{shown} (slipway)"));
        }
    }
    assert!(n_pairs >= 200, "only {n_pairs} pairs");
    assert!(wrong.is_empty(), "{} blocks:\n{}", wrong.len(), wrong.join("\n\n"));
}

/// The files that are not left out.
fn kept<E: ToString>(rules: Result<IgnoreRules, E>, tree: &[&str]) -> Result<BTreeSet<String>, String> {
    let rules = rules.map_err(|error| error.to_string())?;
    let kept = tree.iter().filter(|path| !rules.verdict_from_root(path).is_excluded());
    Ok(kept.map(|path| (*path).to_owned()).collect())
}

/// Where the files land that `COPY pattern /d/` picks: a file by its name, and of a folder what is in it.
fn picked(pattern: &str, tree: &[&str]) -> Result<BTreeSet<String>, String> {
    let mut landed = BTreeSet::new();
    for path in tree {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        for end in ends {
            if !match_pattern(pattern, &path[..end]).map_err(|error| error.to_string())? {
                continue;
            }
            let below = path[end..].strip_prefix('/');
            let name = path.rsplit('/').next().unwrap_or(path);
            landed.insert(format!("d/{}", below.unwrap_or(name)));
        }
    }
    Ok(landed)
}
