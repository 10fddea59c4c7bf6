//! `RUN --security=`.

use slipway_graph::op::Security;

use crate::quote::quoted;

/// How far `value` trusts the step.
pub(super) fn parse(value: &str) -> Result<Security, String> {
    match value {
        "sandbox" => Ok(Security::Sandbox),
        "insecure" => Ok(Security::Insecure),
        _ => Err(format!("security {} is not valid", quoted(value))),
    }
}

#[cfg(test)]
mod tests {
    use crate::lower::tests::{Case, errors};

    #[test]
    fn trust_has_to_be_allowed() {
        let text = "FROM scratch\nRUN --security=insecure x\n";
        assert_eq!(errors(text), ["security.insecure is not allowed"]);
        assert!(Case::new(text).allow_all().graph().contains("security=Insecure"));
        assert_eq!(errors("FROM scratch\nRUN --security=x y\n"), ["security \"x\" is not valid"]);
    }
}
