//! Which distribution is it? `/etc/os-release` (os-release(5)).

/// What names the distribution.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OsRelease {
    /// `debian`, `alpine`, …
    pub id: String,
    /// `12`; empty for those that have no versions.
    pub version_id: String,
}

impl OsRelease {
    /// What `text` says, if it names a distribution.
    pub fn parse(text: &str) -> Option<OsRelease> {
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.map(|value| value.trim().trim_matches(['"', '\'']).to_owned())
        };
        let id = value("ID").filter(|id| !id.is_empty())?;
        Some(OsRelease { id, version_id: value("VERSION_ID").unwrap_or_default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_no_part_of_a_value() {
        let text = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nID=debian\n";
        let expected = OsRelease { id: "debian".to_owned(), version_id: "12".to_owned() };
        assert_eq!(OsRelease::parse(text), Some(expected));
        assert_eq!(OsRelease::parse("ID=arch\n").unwrap().version_id, "");
        assert_eq!(OsRelease::parse("VERSION_ID=1\n"), None);
    }
}
