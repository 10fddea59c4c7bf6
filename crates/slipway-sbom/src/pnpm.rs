//! Packages of `pnpm-lock.yaml`: the keys below `packages:`, as pnpm writes them.

use crate::{Ecosystem, Package};

pub(crate) fn packages(text: &str) -> Vec<Package> {
    let section = text.lines().skip_while(|line| line.trim_end() != "packages:").skip(1);
    let inside = section.take_while(|line| line.is_empty() || line.starts_with(' '));
    let key = |line: &'_ str| {
        let key = line.strip_prefix("  ").filter(|rest| !rest.starts_with(' '))?.trim_end().strip_suffix(':')?;
        package(key.trim_matches(['\'', '"']))
    };
    inside.filter_map(key).collect()
}

/// `name@1.0.0(peer@1)`, before version 9 `/name@1.0.0`, before version 6 `/name/1.0.0_peer@1`.
fn package(key: &str) -> Option<Package> {
    let old = key.strip_prefix('/');
    let key = old.unwrap_or(key).split('(').next()?;
    let at = key.get(1..)?.rfind('@').map(|at| at + 1);
    let (name, version) = match (at, key.rsplit_once('/')) {
        // An `@` behind the last `/` is that of the version, unless a peer is what it belongs to.
        (Some(at), _) if !key[at + 1..].contains('/') && !key[..at].contains('_') => (&key[..at], &key[at + 1..]),
        (_, Some((name, version))) if old.is_some() => (name, version.split('_').next()?),
        _ => return None,
    };
    let is_version = version.starts_with(|first: char| first.is_ascii_digit());
    is_version.then(|| Package::new(Ecosystem::Npm, name, version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_all_versions_are_read() {
        let text = "lockfileVersion: '9.0'\nimporters:\n  .:\n    dependencies: {}\npackages:\n\n  '@s/a@1.0.0(b@2)':\n    \
                    resolution: {}\n\n  /b@2.0.0:\n    resolution: {}\n  /@s/c/3.0.0_b@2.0.0:\n    dev: true\nsnapshots:\n  d@1.0.0:\n";
        let names: Vec<String> = packages(text).into_iter().map(|p| format!("{} {}", p.name, p.version)).collect();
        assert_eq!(names, ["@s/a 1.0.0", "b 2.0.0", "@s/c 3.0.0"]);
    }
}
