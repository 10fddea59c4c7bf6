//! Is a text a file mode in the notation of chmod(1), `u=rwX,go+r`?

/// Whether `text` is a comma-separated list of `[ugoa]*([-+=]perms)+`, with perms out of `rwxXstugo`.
pub(crate) fn is_symbolic_mode(text: &str) -> bool {
    text.split(',').all(is_clause)
}

fn is_clause(clause: &str) -> bool {
    let mut actions = clause.trim_start_matches(['u', 'g', 'o', 'a']);
    if actions.is_empty() {
        return false;
    }
    while !actions.is_empty() {
        let Some(rest) = actions.strip_prefix(['-', '+', '=']) else { return false };
        let end = rest.find(['-', '+', '=']).unwrap_or(rest.len());
        let perms = &rest[..end];
        if !perms.chars().all(|c| "rwxXstugo".contains(c)) {
            return false;
        }
        actions = &rest[end..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::is_symbolic_mode;

    #[test]
    fn the_grammar_of_chmod_is_known() {
        for good in ["u=rwX,go=rX", "+x", "a+X", "g=u", "g=ur", "u+r-w", "o="] {
            assert!(is_symbolic_mode(good), "{good}");
        }
        for bad in ["", "u", "x", "u=q", "u=rw,", "z+x", "=ua"] {
            assert!(!is_symbolic_mode(bad), "{bad}");
        }
    }
}
