//! What goes wrong on purpose.

use std::collections::HashMap;
use std::time::Duration;

use super::http::{Answer, AnswerBody, Exchange};

/// A fixed answer to one path.
#[derive(Clone, Debug, Default)]
pub struct Canned {
    /// 0 stands for 200.
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Where to break the connection, counted from the start of the body.
    pub cut_after_bytes: Option<u64>,
    /// Blanks follow the body until the client has enough, and no length is told.
    pub is_endless: bool,
}

/// The faults that tests have ordered.
#[derive(Default)]
pub(super) struct Faults {
    pub(super) delay: Duration,
    pub(super) ignores_ranges: bool,
    pub(super) blob_redirect: Option<String>,
    pub(super) upload_base: Option<String>,
    pub(super) canned: HashMap<String, Canned>,
    failures: Vec<PlannedFailure>,
    n_cuts: usize,
    cut_after_bytes: u64,
}

struct PlannedFailure {
    n_left: usize,
    part: String,
    status: u16,
}

/// What happens to one request before the registry sees it.
pub(super) struct Plan {
    pub(super) delay: Duration,
    pub(super) answer: Option<Answer>,
}

impl Faults {
    pub(super) fn fail_next(&mut self, n: usize, part: &str, status: u16) {
        self.failures.push(PlannedFailure { n_left: n, part: part.to_owned(), status });
    }

    pub(super) fn cut_next_blobs(&mut self, n: usize, after_bytes: u64) {
        self.n_cuts = n;
        self.cut_after_bytes = after_bytes;
    }

    /// Where the blob that is served now is to be cut, if at all.
    pub(super) fn next_cut(&mut self) -> Option<u64> {
        self.n_cuts = self.n_cuts.checked_sub(1)?;
        Some(self.cut_after_bytes)
    }

    pub(super) fn plan(&mut self, exchange: &Exchange) -> Plan {
        Plan { delay: self.delay, answer: self.answer(exchange) }
    }

    fn answer(&mut self, exchange: &Exchange) -> Option<Answer> {
        let request = format!("{} {}", exchange.method, exchange.path);
        let planned = self.failures.iter_mut().find(|f| f.n_left > 0 && request.contains(&f.part));
        if let Some(failure) = planned {
            failure.n_left -= 1;
            // No wait is asked for, so that tests take no longer than they must.
            return Some(Answer::error(failure.status, "UNAVAILABLE").header("Retry-After", "0"));
        }
        let is_read = matches!(exchange.method.as_str(), "GET" | "HEAD");
        if let Some(canned) = self.canned.get(&exchange.path).filter(|_| is_read) {
            let status = if canned.status == 0 { 200 } else { canned.status };
            let body = canned.body.clone();
            let body = if canned.is_endless { AnswerBody::Endless(body) } else { AnswerBody::Bytes(body) };
            let answer = Answer::new(status).body(body).cut_after(canned.cut_after_bytes);
            return Some(canned.headers.iter().fold(answer, |answer, (name, value)| answer.header(name, value)));
        }
        let base_url = self.blob_redirect.as_ref()?;
        let is_blob = exchange.method == "GET" && exchange.path.contains("/blobs/sha256:");
        is_blob.then(|| Answer::new(307).header("Location", &format!("{base_url}{}", exchange.target)))
    }
}
