//! `RUN --network=`.

use slipway_graph::op::Network;

use crate::quote::quoted;

/// The network that `value` names; `None` leaves the choice to the build.
pub(super) fn parse(value: &str) -> Result<Option<Network>, String> {
    match value {
        "default" => Ok(None),
        "none" => Ok(Some(Network::None)),
        "host" => Ok(Some(Network::Host)),
        _ => Err(format!("invalid network mode {}", quoted(value))),
    }
}

#[cfg(test)]
mod tests {
    use crate::lower::tests::{Case, errors};

    #[test]
    fn variables_are_no_networks() {
        assert_eq!(errors("FROM scratch\nRUN --network=$N x\n"), ["invalid network mode \"$N\""]);
    }

    #[test]
    fn the_host_network_has_to_be_allowed() {
        let text = "FROM scratch\nRUN --network=host x\n";
        assert_eq!(errors(text), ["network.host is not allowed"]);
        assert!(Case::new(text).allow_all().graph().contains("network=Host"));
        assert!(Case::new("FROM scratch\nRUN --network=none x\n").graph().contains("network=None"));
    }
}
