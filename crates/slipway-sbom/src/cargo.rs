//! Lists of `[[package]]` in TOML: `Cargo.lock`, and `poetry.lock` and `uv.lock`, which have the same outline.

use toml::{Table, Value};

use crate::{Ecosystem, Package};

/// The packages that come from somewhere; those of the project itself have no source in `Cargo.lock`, and are where the
/// lock file is in `uv.lock`.
pub(crate) fn of_toml(text: &str, ecosystem: Ecosystem) -> Vec<Package> {
    let Ok(lock) = text.parse::<Table>() else { return Vec::new() };
    let listed = lock.get("package").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let package = |value: &Value| {
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        let is_own = match (ecosystem, value.get("source")) {
            (Ecosystem::Cargo, source) => source.is_none(),
            (_, Some(Value::Table(source))) => ["virtual", "editable"].iter().any(|key| source.contains_key(*key)),
            _ => false,
        };
        (!is_own).then(|| Some(Package::new(ecosystem, text("name")?, text("version")?)))?
    };
    listed.iter().filter_map(package).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str, ecosystem: Ecosystem) -> Vec<String> {
        of_toml(text, ecosystem).into_iter().map(|p| format!("{} {}", p.name, p.version)).collect()
    }

    #[test]
    fn what_comes_from_elsewhere_is_listed() {
        let cargo = "version = 4\n[[package]]\nname = \"app\"\nversion = \"0.1.0\"\n\n[[package]]\nname = \"serde\"\n\
                     version = \"1.0.1\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\n";
        assert_eq!(names(cargo, Ecosystem::Cargo), ["serde 1.0.1"]);
        let uv = "[[package]]\nname = \"app\"\nversion = \"0\"\nsource = { editable = \".\" }\n\n[[package]]\nname = \"a\"\n\
                  version = \"2\"\nsource = { registry = \"https://pypi.org/simple\" }\n";
        assert_eq!(names(uv, Ecosystem::PyPi), ["a 2"]);
        assert_eq!(names("[[package]]\nname = \"a\"\nversion = \"1\"\n", Ecosystem::PyPi), ["a 1"]);
        assert!(names("package = 3", Ecosystem::Cargo).is_empty());
    }
}
