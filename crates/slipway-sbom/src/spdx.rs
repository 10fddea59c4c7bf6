//! The list of packages as an SPDX 2.3 document (<https://spdx.github.io/spdx-spec/v2.3/>).

use serde_json::{Value, json};

use crate::{OsRelease, Package, purl};

/// What a document is about.
#[derive(Clone, Copy, Debug)]
pub struct Document<'a> {
    pub name: &'a str,
    /// Makes the name of the document one that no other has.
    pub unique: &'a str,
    /// RFC 3339, whole seconds.
    pub created: &'a str,
    pub os: Option<&'a OsRelease>,
    /// Each with the paths of the files that list it.
    pub packages: &'a [(Package, Vec<String>)],
}

const ROOT: &str = "SPDXRef-DocumentRoot-Directory";

/// The document. Nothing in it says anything that no file said: licenses are comments, for what packages write is not
/// always an expression of SPDX.
pub fn spdx(document: &Document<'_>) -> Value {
    let root = json!({
        "name": document.name,
        "SPDXID": ROOT,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "copyrightText": "NOASSERTION",
        "primaryPackagePurpose": "FILE",
    });
    let (mut packages, mut relationships) = (vec![root], vec![relationship("SPDXRef-DOCUMENT", "DESCRIBES", ROOT)]);
    for (number, (package, files)) in document.packages.iter().enumerate() {
        let id = format!("SPDXRef-Package-{number}-{}", as_id(&package.name));
        relationships.push(relationship(ROOT, "CONTAINS", &id));
        packages.push(entry(&id, package, files, document.os));
    }
    json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": document.name,
        "documentNamespace": format!("https://spdx.org/spdxdocs/slipway-{}", document.unique),
        "creationInfo": {"creators": ["Tool: slipway"], "created": document.created},
        "packages": packages,
        "relationships": relationships,
    })
}

fn relationship(from: &str, kind: &str, to: &str) -> Value {
    json!({"spdxElementId": from, "relatedSpdxElement": to, "relationshipType": kind})
}

fn entry(id: &str, package: &Package, files: &[String], os: Option<&OsRelease>) -> Value {
    let mut entry = json!({
        "name": package.name,
        "SPDXID": id,
        "versionInfo": package.version,
        "supplier": "NOASSERTION",
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "sourceInfo": format!("listed in {}", files.join(", ")),
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": purl::of(package, os),
        }],
    });
    if let Some(license) = &package.license {
        entry["licenseComments"] = json!(format!("declared as: {license}"));
    }
    entry
}

/// What an id may hold: letters, digits, `.` and `-`.
fn as_id(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::Ecosystem;

    /// What the schema of SPDX 2.3 demands of what is written here.
    fn check(document: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned();
        for key in ["spdxVersion", "dataLicense", "SPDXID", "name", "documentNamespace"] {
            assert!(!text(&document[key]).is_empty(), "{key}");
        }
        assert!(text(&document["documentNamespace"]).starts_with("https://"));
        assert!(!text(&document["documentNamespace"]).contains('#'));
        let created = text(&document["creationInfo"]["created"]);
        assert!(created.len() == "2006-01-02T15:04:05Z".len() && created.ends_with('Z'), "{created}");
        assert!(text(&document["creationInfo"]["creators"][0]).starts_with("Tool: "));
        let mut ids = HashSet::from(["SPDXRef-DOCUMENT".to_owned()]);
        for package in document["packages"].as_array().unwrap() {
            let id = text(&package["SPDXID"]);
            let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
            assert!(id.strip_prefix("SPDXRef-").unwrap().chars().all(is_allowed), "{id}");
            assert!(ids.insert(id.clone()), "{id} is there twice");
            assert!(!text(&package["name"]).is_empty() && !text(&package["downloadLocation"]).is_empty());
            assert_eq!(package["filesAnalyzed"], false);
            for reference in package["externalRefs"].as_array().into_iter().flatten() {
                assert!(text(&reference["referenceLocator"]).starts_with("pkg:"));
            }
        }
        for relationship in document["relationships"].as_array().unwrap() {
            for end in ["spdxElementId", "relatedSpdxElement"] {
                assert!(ids.contains(&text(&relationship[end])), "{relationship}");
            }
        }
    }

    #[test]
    fn a_document_is_what_the_schema_demands() {
        let os = OsRelease { id: "alpine".to_owned(), version_id: "3.20".to_owned() };
        let mut strange = Package::new(Ecosystem::Npm, "@s/ä b#", "1");
        strange.license = Some("see LICENSE".to_owned());
        let packages = [
            (Package::new(Ecosystem::Apk, "musl", "1.2"), vec!["lib/apk/db/installed".to_owned()]),
            (strange, vec!["a/package-lock.json".to_owned(), "b/package-lock.json".to_owned()]),
            (Package::new(Ecosystem::Npm, "-s-ä b-", "1"), Vec::new()),
        ];
        let created = "2026-01-02T03:04:05Z";
        let document = Document { name: "sbom", unique: "u", created, os: Some(&os), packages: &packages };
        let written = spdx(&document);
        check(&written);
        assert_eq!(written["packages"].as_array().unwrap().len(), 4);
        assert_eq!(written["packages"][2]["licenseComments"], "declared as: see LICENSE");
        assert_eq!(written["packages"][2]["sourceInfo"], "listed in a/package-lock.json, b/package-lock.json");
        check(&spdx(&Document { packages: &[], os: None, ..document }));
    }
}
