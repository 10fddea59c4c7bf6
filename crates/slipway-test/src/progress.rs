//! Answers one question: which steps did a build run, and which did it take from the cache?
//!
//! Read from plain progress (`--progress plain`), which both builders print alike: a vertex is named by `#3 [2/4] RUN x`
//! and ends with `#3 CACHED`, `#3 DONE 0.1s` or `#3 ERROR: …`.

use std::collections::BTreeMap;

/// The steps of a Dockerfile that a build's progress shows: their instructions, sorted.
///
/// Without the `[stage n/total]` in front: whether the stage is named there is a matter of taste.
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
        if let Some(instruction) = step(rest) {
            names.entry(number).or_insert(instruction);
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

/// The instruction of a vertex named `[stage n/total] INSTRUCTION …`, if it is one that does work.
fn step(name: &str) -> Option<&str> {
    let (prefix, instruction) = name.strip_prefix('[')?.split_once("] ")?;
    let (n, total) = prefix.rsplit(' ').next()?.split_once('/')?;
    let is_counted = [n, total].iter().all(|digits| digits.parse::<u32>().is_ok());
    (is_counted && !instruction.starts_with("FROM ")).then_some(instruction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_and_cache_are_told_apart() {
        let text = "#1 [internal] load build context\n#1 DONE 0.0s\n\n#2 [1/4] FROM busybox\n#2 CACHED\n\n\
                    #3 [2/4] RUN a\n#3 CACHED\n\n#4 [b 3/4] COPY x y\n#4 0.1 hello\n#4 DONE 0.0s\n\n#5 [4/4] RUN c\n#5 ERROR: x\n";
        let steps = steps(text);
        assert_eq!(steps.cached, ["RUN a"]);
        assert_eq!(steps.ran, ["COPY x y"]);
    }
}
