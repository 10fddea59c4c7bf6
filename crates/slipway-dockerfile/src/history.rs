//! The lines of an image's history (`spec/dockerfile.md` section 4.1).

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use slipway_oci::History;

/// An entry for an instruction; `has_layer` says whether a layer of files goes with it.
pub(crate) fn entry(created_by: String, has_layer: bool) -> History {
    History {
        created: None,
        created_by: Some(created_by),
        author: None,
        comment: Some("buildkit.dockerfile.v0".to_owned()),
        empty_layer: !has_layer,
    }
}

/// The text of a `RUN`: the build args in scope, each name once where it is first declared, then the command.
/// `lookup` gives a variable's current value.
pub(crate) fn run_text(
    command: &[String],
    args: &[(String, Option<String>)],
    lookup: impl Fn(&str) -> Option<String>,
) -> String {
    let mut shown: Vec<(&str, String)> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (name, value) in args {
        let value = lookup(name).or_else(|| value.clone()).unwrap_or_default();
        match places.entry(name) {
            Entry::Occupied(place) => shown[*place.get()].1 = value,
            Entry::Vacant(place) => {
                place.insert(shown.len());
                shown.push((name, value));
            }
        }
    }
    let mut words = vec!["RUN".to_owned()];
    if !shown.is_empty() {
        words.push(format!("|{}", shown.len()));
        words.extend(shown.into_iter().map(|(name, value)| format!("{name}={value}")));
    }
    words.extend(command.iter().cloned());
    words.push("# buildkit".to_owned());
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::run_text;

    #[test]
    fn each_arg_is_shown_once_with_its_current_value() {
        let arg = |name: &str, value: Option<&str>| (name.to_owned(), value.map(str::to_owned));
        let args = [arg("A", Some("1")), arg("B", None), arg("A", Some("2"))];
        let env = |name: &str| (name == "A").then(|| "env".to_owned());
        assert_eq!(run_text(&["sh".into(), "x".into()], &args, env), "RUN |2 A=env B= sh x # buildkit");
        assert_eq!(run_text(&["x".into()], &[], env), "RUN x # buildkit");
    }
}
