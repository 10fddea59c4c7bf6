//! `ADD <url>`: plain files from the web.

use std::io::Read;

use slipway_registry::{ErrorKind, UrlRequest};
use slipway_test::registry::{Canned, TestRegistry};

use crate::support::{authorizations, client};

fn file(body: &[u8], headers: &[(&str, &str)]) -> Canned {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Canned { headers, body: body.to_vec(), ..Canned::default() }
}

fn redirect(target: &str) -> Canned {
    Canned { status: 302, ..file(b"", &[("Location", target)]) }
}

fn get(url: String) -> UrlRequest {
    UrlRequest { url, ..UrlRequest::default() }
}

#[test]
fn a_file_comes_with_its_head() {
    let server = TestRegistry::start().unwrap();
    let headers = [("ETag", "\"e\""), ("Last-Modified", "Sun, 22 Nov 2026 00:00:00 GMT"), ("Content-Disposition", "x")];
    server.set_canned("/a", file(b"content", &headers));
    server.set_canned("/moved", redirect("/a"));
    let url = format!("{}/moved#fragment", server.url());
    let mut response = client().fetch_url(&get(url.clone())).unwrap();
    let mut body = String::new();
    response.body.read_to_string(&mut body).unwrap();
    assert_eq!(body, "content");
    assert_eq!(response.final_url, format!("{}/a", server.url()));
    assert_eq!(response.etag.as_deref(), Some("\"e\""));
    assert_eq!(response.last_modified.as_deref(), Some("Sun, 22 Nov 2026 00:00:00 GMT"));
    assert_eq!(response.content_disposition.as_deref(), Some("x"));
    assert_eq!(response.content_length_bytes, Some(7));

    let mut head = client().fetch_url(&UrlRequest { is_head: true, ..get(url) }).unwrap();
    assert_eq!((head.status, head.content_length_bytes), (200, Some(7)));
    assert_eq!(head.body.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn a_file_that_breaks_is_not_taken_for_whole() {
    let server = TestRegistry::start().unwrap();
    server.set_canned("/a", Canned { cut_after_bytes: Some(3), ..file(b"content", &[]) });
    let mut response = client().fetch_url(&get(format!("{}/a", server.url()))).unwrap();
    assert!(response.body.read_to_end(&mut Vec::new()).is_err());
}

#[test]
fn a_bad_status_is_told() {
    let server = TestRegistry::start().unwrap();
    server.set_canned("/gone", Canned { status: 404, ..Canned::default() });
    let url = format!("{}/gone", server.url());
    let error = client().fetch_url(&get(url.clone())).err().unwrap();
    assert_eq!(error.to_string(), format!("cannot fetch `{url}`: invalid response status 404"));
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn what_is_unchanged_is_not_sent() {
    let server = TestRegistry::start().unwrap();
    server.set_canned("/a", Canned { status: 304, ..file(b"", &[("ETag", "\"e\"")]) });
    let request = UrlRequest { known_etags: vec!["\"e\"".to_owned()], ..get(format!("{}/a", server.url())) };
    let mut response = client().fetch_url(&request).unwrap();
    assert!(response.is_unchanged());
    assert_eq!(response.body.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn a_login_in_the_url_stays_on_its_host() {
    let (server, other) = (TestRegistry::start().unwrap(), TestRegistry::start().unwrap());
    other.set_canned("/b", redirect(&format!("{}/c", server.url())));
    server.set_canned("/a", redirect(&format!("{}/b", other.url())));
    server.set_canned("/c", file(b"x", &[]));
    client().fetch_url(&get(format!("http://user:password@{}/a", server.host()))).unwrap();
    assert_eq!(authorizations(&server), ["Basic dXNlcjpwYXNzd29yZA=="]);
    assert_eq!(authorizations(&other), Vec::<String>::new());
    // Back at the first host, the login is still gone.
    assert_eq!(server.requests().last().unwrap().authorization, None);
}

#[test]
fn endless_redirects_end() {
    let server = TestRegistry::start().unwrap();
    server.set_canned("/a", redirect("/a"));
    let error = client().fetch_url(&get(format!("{}/a", server.url()))).err().unwrap();
    assert!(error.to_string().ends_with("more than 10 redirects"), "{error}");
}

#[test]
fn other_schemes_are_refused() {
    for url in ["file:///etc/passwd", "ftp://a.example/x", "a.example/x", "http://", "http://a b/"] {
        let error = client().fetch_url(&get(url.to_owned())).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{url}");
    }
    let server = TestRegistry::start().unwrap();
    server.set_canned("/a", redirect("file:///etc/passwd"));
    assert!(client().fetch_url(&get(format!("{}/a", server.url()))).is_err());
}
