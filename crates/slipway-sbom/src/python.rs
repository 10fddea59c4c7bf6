//! Packages of Python: what is installed (`*.dist-info/METADATA`), `requirements.txt`, `Pipfile.lock`.

use serde_json::Value;

use crate::dpkg::paragraphs;
use crate::{Ecosystem, Package};

/// The metadata of an installed distribution (PEP 566).
pub(crate) fn of_metadata(text: &str) -> Vec<Package> {
    let Some(fields) = paragraphs(text).next() else { return Vec::new() };
    let field = |wanted: &str| fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(wanted)).map(|(_, value)| *value);
    let (Some(name), Some(version)) = (field("Name"), field("Version")) else { return Vec::new() };
    let mut package = package(name, version);
    let license = field("License-Expression").or(field("License"));
    package.license = license.filter(|license| !license.is_empty()).map(str::to_owned);
    vec![package]
}

/// The lines that name one version (PEP 440, `==`).
pub(crate) fn of_requirements(text: &str) -> Vec<Package> {
    let pinned = |line: &str| {
        let line = line.split(['#', ';']).next()?.trim();
        let (name, version) = line.split_once("==")?;
        let name = name.split('[').next()?.trim();
        let version = version.trim_start_matches('=').split([' ', '\t', ',', '\\']).find(|word| !word.is_empty())?;
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        (is_name && !version.contains('*')).then(|| package(name, version))
    };
    text.lines().filter_map(pinned).collect()
}

pub(crate) fn of_pipfile(text: &str) -> Vec<Package> {
    let Ok(lock) = serde_json::from_str::<Value>(text) else { return Vec::new() };
    let sections = ["default", "develop"].into_iter().filter_map(|section| lock[section].as_object());
    let pinned = |(name, value): (&String, &Value)| Some(package(name, value["version"].as_str()?.strip_prefix("==")?));
    sections.flatten().filter_map(pinned).collect()
}

/// Names are the same whatever their case, and whether parts are joined by `-`, `_` or `.` (PEP 503).
fn package(name: &str, version: &str) -> Package {
    let name = name.to_lowercase().replace(['_', '.'], "-");
    Package::new(Ecosystem::PyPi, &name, version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(packages: Vec<Package>) -> Vec<String> {
        packages.into_iter().map(|p| format!("{} {}", p.name, p.version)).collect()
    }

    #[test]
    fn what_is_installed_and_what_is_pinned() {
        let metadata = "Metadata-Version: 2.1\nName: Flask_Login\nVersion: 3.0\nLicense: MIT\n\nName: not this\n";
        assert_eq!(names(of_metadata(metadata)), ["flask-login 3.0"]);
        let requirements =
            "# all\nFlask[async]==3.0.1 ; python_version > '3'\nb>=1\nc===2 \\\n  --hash=sha256:x==\nd==1.*\n-r x\n";
        assert_eq!(names(of_requirements(requirements)), ["flask 3.0.1", "c 2"]);
        let pipfile =
            r#"{"default": {"a": {"version": "==1"}, "b": {"git": "x"}}, "develop": {"c": {"version": "==2"}}}"#;
        assert_eq!(names(of_pipfile(pipfile)), ["a 1", "c 2"]);
    }
}
