//! Which steps decided how long a build took?

/// The chain that ends with `last`: from it, always on to the input that ended last. The first step comes first. Steps
/// go by index; inputs that are not there, come later, or did nothing, are passed over.
pub(crate) fn critical_path<T: Ord>(
    last: usize,
    inputs_of: impl Fn(usize) -> Vec<usize>,
    ended: impl Fn(usize) -> Option<T>,
) -> Vec<usize> {
    let mut path = vec![last];
    let mut current = last;
    loop {
        let inputs = inputs_of(current).into_iter().filter(|input| *input < current);
        let Some((_, before)) = inputs.filter_map(|input| Some((ended(input)?, input))).max() else { break };
        path.push(before);
        current = before;
    }
    path.reverse();
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_input_that_ended_last_is_waited_for() {
        let inputs = [vec![], vec![], vec![0, 1], vec![2], vec![3, 4, 9]];
        let ended = [Some(5), Some(3), Some(6), None, Some(9)];
        let path = |last: usize| critical_path(last, |i| inputs[i].clone(), |i| ended.get(i).copied().flatten());
        assert_eq!(path(2), [0, 2]);
        assert_eq!(path(3), [0, 2, 3]);
        assert_eq!(path(4), [4], "a step that is its own input, one that did not end, one that is not there");
    }
}
