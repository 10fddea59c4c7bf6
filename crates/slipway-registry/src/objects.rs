//! How is an object behind a URL read or written that its caller signs? Caches are kept that way in S3 and in the cache
//! service of GitHub Actions.
//!
//! The same connections, certificates and proxies as for registries, but none of their credentials. Redirects are not
//! followed: what signs a request is meant for one host. URLs may be secrets themselves, so errors name the host only.

use std::io::Read;
use std::time::Duration;

use ureq::http::{HeaderMap, Method, Uri};

use crate::Registry;
use crate::client::{Request, RequestBody};
use crate::failure::Failure;
use crate::origin::Origin;

/// What is done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectMethod {
    Get,
    Head,
    Put,
    Post,
    Delete,
}

/// A request for an object.
pub struct ObjectRequest<'a> {
    pub method: ObjectMethod,
    pub url: String,
    pub headers: Vec<(&'a str, String)>,
    pub body: ObjectBody<'a>,
    /// How long all of it may take, the body of the answer included; without it only silence is limited.
    pub timeout: Option<Duration>,
}

/// What is sent with a request.
pub enum ObjectBody<'a> {
    Empty,
    Bytes(&'a [u8]),
    /// A stream of exactly this many bytes; a broken connection ends it.
    Stream(&'a mut dyn Read, u64),
}

/// An answer; any status is one.
pub struct ObjectAnswer {
    pub status: u16,
    headers: HeaderMap,
    pub body: Box<dyn Read + Send>,
}

impl ObjectAnswer {
    /// The text of a header, if it is there and readable.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether the server did what it was asked to.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// There is no answer.
#[derive(Debug, thiserror::Error)]
#[error("{host}: {failure}")]
pub struct ObjectError {
    /// `host[:port]` of the server.
    pub host: String,
    pub failure: Failure,
}

impl Registry {
    /// Sends a request for an object.
    pub fn object(&self, request: ObjectRequest<'_>) -> Result<ObjectAnswer, ObjectError> {
        let uri = request.url.parse::<Uri>().ok();
        let Some((uri, origin)) = uri.and_then(|uri| Origin::of(&uri).map(|origin| (uri, origin))) else {
            let failure = Failure::Configuration("its URL is neither http nor https".to_owned());
            return Err(ObjectError { host: "the server".to_owned(), failure });
        };
        let method = match request.method {
            ObjectMethod::Get => Method::GET,
            ObjectMethod::Head => Method::HEAD,
            ObjectMethod::Put => Method::PUT,
            ObjectMethod::Post => Method::POST,
            ObjectMethod::Delete => Method::DELETE,
        };
        let body = match request.body {
            ObjectBody::Empty => RequestBody::None,
            ObjectBody::Bytes(bytes) => RequestBody::Bytes(bytes),
            ObjectBody::Stream(reader, size_bytes) => RequestBody::Stream(reader, size_bytes),
        };
        let (headers, timeout) = (request.headers, request.timeout);
        let mut message = Request { method, uri, headers, authorization: None, body, timeout };
        let answer = self.shared.http.send_directly(&self.shared.config, &mut message);
        let answer = answer.map_err(|failure| ObjectError { host: origin.to_string(), failure })?;
        let (status, headers) = (answer.status, answer.headers.clone());
        Ok(ObjectAnswer { status, headers, body: Box::new(answer.into_reader()) })
    }
}
