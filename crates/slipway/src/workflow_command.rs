//! Commands that GitHub Actions reads from what a step of a workflow prints.

/// `::error file=Dockerfile,line=3::message`, without a line end. Properties that are empty are left out.
pub(crate) fn command(name: &str, properties: &[(&str, &str)], message: &str) -> String {
    let properties: Vec<String> = properties
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| format!("{key}={}", property(value)))
        .collect();
    let blank = if properties.is_empty() { "" } else { " " };
    format!("::{name}{blank}{}::{}", properties.join(","), data(message))
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_the_format_is_escaped() {
        assert_eq!(
            command("error", &[("file", "a,b:c"), ("line", "")], "50%\nx:y"),
            "::error file=a%2Cb%3Ac::50%25%0Ax:y"
        );
        assert_eq!(command("endgroup", &[], ""), "::endgroup::");
    }
}
