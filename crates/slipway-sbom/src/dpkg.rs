//! Packages of Debian: `/var/lib/dpkg/status`, or a file a package in `status.d` of distroless images
//! (deb-control(5)).

use crate::{Ecosystem, Package};

/// Those that are installed; a file of `status.d` does not say so, and has only such.
pub(crate) fn packages(text: &str) -> Vec<Package> {
    paragraphs(text).filter_map(package).collect()
}

/// Fields of mail-like paragraphs, continued lines left out.
pub(crate) fn paragraphs(text: &str) -> impl Iterator<Item = Vec<(&str, &str)>> {
    let mut lines = text.lines().peekable();
    std::iter::from_fn(move || {
        while lines.next_if(|line| line.trim().is_empty()).is_some() {}
        lines.peek()?;
        let mut fields = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.trim().is_empty()) {
            if line.starts_with([' ', '\t']) {
                continue;
            }
            if let Some((key, value)) = line.split_once(':') {
                fields.push((key, value.trim()));
            }
        }
        Some(fields)
    })
}

fn package(fields: Vec<(&str, &str)>) -> Option<Package> {
    let field = |wanted: &str| fields.iter().find(|(key, _)| *key == wanted).map(|(_, value)| *value);
    if field("Status").is_some_and(|status| !status.ends_with(" installed")) {
        return None;
    }
    let mut package = Package::new(Ecosystem::Deb, field("Package")?, field("Version")?);
    package.architecture = field("Architecture").map(str::to_owned);
    // `name (version)` where the version differs.
    package.source = field("Source").and_then(|source| source.split(' ').next()).map(str::to_owned);
    Some(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installed_packages_are_listed() {
        let text = "Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2.15-2+b7\n\
                    Description: shell\n Package: no\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\
                    Package: libc6\nSource: glibc (2.36-9)\nVersion: 2.36-9+deb12u4\n";
        let found = packages(text);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].name.as_str(), found[0].version.as_str()), ("bash", "5.2.15-2+b7"));
        assert_eq!(found[0].architecture.as_deref(), Some("amd64"));
        assert_eq!(found[1].source.as_deref(), Some("glibc"));
    }
}
