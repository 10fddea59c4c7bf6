//! `slipway doctor`: what this machine allows, which sandbox follows from it, and what would give a better one.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use slipway_engine::chain;
use slipway_sandbox::ladder::{self, Finding};
use slipway_sandbox::{PrivateNetworkError, survey_private_network};

use crate::report::CommandError;
use crate::{env_vars, place};

/// Prints what was found.
pub(crate) fn run() -> Result<(), CommandError> {
    let findings = ladder::survey()?;
    let mut text = describe(&findings);
    // Where there are no steps there is no network of theirs.
    if findings.iter().any(|finding| finding.obstacle.is_none()) {
        let search_path = env_vars::PATH.get_os().unwrap_or_default();
        text += &describe_network(&survey_private_network(place::find(None)?, &search_path));
    }
    io::stdout().write_all(text.as_bytes()).map_err(|error| CommandError::Preparation(error.into()))
}

/// What steps see that do not ask for a certain network.
fn describe_network(found: &Result<(), PrivateNetworkError>) -> String {
    let Err(error) = found else {
        return "network: private; steps reach neither loopback nor abstract sockets of the host\n".to_owned();
    };
    let hint = error.hint().map(|hint| format!("    to have it: {hint}\n")).unwrap_or_default();
    format!(
        "network: that of the host; steps reach its loopback and its abstract sockets unless `--network=none`\n  \
         private: no, {error}\n{hint}"
    )
}

/// One line for each rung, and below those that do not work the way there.
fn describe(findings: &[Finding]) -> String {
    let mut text = String::new();
    let chosen = findings.iter().find(|finding| finding.obstacle.is_none());
    let _ = match chosen {
        Some(Finding { rung, .. }) => writeln!(text, "sandbox: {rung}"),
        None => writeln!(text, "sandbox: none; RUN does not work here"),
    };
    for Finding { rung, obstacle } in findings {
        let Some(error) = obstacle else {
            let _ = writeln!(text, "  {rung}: yes, {}", rung.description());
            continue;
        };
        let _ = writeln!(text, "  {rung}: no, {}", chain(error));
        if let Some(hint) = error.hint() {
            let _ = writeln!(text, "    to have it: {hint}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use slipway_sandbox::ladder::Rung;
    use slipway_sandbox::userns::EnterError;

    use super::*;

    #[test]
    fn the_best_rung_is_named_and_the_way_to_better_ones() {
        let missing = EnterError::NoSubordinateIds { user: "ci".to_owned(), file: "/etc/subuid" };
        let findings = [
            Finding { rung: Rung::Root, obstacle: Some(EnterError::NotRoot) },
            Finding { rung: Rung::SubordinateIds, obstacle: Some(missing) },
            Finding { rung: Rung::SingleId, obstacle: None },
        ];
        let expected = "\
sandbox: single-id
  root: no, this process is not root
    to have it: run it as root, with `sudo`
  subids: no, user `ci` has no subordinate ids in /etc/subuid
    to have it: as root, add the line `ci:100000:65536` to /etc/subuid
  single-id: yes, one id; other owners are recorded on the files
";
        assert_eq!(describe(&findings), expected);
    }
    #[test]
    fn what_a_private_network_lacks_is_named() {
        let expected = "\
network: that of the host; steps reach its loopback and its abstract sockets unless `--network=none`
  private: no, neither `slirp4netns` nor `pasta` is installed
    to have it: install the package `slirp4netns` or `passt`
";
        assert_eq!(describe_network(&Err(PrivateNetworkError::NoHelper)), expected);
        assert!(describe_network(&Ok(())).starts_with("network: private; "));
    }
}
