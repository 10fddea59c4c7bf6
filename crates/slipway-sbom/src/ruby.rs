//! Packages of Ruby: `Gemfile.lock`, and the specifications of installed gems.

use crate::{Ecosystem, Package};

/// The gems below `specs:`, four blanks deep: `name (version)`; what they need is deeper.
pub(crate) fn of_lock(text: &str) -> Vec<Package> {
    let gem = |line: &str| {
        let line = line.strip_prefix("    ").filter(|rest| !rest.starts_with(' '))?;
        let (name, version) = line.strip_suffix(')')?.split_once(" (")?;
        let is_version = version.starts_with(|first: char| first.is_ascii_digit());
        is_version.then(|| Package::new(Ecosystem::Gem, name, version))
    };
    let mut is_listed = false;
    let lines = text.lines().filter(|line| {
        if !line.starts_with(' ') {
            is_listed = matches!(*line, "GEM" | "GIT");
        }
        is_listed
    });
    lines.filter_map(gem).collect()
}

/// A specification is a program in Ruby; its file name says what is wanted: `specifications/name-1.0.gemspec`.
pub(crate) fn of_gemspec(path: &str) -> Vec<Package> {
    let name = path.rsplit('/').next().unwrap_or(path).trim_end_matches(".gemspec");
    // The version begins at the first part that is a number; what may follow it is a platform.
    let starts = name.match_indices('-').map(|(at, _)| at + 1);
    let start = starts.into_iter().find(|at| name[*at..].starts_with(|first: char| first.is_ascii_digit()));
    let Some(start) = start.filter(|start| *start > 1) else { return Vec::new() };
    let version = name[start..].split('-').next().unwrap_or_default();
    vec![Package::new(Ecosystem::Gem, &name[..start - 1], version)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gems_are_listed() {
        let lock = "PATH\n  remote: .\n  specs:\n    own (0.1)\n\nGEM\n  remote: https://rubygems.org/\n  specs:\n    rack (3.0.8)\n\
                    \x20   rails (7.1)\n      rack (>= 2)\n\nPLATFORMS\n  ruby\n\nDEPENDENCIES\n  rails (~> 7)\n";
        let names: Vec<String> = of_lock(lock).into_iter().map(|p| format!("{} {}", p.name, p.version)).collect();
        assert_eq!(names, ["rack 3.0.8", "rails 7.1"]);
        let name = |path: &str| of_gemspec(path).pop().map(|p| format!("{} {}", p.name, p.version));
        assert_eq!(name("a/specifications/net-http-0.4.1.gemspec").unwrap(), "net-http 0.4.1");
        assert_eq!(name("nokogiri-1.16.0-x86_64-linux.gemspec").unwrap(), "nokogiri 1.16.0");
        assert_eq!(name("x.gemspec"), None);
    }
}
