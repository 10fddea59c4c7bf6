//! Shell patterns for names of targets: `*`, `?`, `[a-z]` (Go's `path.Match`).

/// Whether `pattern` has anything but plain characters.
pub(crate) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', ']'])
}

/// Whether a pattern is one: each set has an end, and a backslash something to stand before.
pub(crate) fn is_valid(pattern: &str) -> bool {
    let characters: Vec<char> = pattern.chars().collect();
    let mut rest = &characters[..];
    while let Some(first) = rest.first() {
        let n_taken = match first {
            '[' => rest.iter().skip(2).position(|c| *c == ']').map(|end| end + 3),
            '\\' => (rest.len() > 1).then_some(2),
            _ => Some(1),
        };
        let Some(n_taken) = n_taken else { return false };
        rest = &rest[n_taken..];
    }
    true
}

/// Whether the whole of `name` matches.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    // Where the last star was, and how much of the name it takes so far.
    let mut star: Option<(usize, usize)> = None;
    let (mut p, mut n) = (0, 0);
    while n < name.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, n));
            p += 1;
        } else if let Some(n_taken) = one(&pattern[p..], name[n]) {
            p += n_taken;
            n += 1;
        } else if let Some((star_at, taken)) = star {
            star = Some((star_at, taken + 1));
            (p, n) = (star_at + 1, taken + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// How much of the pattern stands for `c`, if it does.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match pattern.first()? {
        '?' => (c != '/').then_some(1),
        '[' => {
            let end = pattern.iter().skip(2).position(|c| *c == ']')? + 2;
            let (is_negated, set) = match pattern[1] {
                '^' => (true, &pattern[2..end]),
                _ => (false, &pattern[1..end]),
            };
            (in_set(set, c) != is_negated).then_some(end + 1)
        }
        '\\' => (pattern.get(1) == Some(&c)).then_some(2),
        other => (*other == c).then_some(1),
    }
}

fn in_set(set: &[char], c: char) -> bool {
    let mut rest = set;
    while let [first, tail @ ..] = rest {
        match tail {
            ['-', last, tail @ ..] => {
                if (*first..=*last).contains(&c) {
                    return true;
                }
                rest = tail;
            }
            _ if *first == c => return true,
            _ => rest = tail,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, is_match) in [
            ("*", "web", true),
            ("web?", "web2", true),
            ("web?", "web", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[", "[", false),
        ] {
            assert_eq!(matches(pattern, name), is_match, "{pattern} {name}");
            assert_eq!(is_valid(pattern), pattern != "[", "{pattern}");
        }
    }
}
