//! Ports that no program can listen on.

use super::Family;
use crate::source::{Source, Words};
use crate::{Findings, Rule, Severity};
use slipway_dockerfile::Keyword;

const RANGE: Rule = Rule::new("DL3011", Severity::Error, "EXPOSE of a port above 65535", "Ports go from 0 to 65535");

pub(crate) const FAMILY: Family = Family { check, rules: &[&RANGE] };

fn check(source: &Source<'_>, findings: &mut Findings<'_>) {
    for (_, step) in source.steps().filter(|(_, step)| step.is(Keyword::Expose)) {
        let words = step.instruction.words();
        let ports = words.iter().flat_map(|word| word.split('/').next().unwrap_or(word).split(['-', ':']));
        let is_high =
            |port: &&str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_err() && !port.is_empty();
        if let Some(port) = ports.into_iter().find(is_high) {
            findings.add(&RANGE, step.lines, format!("{}: {port}", RANGE.summary));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_hits, check_silent};

    #[test]
    fn ports() {
        check_hits("DL3011", &["EXPOSE 80000\n", "EXPOSE 80 1-70000/udp\n"]);
        check_silent("DL3011", &["EXPOSE 65535 80/tcp $PORT 1-2\n"]);
    }
}
