//! Packages of npm: `package-lock.json` of all versions, and what is installed in `node_modules`.

use serde_json::Value;

use crate::{Ecosystem, Package};

/// Whether `folder` is that of an installed package: `…/node_modules/name` or `…/node_modules/@scope/name`.
pub(crate) fn is_installed(folder: &str) -> bool {
    let mut above = folder.rsplit('/').skip(1);
    match above.next() {
        Some("node_modules") => true,
        Some(scope) if scope.starts_with('@') => above.next() == Some("node_modules"),
        _ => false,
    }
}

/// The `package.json` of an installed package.
pub(crate) fn of_package(text: &str) -> Vec<Package> {
    let Ok(value) = serde_json::from_str::<Value>(text) else { return Vec::new() };
    let name = value["name"].as_str().unwrap_or_default();
    package(name, &value).into_iter().collect()
}

/// Versions 2 and 3 list places of `node_modules`, version 1 a tree.
pub(crate) fn of_lock(text: &str) -> Vec<Package> {
    let Ok(value) = serde_json::from_str::<Value>(text) else { return Vec::new() };
    let Some(places) = value["packages"].as_object() else { return of_tree(&value) };
    let named = |(place, value): (&String, &Value)| {
        let (_, name) = place.rsplit_once("node_modules/")?;
        // The name is written only where it is another one than that of the place.
        package(value["name"].as_str().unwrap_or(name), value)
    };
    places.iter().filter_map(named).collect()
}

fn of_tree(lock: &Value) -> Vec<Package> {
    let (mut packages, mut open) = (Vec::new(), vec![lock]);
    while let Some(value) = open.pop() {
        for (name, dependency) in value["dependencies"].as_object().into_iter().flatten() {
            packages.extend(package(name, dependency));
            open.push(dependency);
        }
    }
    packages
}

fn package(name: &str, value: &Value) -> Option<Package> {
    let version = value["version"].as_str().filter(|version| !version.is_empty() && !name.is_empty())?;
    let mut package = Package::new(Ecosystem::Npm, name, version);
    package.license = value["license"].as_str().map(str::to_owned);
    Some(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(packages: Vec<Package>) -> Vec<String> {
        let mut names: Vec<String> = packages.into_iter().map(|p| format!("{}@{}", p.name, p.version)).collect();
        names.sort();
        names
    }

    #[test]
    fn locks_of_all_versions_are_read() {
        let third = r#"{"packages": {"": {"name": "app", "version": "1"}, "node_modules/a": {"version": "1.0.0"},
            "node_modules/a/node_modules/@s/b": {"version": "2.0.0", "license": "MIT"}, "lib": {"version": "9"}}}"#;
        assert_eq!(names(of_lock(third)), ["@s/b@2.0.0", "a@1.0.0"]);
        let first = r#"{"dependencies": {"a": {"version": "1.0.0", "dependencies": {"b": {"version": "2.0.0"}}}}}"#;
        assert_eq!(names(of_lock(first)), ["a@1.0.0", "b@2.0.0"]);
        assert_eq!(names(of_package(r#"{"name": "@s/b", "version": "1", "license": "MIT"}"#)), ["@s/b@1"]);
        assert!(of_lock("[]").is_empty() && of_package("{").is_empty());
    }
}
