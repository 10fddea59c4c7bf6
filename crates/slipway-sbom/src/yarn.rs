//! Packages of `yarn.lock`, of the first version and of later ones (which are YAML of the same outline).

use crate::{Ecosystem, Package};

/// An entry begins at the edge with what was asked for, and has the version below it.
pub(crate) fn packages(text: &str) -> Vec<Package> {
    let (mut packages, mut name) = (Vec::new(), None);
    for line in text.lines() {
        if line.starts_with('#') || line.trim().is_empty() {
            continue;
        }
        if !line.starts_with(' ') {
            name = asked_name(line);
            continue;
        }
        let version = line.strip_prefix("  version").map(|rest| rest.trim_start_matches(':').trim().trim_matches('"'));
        if let (Some(version), Some(name)) = (version.filter(|version| !version.is_empty()), name.take()) {
            packages.push(Package::new(Ecosystem::Npm, name, version));
        }
    }
    packages
}

/// The name in `"@s/a@npm:^1.0.0, @s/a@npm:1":`. What is part of the project itself is no package.
fn asked_name(line: &str) -> Option<&str> {
    let asked = line.trim_end_matches(':').trim_matches('"').split(',').next()?.trim().trim_matches('"');
    if asked.contains("@workspace:") || asked == "__metadata" {
        return None;
    }
    let at = asked.get(1..)?.find('@')? + 1;
    Some(&asked[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_outlines_are_read() {
        let first = "# yarn lockfile v1\n\n\"@s/a@^1.0.0\", \"@s/a@1\":\n  version \"1.2.3\"\n  dependencies:\n    b \"1\"\n\n\
                     b@1:\n  version \"1.0.0\"\n";
        let later = "__metadata:\n  version: 6\n\n\"app@workspace:.\":\n  version: 0.0.0\n\n\"b@npm:^2.0.0\":\n  version: 2.0.1\n";
        let names = |text| packages(text).into_iter().map(|p| format!("{} {}", p.name, p.version)).collect::<Vec<_>>();
        assert_eq!(names(first), ["@s/a 1.2.3", "b 1.0.0"]);
        assert_eq!(names(later), ["b 2.0.1"]);
    }
}
