//! What does a 401 ask for? The `WWW-Authenticate` header, read (RFC 9110 section 11.6.1).

use ureq::http::HeaderMap;

/// A way to authenticate that the server offers and this client knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// Fetch a token at `realm` and send it. The scope that the registry suggests is not used: the client knows best
    /// what it is about to do.
    Bearer { realm: String, service: Option<String> },
    /// Send user name and password.
    Basic,
}

impl Challenge {
    /// The best challenge that the headers hold: a token is better than a password in every request.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Option<Challenge> {
        let texts = headers.get_all("www-authenticate").iter().filter_map(|value| value.to_str().ok());
        let mut challenges: Vec<Challenge> = texts.flat_map(parse).collect();
        let best = challenges.iter().position(|challenge| *challenge != Challenge::Basic).unwrap_or(0);
        if challenges.is_empty() { None } else { Some(challenges.swap_remove(best)) }
    }
}

/// The challenges of one header value: `Scheme key="value", key=value, OtherScheme …`.
fn parse(text: &str) -> Vec<Challenge> {
    let mut challenges = Vec::new();
    let mut rest = text.trim_start_matches([' ', ',']);
    while !rest.is_empty() {
        let (scheme, after) = split_token(rest);
        if scheme.is_empty() {
            break;
        }
        let (parameters, after) = parse_parameters(after);
        let value = |key: &str| {
            parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value.clone())
        };
        if scheme.eq_ignore_ascii_case("basic") {
            challenges.push(Challenge::Basic);
        } else if scheme.eq_ignore_ascii_case("bearer")
            && let Some(realm) = value("realm")
        {
            challenges.push(Challenge::Bearer { realm, service: value("service") });
        }
        rest = after;
    }
    challenges
}

/// Reads `key=value` pairs up to the next scheme, and returns what follows.
fn parse_parameters(text: &str) -> (Vec<(String, String)>, &str) {
    let mut parameters = Vec::new();
    let mut rest = text.trim_start_matches([' ', ',']);
    loop {
        let (key, after) = split_token(rest);
        let Some(after) = after.trim_start().strip_prefix('=') else { return (parameters, rest) };
        let (value, after) = parse_value(after.trim_start());
        parameters.push((key.to_owned(), value));
        rest = after.trim_start_matches([' ', ',']);
    }
}

/// A token or a quoted string, and what follows.
fn parse_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

fn split_token(text: &str) -> (&str, &str) {
    text.split_at(text.find([' ', ',', '=', '"']).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&'static str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("www-authenticate", ureq::http::HeaderValue::from_static(value));
        }
        Challenge::from_headers(&headers)
    }

    fn bearer(realm: &str, service: Option<&str>) -> Option<Challenge> {
        let owned = |text: &str| text.to_owned();
        Some(Challenge::Bearer { realm: owned(realm), service: service.map(owned) })
    }

    #[test]
    fn challenges_are_read() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        assert_eq!(read(&[hub]), bearer("https://auth.docker.io/token", Some("registry.docker.io")));
        assert_eq!(read(&["Basic realm=\"x\""]), Some(Challenge::Basic));
        assert_eq!(read(&["basic"]), Some(Challenge::Basic));
        assert_eq!(read(&["Basic realm=\"x\", Bearer realm=r, service=s"]), bearer("r", Some("s")));
        assert_eq!(read(&["Basic realm=\"x\"", "BEARER realm=\"r\\\"q\""]), bearer("r\"q", None));
    }

    #[test]
    fn strange_headers_offer_nothing() {
        for text in ["", ",,,", "Negotiate", "Bearer", "Bearer service=\"x\"", "=", "\"\"", "Digest realm=\"unclosed"] {
            assert_eq!(parse(text), vec![], "{text}");
        }
    }
}
