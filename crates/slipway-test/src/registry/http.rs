//! HTTP/1.1 for the test registry: requests with sized or chunked bodies, answers that can end too early.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::net::{Shutdown, TcpStream};

/// The longest line of a request head.
const MAX_LINE_BYTES: u64 = 64 << 10;
/// An unread request body up to this size is read to its end, so that the connection can be used again.
const MAX_DRAIN_BYTES: u64 = 1 << 20;

/// The first byte of every TLS connection (RFC 8446 section 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// One request, and the connection that its body comes from.
pub(crate) struct Exchange {
    pub(crate) method: String,
    /// Path and query as sent.
    pub(crate) target: String,
    pub(crate) path: String,
    query: Vec<(String, String)>,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    body: Body,
}

/// A request body that is read as it arrives.
pub(crate) struct Body {
    stream: BufReader<TcpStream>,
    length: Length,
    /// The client waits for a "100 Continue" before it sends.
    is_awaited: bool,
}

enum Length {
    Sized(u64),
    /// The bytes left of the current chunk; `None` before the first one.
    Chunked(Option<u64>),
    Ended,
}

impl Exchange {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The unescaped value of a query parameter.
    pub(crate) fn query(&self, name: &str) -> Option<String> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    }

    /// The unescaped values of a query parameter that may come several times.
    pub(crate) fn query_all(&self, name: &str) -> Vec<String> {
        self.query.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect()
    }

    pub(crate) fn body(&mut self) -> &mut Body {
        &mut self.body
    }
}

/// What is sent back.
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: AnswerBody,
    cut_after_bytes: Option<u64>,
}

pub(crate) enum AnswerBody {
    Bytes(Vec<u8>),
    /// These bytes, then blanks for ever.
    Endless(Vec<u8>),
    /// A part of a file.
    File {
        file: File,
        start: u64,
        length: u64,
    },
}

impl Answer {
    pub(crate) fn new(status: u16) -> Answer {
        Answer { status, headers: Vec::new(), body: AnswerBody::Bytes(Vec::new()), cut_after_bytes: None }
    }

    pub(crate) fn json(status: u16, text: &str) -> Answer {
        Answer::new(status).header("Content-Type", "application/json").body(AnswerBody::Bytes(text.as_bytes().to_vec()))
    }

