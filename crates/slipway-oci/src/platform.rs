//! Which kind of machine is meant: `os/arch[/variant]`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An operating system, an architecture and, for some, a variant; always normalised.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    pub architecture: String,
    pub os: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// Why a text is no platform, in the reference's words.
#[derive(Debug, thiserror::Error)]
pub enum PlatformParseError {
    #[error(
        "{text:?}: unknown operating system or architecture: invalid argument; expected `os[/arch[/variant]]`, such as `linux/amd64`"
    )]
    Unknown { text: String },
    #[error(
        "{text:?}: cannot parse platform specifier: invalid argument; expected `os[/arch[/variant]]`, such as `linux/amd64`"
    )]
    Parts { text: String },
    #[error(
        "{component:?} is an invalid component of {text:?}: platform specifier component must match \"^[A-Za-z0-9_.-]+$\": invalid argument"
    )]
    Component { component: String, text: String },
}

impl Platform {
    /// The platform that this program runs on.
    pub fn host() -> Platform {
        Platform::new("linux", std::env::consts::ARCH, None)
    }

    /// A platform in normal form: `x86_64` is `amd64`, `arm64/v8` is `arm64`, `arm` is `arm/v7`.
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Platform {
        let os = os.to_ascii_lowercase();
        let variant = variant.filter(|v| !v.is_empty()).map(str::to_ascii_lowercase);
        let (architecture, variant) = match (architecture.to_ascii_lowercase().as_str(), variant.as_deref()) {
            ("x86_64" | "x86-64" | "amd64", None | Some("v1")) => ("amd64".to_owned(), None),
            ("x86_64" | "x86-64" | "amd64", v) => ("amd64".to_owned(), v.map(str::to_owned)),
            ("i386" | "i486" | "i586" | "i686" | "x86" | "386", _) => ("386".to_owned(), None),
            ("aarch64" | "arm64", None | Some("8" | "v8")) => ("arm64".to_owned(), None),
            ("armhf", _) => ("arm".to_owned(), Some("v7".to_owned())),
            ("armel", _) => ("arm".to_owned(), Some("v6".to_owned())),
            ("arm", None | Some("7")) => ("arm".to_owned(), Some("v7".to_owned())),
            ("arm", Some(v @ ("5" | "6" | "8"))) => ("arm".to_owned(), Some(format!("v{v}"))),
            (other, v) => (other.to_owned(), v.map(str::to_owned)),
        };
        Platform { os, architecture, variant }
    }

    /// This platform and then those whose programs its processors run as well: `arm/v7` runs those for `v6` and `v5`.
    pub fn and_older_variants(&self) -> Vec<Platform> {
        let older: &[&str] = match (self.architecture.as_str(), self.variant.as_deref()) {
            ("arm", Some("v8")) => &["v7", "v6", "v5"],
            ("arm", Some("v7")) => &["v6", "v5"],
            ("arm", Some("v6")) => &["v5"],
            ("amd64", Some("v4")) => &["v3", "v2", ""],
            ("amd64", Some("v3")) => &["v2", ""],
            ("amd64", Some("v2")) => &[""],
            _ => &[],
        };
        let with_variant = |variant: &&str| Platform::new(&self.os, &self.architecture, Some(variant));
        std::iter::once(self.clone()).chain(older.iter().map(with_variant)).collect()
    }

    /// Whether an image for `self` runs where `wanted` is asked for.
    pub fn matches(&self, wanted: &Platform) -> bool {
        let a = Platform::new(&self.os, &self.architecture, self.variant.as_deref());
        a == Platform::new(&wanted.os, &wanted.architecture, wanted.variant.as_deref())
    }
}

impl FromStr for Platform {
    type Err = PlatformParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.to_owned();
        let is_name = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
        let parts: Vec<&str> = text.split('/').collect();
        if parts.len() > 3 {
            return Err(PlatformParseError::Parts { text });
        }
        if let Some(component) = parts.iter().find(|p| !is_name(p)) {
            return Err(PlatformParseError::Component { component: (*component).to_owned(), text });
        }
        let host = Platform::host();
        match parts[..] {
            ["local"] => Ok(host),
            [one] if ["linux", "windows", "darwin", "freebsd"].contains(&one.to_ascii_lowercase().as_str()) => {
                Ok(Platform::new(one, &host.architecture, host.variant.as_deref()))
            }
            [one] => {
                let known = ["amd64", "arm64", "arm", "386", "ppc64le", "s390x", "riscv64", "mips64le", "loong64"];
                let platform = Platform::new("linux", one, None);
                if known.contains(&platform.architecture.as_str()) {
                    Ok(platform)
                } else {
                    Err(PlatformParseError::Unknown { text })
                }
            }
            [os, arch] => Ok(Platform::new(os, arch, None)),
            [os, arch, variant] => Ok(Platform::new(os, arch, Some(variant))),
            _ => Err(PlatformParseError::Parts { text }),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Platform;

    #[test]
    fn spellings_are_normalised() {
        for (text, normal) in [
            ("linux/x86_64", "linux/amd64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("arm64", "linux/arm64"),
            ("LINUX/AMD64", "linux/amd64"),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), normal);
        }
        for bad in ["", "a/b/c/d", "linux/", "nosuch"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
    }
}
