//! Which packages are in a file system? Bytes in, packages out.
//!
//! [`Catalog::of_path`] says whether a file lists packages, [`Catalog::packages`] reads it. Files are whatever an image
//! holds: what cannot be read gives no packages, nothing panics, and what is read at once is bounded ([`MAX_BYTES`]).
//!
//! ```text
//! dpkg, apk, rpm/                             databases of distributions
//! npm, yarn, pnpm, python, cargo, go, ruby, php, java
//!                                             lock files, metadata of installed packages, programs that carry a list
//! os_release                                  whose packages those of a distribution are
//! purl                                        what a package is called everywhere
//! spdx                                        the list as an SPDX 2.3 document
//! ```

mod apk;
mod cargo;
mod dpkg;
mod go;
mod input;
mod java;
mod npm;
mod os_release;
mod php;
mod pnpm;
mod purl;
mod python;
mod rpm;
mod ruby;
mod spdx;
mod yarn;

pub use input::{Input, SliceInput};
pub use os_release::OsRelease;
pub use spdx::{Document, spdx};

/// Longer files are not read, except those of which only parts are.
pub const MAX_BYTES: u64 = 64 << 20;

/// Who packs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ecosystem {
    Deb,
    Apk,
    Rpm,
    Npm,
    PyPi,
    Cargo,
    Go,
    Gem,
    Composer,
    Maven,
}

/// A package that a file lists.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    pub ecosystem: Ecosystem,
    /// With the part before the last `/` where the ecosystem has one: `@scope/name`, `group/name`.
    pub name: String,
    pub version: String,
    pub architecture: Option<String>,
    /// As the package says it, which is not always an SPDX expression.
    pub license: Option<String>,
    /// The package that it was built from, where it has another name.
    pub source: Option<String>,
}

impl Package {
    fn new(ecosystem: Ecosystem, name: &str, version: &str) -> Package {
        let (name, version) = (name.to_owned(), version.to_owned());
        Package { ecosystem, name, version, architecture: None, license: None, source: None }
    }
}

/// A kind of file that lists packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Catalog {
    Dpkg,
    Apk,
    RpmSqlite,
    RpmNdb,
    RpmBerkeley,
    NpmLock,
    NpmPackage,
    Yarn,
    Pnpm,
    PythonMetadata,
    Requirements,
    Pipfile,
    /// `poetry.lock`, `uv.lock`.
    PythonLock,
    Cargo,
    /// A program; it need not be one that was written in Go.
    Program,
    Gemfile,
    Gemspec,
    Composer,
    Jar,
}

impl Catalog {
    /// What the file at `path` (relative to the root, without a leading `/`) is by its name. A program has no name that
    /// tells; `is_program` says that the file may be run.
    pub fn of_path(path: &str, is_program: bool) -> Option<Catalog> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let catalog = match name {
            "status" if folder == "var/lib/dpkg" => Catalog::Dpkg,
            _ if folder == "var/lib/dpkg/status.d" && !name.ends_with(".md5sums") => Catalog::Dpkg,
            "installed" if matches!(folder, "lib/apk/db" | "usr/lib/apk/db") => Catalog::Apk,
            "rpmdb.sqlite" if is_rpm_folder(folder) => Catalog::RpmSqlite,
            "Packages.db" if is_rpm_folder(folder) => Catalog::RpmNdb,
            "Packages" if is_rpm_folder(folder) => Catalog::RpmBerkeley,
            "package-lock.json" | "npm-shrinkwrap.json" | ".package-lock.json" => Catalog::NpmLock,
            "package.json" if npm::is_installed(folder) => Catalog::NpmPackage,
            "yarn.lock" => Catalog::Yarn,
            "pnpm-lock.yaml" => Catalog::Pnpm,
            "METADATA" if folder.ends_with(".dist-info") => Catalog::PythonMetadata,
            "PKG-INFO" if folder.ends_with(".egg-info") => Catalog::PythonMetadata,
            "requirements.txt" => Catalog::Requirements,
            "Pipfile.lock" => Catalog::Pipfile,
            "poetry.lock" | "uv.lock" => Catalog::PythonLock,
            "Cargo.lock" => Catalog::Cargo,
            "Gemfile.lock" | "gems.locked" => Catalog::Gemfile,
            _ if name.ends_with(".gemspec") && folder.ends_with("specifications") => Catalog::Gemspec,
            "composer.lock" => Catalog::Composer,
            "installed.json" if folder.ends_with("vendor/composer") => Catalog::Composer,
            _ if [".jar", ".war", ".ear"].iter().any(|end| name.ends_with(end)) => Catalog::Jar,
            _ if is_program => Catalog::Program,
            _ => return None,
        };
        Some(catalog)
    }

    /// The packages that the file at `path` lists; none if it is not what its name says, or too long.
    pub fn packages(self, path: &str, input: &dyn Input) -> Vec<Package> {
        match self {
            Catalog::RpmSqlite => return rpm::of_sqlite(input),
            Catalog::RpmBerkeley => return rpm::of_bdb(input),
            Catalog::Program => return go::packages(input),
            Catalog::Jar => return java::packages(path, input),
            _ => {}
        }
        let Some(bytes) = input.whole() else { return Vec::new() };
        let text = String::from_utf8_lossy(&bytes);
        match self {
            Catalog::Dpkg => dpkg::packages(&text),
            Catalog::Apk => apk::packages(&text),
            Catalog::RpmNdb => rpm::of_ndb(&bytes),
            Catalog::NpmLock => npm::of_lock(&text),
            Catalog::NpmPackage => npm::of_package(&text),
            Catalog::Yarn => yarn::packages(&text),
            Catalog::Pnpm => pnpm::packages(&text),
            Catalog::PythonMetadata => python::of_metadata(&text),
            Catalog::Requirements => python::of_requirements(&text),
            Catalog::Pipfile => python::of_pipfile(&text),
            Catalog::PythonLock => cargo::of_toml(&text, Ecosystem::PyPi),
            Catalog::Cargo => cargo::of_toml(&text, Ecosystem::Cargo),
            Catalog::Gemfile => ruby::of_lock(&text),
            Catalog::Gemspec => ruby::of_gemspec(path),
            Catalog::Composer => php::packages(&text),
            Catalog::RpmSqlite | Catalog::RpmBerkeley | Catalog::Program | Catalog::Jar => Vec::new(),
        }
    }
}

