//! Packages of Composer: `composer.lock`, and `vendor/composer/installed.json` of both versions.

use serde_json::Value;

use crate::{Ecosystem, Package};

pub(crate) fn packages(text: &str) -> Vec<Package> {
    let Ok(value) = serde_json::from_str::<Value>(text) else { return Vec::new() };
    let lists = [&value, &value["packages"], &value["packages-dev"]];
    lists.into_iter().filter_map(Value::as_array).flatten().filter_map(package).collect()
}

fn package(value: &Value) -> Option<Package> {
    let mut package = Package::new(Ecosystem::Composer, value["name"].as_str()?, value["version"].as_str()?);
    package.license = value["license"][0].as_str().map(str::to_owned);
    Some(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_all_kinds_are_read() {
        let one = r#"[{"name": "a/b", "version": "v1.0", "license": ["MIT"]}]"#;
        for text in [one.to_owned(), format!(r#"{{"packages": {one}}}"#), format!(r#"{{"packages-dev": {one}}}"#)] {
            let found = packages(&text);
            assert_eq!((found[0].name.as_str(), found[0].license.as_deref()), ("a/b", Some("MIT")), "{text}");
        }
    }
}
