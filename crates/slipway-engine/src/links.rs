//! Which builds need what others make, and so come after them?

use std::collections::HashMap;

use slipway_graph::request::{NamedContext, NamedRequest};

/// Builds that cannot be put in an order.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("failed to find target {target} for context {context}")]
    NoTarget { context: String, target: String },
    #[error("what it makes is needed to make it: {}", .0.join(", "))]
    Cycle(Vec<String>),
}

/// The places of all requests, in rounds: each needs only what is made in earlier ones.
///
/// # Errors
/// The place of a request that can be in no round, and why.
pub(crate) fn rounds(requests: &[NamedRequest]) -> Result<Vec<Vec<usize>>, (usize, LinkError)> {
    let places: HashMap<&str, usize> =
        requests.iter().enumerate().map(|(place, named)| (named.name.as_str(), place)).collect();
    let mut needs = vec![Vec::new(); requests.len()];
    for (place, named) in requests.iter().enumerate() {
        for (context, target) in links(named) {
            let needed = places.get(target).ok_or_else(|| {
                (place, LinkError::NoTarget { context: context.to_owned(), target: target.to_owned() })
            })?;
            needs[place].push(*needed);
        }
    }
    let mut is_done = vec![false; requests.len()];
    let mut rounds = Vec::new();
    loop {
        let is_ready = |place: &usize| !is_done[*place] && needs[*place].iter().all(|needed| is_done[*needed]);
        let round: Vec<usize> = (0..requests.len()).filter(is_ready).collect();
        if round.is_empty() {
            break;
        }
        round.iter().for_each(|place| is_done[*place] = true);
        rounds.push(round);
    }
    match is_done.iter().position(|is_done| !is_done) {
        None => Ok(rounds),
        Some(first) => {
            let left = (0..requests.len()).filter(|place| !is_done[*place]);
            Err((first, LinkError::Cycle(left.map(|place| requests[place].name.clone()).collect())))
        }
    }
}

/// The contexts of a request that other requests make, with the names of those.
fn links(named: &NamedRequest) -> impl Iterator<Item = (&str, &str)> {
    named.request.named_contexts.iter().filter_map(|(name, context)| match context {
        NamedContext::Target(target) => Some((name.as_str(), target.as_str())),
        NamedContext::Folder(_) | NamedContext::Image(_) | NamedContext::OciLayout { .. } | NamedContext::Url(_) => {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use slipway_graph::request::BuildRequest;
    use slipway_graph::request::flags::{BuildFlags, PathKind, Surroundings};

    use super::*;

    struct Nowhere;

    impl Surroundings for Nowhere {
        fn variable(&self, _: &str) -> Option<String> {
            None
        }

        fn kind_of(&self, _: &Path) -> PathKind {
            PathKind::Folder
        }

        fn is_stdout_terminal(&self) -> bool {
            false
        }

        fn working_dir(&self) -> PathBuf {
            "/".into()
        }
    }

    /// Each word is a request and what it needs: `a=b,c`.
    fn check(words: &str) -> Result<Vec<Vec<usize>>, (usize, LinkError)> {
        let request = |word: &str| {
            let (name, needs) = word.split_once('=').unwrap_or((word, ""));
            let needs = needs.split(',').filter(|need| !need.is_empty());
            let build_contexts = needs.map(|need| format!("{need}=target:{need}")).collect();
            let flags = BuildFlags { context: ".".to_owned(), build_contexts, ..BuildFlags::default() };
            NamedRequest { name: name.to_owned(), request: BuildRequest::from_flags(&flags, &Nowhere).unwrap() }
        };
        rounds(&words.split_whitespace().map(request).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_needed_comes_first() {
        assert_eq!(check("a"), Ok(vec![vec![0]]));
        assert_eq!(check("a=b,c b=c c d"), Ok(vec![vec![2, 3], vec![1], vec![0]]));
    }

    #[test]
    fn what_needs_itself_or_what_is_not_built_is_refused() {
        let cycle = LinkError::Cycle(vec!["b".to_owned(), "c".to_owned()]);
        assert_eq!(check("a b=c c=b,a"), Err((1, cycle)));
        let (context, target) = ("z".to_owned(), "z".to_owned());
        assert_eq!(check("a b=z"), Err((1, LinkError::NoTarget { context, target })));
    }
}