    /// An error document with one of the codes of the distribution spec.
    pub(crate) fn error(status: u16, code: &str) -> Answer {
        let document = serde_json::json!({ "errors": [{ "code": code, "message": code.to_lowercase() }] });
        Answer::json(status, &document.to_string())
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Answer {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(self, body: AnswerBody) -> Answer {
        Answer { body, ..self }
    }

    /// Breaks the connection after that many bytes of the body.
    pub(crate) fn cut_after(self, cut_after_bytes: Option<u64>) -> Answer {
        Answer { cut_after_bytes, ..self }
    }

    /// Writes the answer; returns whether the connection is still good.
    fn write_to(self, stream: &TcpStream, is_head: bool) -> io::Result<bool> {
        let mut writer = BufWriter::with_capacity(64 << 10, stream);
        let (mut body, length): (Box<dyn Read>, Option<u64>) = match self.body {
            AnswerBody::Bytes(bytes) => {
                let length = bytes.len() as u64;
                (Box::new(io::Cursor::new(bytes)), Some(length))
            }
            // Ends when the client hangs up: writing fails then.
            AnswerBody::Endless(bytes) => (Box::new(io::Cursor::new(bytes).chain(io::repeat(b' '))), None),
            AnswerBody::File { mut file, start, length } => {
                file.seek(SeekFrom::Start(start))?;
                (Box::new(file.take(length)), Some(length))
            }
        };
        write!(writer, "HTTP/1.1 {} Status\r\nDocker-Distribution-Api-Version: registry/2.0\r\n", self.status)?;
        for (name, value) in &self.headers {
            write!(writer, "{name}: {value}\r\n")?;
        }
        match length {
            Some(length) if self.status != 204 && self.status != 304 => {
                write!(writer, "Content-Length: {length}\r\n")?;
            }
            Some(_) => {}
            None => write!(writer, "Connection: close\r\n")?,
        }
        write!(writer, "\r\n")?;
        if is_head {
            writer.flush()?;
            return Ok(true);
        }
        match self.cut_after_bytes.filter(|cut| length.is_none_or(|length| *cut < length)) {
            Some(cut) => {
                io::copy(&mut body.take(cut), &mut writer)?;
                writer.flush()?;
                stream.shutdown(Shutdown::Both)?;
                Ok(false)
            }
            None => {
                io::copy(&mut body, &mut writer)?;
                writer.flush()?;
                Ok(true)
            }
        }
    }
}

/// Answers the requests of one connection with `answer` until either side has enough.
pub(crate) fn serve(stream: TcpStream, answer: impl Fn(&mut Exchange) -> io::Result<Answer>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(64 << 10, stream.try_clone()?);
    if reader.fill_buf()?.first() == Some(&TLS_HANDSHAKE) {
        // What Go's server says: clients that try https first take it as the hint to speak plain HTTP.
        return (&stream)
            .write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTPS request to an HTTP server.\n");
    }
    loop {
        let Some(mut exchange) = read_head(reader)? else { return Ok(()) };
        let is_head = exchange.method == "HEAD";
        let wants_close = exchange.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let is_good = answer(&mut exchange)?.write_to(&stream, is_head)?;
        // Small rests of a body are read; a client that still has much to send learns from the closed connection.
        let n_drained = io::copy(&mut exchange.body().take(MAX_DRAIN_BYTES + 1), &mut io::sink())?;
        if !is_good || wants_close || n_drained > MAX_DRAIN_BYTES {
            return Ok(());
        }
        reader = exchange.body.stream;
    }
}

/// The next request of a connection; `None` if the client closed it.
fn read_head(mut stream: BufReader<TcpStream>) -> io::Result<Option<Exchange>> {
    let Some(request_line) = read_line(&mut stream)? else { return Ok(None) };
    let mut words = request_line.split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Err(malformed()) };
    let mut headers = Vec::new();
    loop {
        let line = read_line(&mut stream)?.ok_or_else(malformed)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(malformed)?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let header = |name: &str| headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let length = match (header("transfer-encoding"), header("content-length")) {
        (Some(_), _) => Length::Chunked(None),
        (None, Some(text)) => Length::Sized(text.parse().map_err(|_| malformed())?),
        (None, None) => Length::Ended,
    };
    let is_awaited = header("expect").is_some();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Ok(Some(Exchange {
        method: method.to_owned(),
        target: target.to_owned(),
        path: unescaped(path),
        query: parse_query(query),
        headers,
        body: Body { stream, length, is_awaited },
    }))
}

fn read_line(stream: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let mut line = String::new();
    if stream.take(MAX_LINE_BYTES).read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let text = line.strip_suffix('\n').ok_or_else(malformed)?;
    Ok(Some(text.trim_end_matches('\r').to_owned()))
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not an HTTP/1.1 request")
}

/// The parameters of a query or of a form.
pub(crate) fn parse_query(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(k, v)| (unescaped(k), unescaped(v))).collect()
}

fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match (first, hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = after;
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Start and end (exclusive) of a `Range: bytes=a-b` header; `None` if it cannot be satisfied.
pub(crate) fn byte_range(text: &str, size_bytes: u64) -> Option<(u64, u64)> {
    let (start, end) = text.strip_prefix("bytes=")?.split_once('-')?;
    let start: u64 = start.parse().ok()?;
    let end = if end.is_empty() { size_bytes } else { end.parse::<u64>().ok()?.saturating_add(1).min(size_bytes) };
    (start < end).then_some((start, end))
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_awaited {
            self.is_awaited = false;
            self.stream.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        match self.length {
            Length::Ended | Length::Sized(0) => Ok(0),
            Length::Sized(n_left) => {
                let n = self.read_some(buffer, n_left)?;
                self.length = Length::Sized(n_left - n as u64);
                Ok(n)
            }
            Length::Chunked(None | Some(0)) => {
                self.next_chunk()?;
                self.read(buffer)
            }
            Length::Chunked(Some(n_left)) => {
                let n = self.read_some(buffer, n_left)?;
                self.length = Length::Chunked(Some(n_left - n as u64));
                Ok(n)
            }
        }
    }
}

impl Body {
    fn read_some(&mut self, buffer: &mut [u8], n_left: u64) -> io::Result<usize> {
        let n_wanted = usize::try_from(n_left).map_or(buffer.len(), |n_left| n_left.min(buffer.len()));
        match self.stream.read(&mut buffer[..n_wanted])? {
            0 if n_wanted > 0 => Err(io::ErrorKind::UnexpectedEof.into()),
            n => Ok(n),
        }
    }

    /// Reads the size of the next chunk, and what ends the one before it.
    fn next_chunk(&mut self) -> io::Result<()> {
        if matches!(self.length, Length::Chunked(Some(_))) {
            read_line(&mut self.stream)?;
        }
        let line = read_line(&mut self.stream)?.ok_or_else(malformed)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).map_err(|_| malformed())?;
        if size > 0 {
            self.length = Length::Chunked(Some(size));
            return Ok(());
        }
        // Trailers, up to an empty line.
        while read_line(&mut self.stream)?.is_some_and(|line| !line.is_empty()) {}
        self.length = Length::Ended;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        assert_eq!(byte_range("bytes=2-", 10), Some((2, 10)));
        assert_eq!(byte_range("bytes=2-3", 10), Some((2, 4)));
        assert_eq!(byte_range("bytes=2-99", 10), Some((2, 10)));
        for bad in ["bytes=10-", "bytes=-3", "lines=1-2", "bytes=3-2"] {
            assert_eq!(byte_range(bad, 10), None, "{bad}");
        }
    }

    #[test]
    fn queries() {
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        assert_eq!(parse_query("a=b%3Ac&d=e+f&g"), [pair("a", "b:c"), pair("d", "e f"), pair("g", "")]);
    }
}
