//! Answers one question: which steps did a build run, and which did it take from the cache?
//!
//! Read from plain progress (`--progress plain`), which both builders print alike: a vertex is named by `#3 [2/4] RUN x`
//! and ends with `#3 CACHED`, `#3 DONE 0.1s` or `#3 ERROR: …`.

use std::collections::BTreeMap;

/// The steps of a Dockerfile that a build's progress shows, by name, sorted.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Steps {
    pub ran: Vec<String>,
    pub cached: Vec<String>,
}

/// Reads the steps out of `text`. `FROM` and the builder's own work are no steps.
pub fn steps(text: &str) -> Steps {
    let mut names: BTreeMap<&str, &str> = BTreeMap::new();
    let mut steps = Steps::default();
    for line in text.lines() {
        let Some((number, rest)) = line.strip_prefix('#').and_then(|l| l.split_once(' ')) else {
            continue;
        };
        if is_step(rest) {
            names.entry(number).or_insert(rest);
            continue;
        }
        let Some(name) = names.get(number) else {
            continue;
        };
        match rest.split(' ').next() {
            Some("CACHED") => steps.cached.push((*name).to_owned()),
            Some("DONE") => steps.ran.push((*name).to_owned()),
            _ => {}
        }
    }
    steps.ran.sort();
    steps.ran.dedup();
    steps.cached.sort();
    steps.cached.dedup();
    steps
}

/// Whether `name` reads `[stage n/total] INSTRUCTION …` with an instruction that does work.
fn is_step(name: &str) -> bool {
    let Some((prefix, instruction)) = name.strip_prefix('[').and_then(|n| n.split_once("] ")) else {
        return false;
    };
    let place = prefix.rsplit(' ').next().unwrap_or_default();
    let counts = place.split_once('/').is_some_and(|(n, total)| [n, total].iter().all(|d| d.parse::<u32>().is_ok()));
    counts && !instruction.starts_with("FROM ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_and_cache_are_told_apart() {
        let text = "#1 [internal] load build context\n#1 DONE 0.0s\n\n#2 [1/4] FROM busybox\n#2 CACHED\n\n\
                    #3 [2/4] RUN a\n#3 CACHED\n\n#4 [b 3/4] COPY x y\n#4 0.1 hello\n#4 DONE 0.0s\n\n#5 [4/4] RUN c\n#5 ERROR: x\n";
        let steps = steps(text);
        assert_eq!(steps.cached, ["[2/4] RUN a"]);
        assert_eq!(steps.ran, ["[b 3/4] COPY x y"]);
    }
}
