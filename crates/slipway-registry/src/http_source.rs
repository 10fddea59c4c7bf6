//! What is at a URL? Plain GET and HEAD for `ADD <url>`, with the same connections, certificates and proxies as
//! registries, but none of their credentials.

use std::io::{self, Read};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use slipway_oci::percent_decoded;
use ureq::http::{Method, Uri};

use crate::Registry;
use crate::client::{Request, Response};
use crate::failure::{ErrorKind, Failure};
use crate::origin::Origin;
use crate::patience::BodyBytes;

/// What to ask of a URL.
#[derive(Clone, Debug, Default)]
pub struct UrlRequest {
    pub url: String,
    /// Only the head: is it there, has it changed?
    pub is_head: bool,
    /// Values of `If-None-Match`: entity tags of what is here already. If one still holds, the answer is a 304.
    pub known_etags: Vec<String>,
    /// Value of the `Authorization` header. It is dropped as soon as a redirect leaves the host.
    pub authorization: Option<String>,
}

/// An answer with a status below 400.
pub struct UrlResponse {
    pub status: u16,
    /// The URL that answered, after redirects.
    pub final_url: String,
    pub etag: Option<String>,
    /// An HTTP date, as sent.
    pub last_modified: Option<String>,
    /// As sent; it may suggest a file name, which is not to be trusted.
    pub content_disposition: Option<String>,
    pub content_length_bytes: Option<u64>,
    pub body: UrlBody,
}

impl UrlResponse {
    /// Whether what is known under one of the request's entity tags is still right.
    pub fn is_unchanged(&self) -> bool {
        self.status == 304
    }
}

/// The bytes at a URL. A body that ends before its `Content-Length` is a read error; it has no other size limit.
pub struct UrlBody {
    reader: BodyBytes,
    /// `None` if the server did not say.
    n_left: Option<u64>,
}

impl Read for UrlBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buffer)?;
        match &mut self.n_left {
            Some(n_left) if n == 0 && *n_left > 0 && !buffer.is_empty() => {
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{n_left} bytes are missing")))
            }
            Some(n_left) => {
                *n_left = n_left.saturating_sub(n as u64);
                Ok(n)
            }
            None => Ok(n),
        }
    }
}

/// A URL could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("`{url}` is no http or https URL")]
    NotAUrl { url: String },
    /// The text that BuildKit's users know.
    #[error("cannot fetch `{url}`: invalid response status {status}")]
    Status { url: String, status: u16 },
    #[error("cannot fetch `{url}`: {failure}")]
    Failed { url: String, failure: Failure },
}

impl FetchError {
    /// What kind of trouble it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            FetchError::NotAUrl { .. } => ErrorKind::Invalid,
            FetchError::Status { status: 404 | 410, .. } => ErrorKind::NotFound,
            FetchError::Status { status: 401 | 403, .. } => ErrorKind::Denied,
            FetchError::Status { .. } => ErrorKind::Environment,
            FetchError::Failed { failure, .. } => failure.kind(),
        }
    }
}

impl Registry {
    /// Asks a URL, following redirects. User name and password in it are sent as basic authorization, as curl does.
    pub fn fetch_url(&self, request: &UrlRequest) -> Result<UrlResponse, FetchError> {
        let not_a_url = || FetchError::NotAUrl { url: without_password(&request.url) };
        let uri: Uri = as_sent(&request.url).parse().map_err(|_| not_a_url())?;
        Origin::of(&uri).ok_or_else(not_a_url)?;
        let (uri, login) = split_login(uri).ok_or_else(not_a_url)?;

        let method = if request.is_head { Method::HEAD } else { Method::GET };
        let mut message = Request::new(method, uri);
        message.authorization = request.authorization.clone().or(login);
        if !request.known_etags.is_empty() {
            message = message.header("If-None-Match", request.known_etags.join(", "));
        }
        let url = without_password(&request.url);
        let response = self
            .shared
            .http
            .send(&self.shared.config, &mut message)
            .map_err(|failure| FetchError::Failed { url: url.clone(), failure })?;
        if response.status >= 400 {
            return Err(FetchError::Status { url, status: response.status });
        }
        Ok(url_response(response, request.is_head))
    }
}

fn url_response(response: Response, is_head: bool) -> UrlResponse {
    let header = |name: &str| response.header(name).map(str::to_owned);
    let content_length_bytes = response.content_length();
    // HEAD and 304 state the length of a body that they do not send.
    let has_body = !is_head && response.status != 304;
    UrlResponse {
        status: response.status,
        final_url: response.uri.to_string(),
        etag: header("etag"),
        last_modified: header("last-modified"),
        content_disposition: header("content-disposition"),
        content_length_bytes,
        body: UrlBody { n_left: content_length_bytes.filter(|_| has_body), reader: response.into_reader() },
    }
}

/// The URL without its fragment, and all that is not ASCII in it encoded: a request holds neither (RFC 3986).
fn as_sent(url: &str) -> String {
    let mut sent = String::with_capacity(url.len());
    for character in url.chars().take_while(|character| *character != '#') {
        if character.is_ascii() {
            sent.push(character);
        } else {
            sent.extend(character.encode_utf8(&mut [0; 4]).bytes().map(|byte| format!("%{byte:02X}")));
        }
    }
    sent
}

/// Takes `user:password@` out of the URL and makes a header value of it.
fn split_login(uri: Uri) -> Option<(Uri, Option<String>)> {
    let authority = uri.authority()?.as_str();
    let Some((login, host)) = authority.rsplit_once('@') else { return Some((uri, None)) };
    let header = format!("Basic {}", STANDARD.encode(percent_decoded(login)));
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let without = format!("{}://{host}{path}", uri.scheme_str()?).parse().ok()?;
    Some((without, Some(header)))
}

/// The URL as it may be shown.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://xxxxx@{host}{}", &rest[end..]),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_sent_in_ascii_and_without_fragment() {
        assert_eq!(as_sent("http://h/a%20b/\u{e9}?q=\u{20ac}#x\u{e9}"), "http://h/a%20b/%C3%A9?q=%E2%82%AC");
    }

    #[test]
    fn logins_in_urls_become_headers() {
        let uri = "https://us%40er:p%2Fw@a.example:8443/x?y".parse().unwrap();
        let (uri, header) = split_login(uri).unwrap();
        assert_eq!(uri.to_string(), "https://a.example:8443/x?y");
        assert_eq!(header, Some(format!("Basic {}", STANDARD.encode("us@er:p/w"))));
    }

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(without_password("https://u:p@a.example/x@y"), "https://xxxxx@a.example/x@y");
        assert_eq!(without_password("https://a.example/x@y"), "https://a.example/x@y");
    }
}
