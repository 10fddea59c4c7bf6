//! `EXPOSE` with an upper-case protocol, or with what only `docker run -p` can have.

use super::{Findings, Rule};
use crate::facts::{Fact, Seen};

pub(super) const PROTOCOL: Rule =
    Rule::new("ExposeProtoCasing", "expose-proto-casing", "Protocol in EXPOSE instruction should be lowercase");
pub(super) const FORMAT: Rule = Rule::new(
    "ExposeInvalidFormat",
    "expose-invalid-format",
    "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future \
     release",
);

pub(super) fn check(fact: &Fact, findings: &mut Findings<'_>) {
    let Seen::Port { text, protocol, is_mapping } = &fact.seen else { return };
    if *protocol != protocol.to_lowercase() {
        let message = format!("Defined protocol '{text}' in EXPOSE instruction should be lowercase");
        findings.add(&PROTOCOL, &fact.place, message);
    }
    if *is_mapping {
        let message =
            format!("EXPOSE instruction should not define an IP address or host-port mapping, found '{text}'");
        findings.add(&FORMAT, &fact.place, message);
    }
}

#[cfg(test)]
mod tests {
    use crate::lint::tests::{check_hits, check_silent};

    #[test]
    fn ports_are_plain() {
        let mapping = "ExposeInvalidFormat: EXPOSE instruction should not define an IP address or host-port mapping";
        check_hits(&[
            (
                "FROM scratch\nEXPOSE 80/TCP\n",
                "2 ExposeProtoCasing: Defined protocol '80/TCP' in EXPOSE instruction should be lowercase",
            ),
            ("FROM scratch\nEXPOSE 1:80\n", &format!("2 {mapping}, found '1:80'")),
            ("FROM scratch\nENV p=127.0.0.1::80\nEXPOSE $p\n", &format!("3 {mapping}, found '127.0.0.1::80'")),
        ]);
        check_silent(&["FROM scratch\nEXPOSE 80 81/udp 90-92\n"]);
    }
}