fn is_rpm_folder(folder: &str) -> bool {
    matches!(folder, "var/lib/rpm" | "usr/lib/sysimage/rpm" | "usr/share/rpm")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) const ALL: [Catalog; 19] = [
        Catalog::Dpkg,
        Catalog::Apk,
        Catalog::RpmSqlite,
        Catalog::RpmNdb,
        Catalog::RpmBerkeley,
        Catalog::NpmLock,
        Catalog::NpmPackage,
        Catalog::Yarn,
        Catalog::Pnpm,
        Catalog::PythonMetadata,
        Catalog::Requirements,
        Catalog::Pipfile,
        Catalog::PythonLock,
        Catalog::Cargo,
        Catalog::Program,
        Catalog::Gemfile,
        Catalog::Gemspec,
        Catalog::Composer,
        Catalog::Jar,
    ];

    #[test]
    fn files_are_known_by_their_names() {
        for (path, expected) in [
            ("var/lib/dpkg/status", Some(Catalog::Dpkg)),
            ("var/lib/dpkg/status.d/base-files", Some(Catalog::Dpkg)),
            ("var/lib/dpkg/status.d/base-files.md5sums", None),
            ("srv/var/lib/dpkg/status", None),
            ("lib/apk/db/installed", Some(Catalog::Apk)),
            ("var/lib/rpm/rpmdb.sqlite", Some(Catalog::RpmSqlite)),
            ("usr/lib/sysimage/rpm/Packages.db", Some(Catalog::RpmNdb)),
            ("var/lib/rpm/Packages", Some(Catalog::RpmBerkeley)),
            ("app/package-lock.json", Some(Catalog::NpmLock)),
            ("app/package.json", None),
            ("app/node_modules/a/package.json", Some(Catalog::NpmPackage)),
            ("app/node_modules/@s/a/package.json", Some(Catalog::NpmPackage)),
            ("app/node_modules/a/test/package.json", None),
            ("usr/lib/python3/site-packages/a-1.dist-info/METADATA", Some(Catalog::PythonMetadata)),
            ("Cargo.lock", Some(Catalog::Cargo)),
            ("app/vendor/composer/installed.json", Some(Catalog::Composer)),
            ("app/lib/a.jar", Some(Catalog::Jar)),
            ("usr/bin/true", None),
        ] {
            assert_eq!(Catalog::of_path(path, false), expected, "{path}");
        }
        assert_eq!(Catalog::of_path("usr/bin/true", true), Some(Catalog::Program));
    }

    proptest! {
        /// Whatever is in a file, reading it ends, and without a panic.
        #[test]
        fn no_bytes_stop_anybody(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
            for catalog in ALL {
                catalog.packages("a.jar", &SliceInput(&bytes));
            }
        }

        /// The same for texts made of what the formats are made of.
        #[test]
        fn no_text_stops_anybody(words in proptest::collection::vec(
            prop::sample::select(vec![
                "Package:", "P:", "V:", "Version:", " ", "\n", "\n\n", "a", "@", "/", ":", "\"", "{", "}", "[", "]", ",",
                "packages:", "GEM", "specs:", "(", ")", "==", "[[package]]", "name = \"a\"", "version = \"1\"",
                "\"packages\"", "\"version\"", "\"1\"", "  ", "é", "#", "npm:",
            ]), 0..200)) {
            let text = words.concat();
            for catalog in ALL {
                catalog.packages("x/a-1.gemspec", &SliceInput(text.as_bytes()));
            }
        }
    }
}
