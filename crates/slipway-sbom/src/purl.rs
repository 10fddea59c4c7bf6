//! What is a package called everywhere? A package URL (<https://github.com/package-url/purl-spec>).

use crate::{Ecosystem, OsRelease, Package};

pub(crate) fn of(package: &Package, os: Option<&OsRelease>) -> String {
    let kind = match package.ecosystem {
        Ecosystem::Deb => "deb",
        Ecosystem::Apk => "apk",
        Ecosystem::Rpm => "rpm",
        Ecosystem::Npm => "npm",
        Ecosystem::PyPi => "pypi",
        Ecosystem::Cargo => "cargo",
        Ecosystem::Go => "golang",
        Ecosystem::Gem => "gem",
        Ecosystem::Composer => "composer",
        Ecosystem::Maven => "maven",
    };
    let is_of_distribution = matches!(package.ecosystem, Ecosystem::Deb | Ecosystem::Apk | Ecosystem::Rpm);
    let os = os.filter(|_| is_of_distribution);
    let name: Vec<String> =
        os.map(|os| os.id.as_str()).into_iter().chain(package.name.split('/')).map(escaped).collect();
    let mut qualifiers = Vec::new();
    if let Some(architecture) = &package.architecture {
        qualifiers.push(format!("arch={}", escaped(architecture)));
    }
    if let Some(os) = os.filter(|os| !os.version_id.is_empty()) {
        qualifiers.push(format!("distro={}-{}", escaped(&os.id), escaped(&os.version_id)));
    }
    if let Some(source) = &package.source {
        qualifiers.push(format!("upstream={}", escaped(source)));
    }
    let mark = if qualifiers.is_empty() { "" } else { "?" };
    format!("pkg:{kind}/{}@{}{mark}{}", name.join("/"), escaped(&package.version), qualifiers.join("&"))
}

fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' | b':' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_called_as_the_specification_says() {
        let os = OsRelease { id: "debian".to_owned(), version_id: "12".to_owned() };
        let mut bash = Package::new(Ecosystem::Deb, "bash", "5.2.15-2+b7");
        bash.architecture = Some("amd64".to_owned());
        assert_eq!(of(&bash, Some(&os)), "pkg:deb/debian/bash@5.2.15-2%2Bb7?arch=amd64&distro=debian-12");
        let scoped = Package::new(Ecosystem::Npm, "@s/a", "1.0.0");
        assert_eq!(of(&scoped, Some(&os)), "pkg:npm/%40s/a@1.0.0");
        assert_eq!(of(&Package::new(Ecosystem::Maven, "org.x/lib", "1"), None), "pkg:maven/org.x/lib@1");
    }
}
