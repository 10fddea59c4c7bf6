//! One HTTP/1.1 connection over any stream: a socket, or the ends of a program (RFC 9112).
//!
//! Requests go one after the other. Bodies are sent in chunks, because nobody knows beforehand how long an archive is;
//! answers are short and read whole.

use std::io::{self, BufRead, BufReader, Read, Write};

/// No head of an answer is longer.
const MAX_HEAD_BYTES: u64 = 64 << 10;
/// No answer that is waited for is longer: lists of what is loaded, descriptions of images.
const MAX_BODY_BYTES: u64 = 16 << 20;

/// What is sent along with a request.
pub(super) type Body<'a> = &'a mut dyn FnMut(&mut dyn Write) -> io::Result<()>;

/// A connection that is open.
pub(super) struct Connection {
    reader: BufReader<Box<dyn Read + Send>>,
    writer: Box<dyn Write + Send>,
    host: String,
}

/// What the server says to a request.
pub(super) struct Answer {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// The text of a header; `name` is in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl Connection {
    /// A connection over both directions of a stream; `host` is what the server is told that it is called.
    pub(super) fn new(reader: Box<dyn Read + Send>, writer: Box<dyn Write + Send>, host: &str) -> Connection {
        Connection { reader: BufReader::new(reader), writer, host: host.to_owned() }
    }

    /// Sends a request and reads the answer to its end.
    pub(super) fn ask(&mut self, method: &str, path: &str, body: Option<Body<'_>>) -> io::Result<Answer> {
        let sent = self.send(method, path, body);
        // A server that wants no more of a body says why before it hangs up.
        match (sent, self.answer(method == "HEAD")) {
            (Ok(()), answer) => answer,
            (Err(_), Ok(answer)) if !answer.is_success() => Ok(answer),
            (Err(error), _) => Err(error),
        }
    }

    fn send(&mut self, method: &str, path: &str, body: Option<Body<'_>>) -> io::Result<()> {
        write!(self.writer, "{method} {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: slipway\r\n", self.host)?;
        match body {
            None => self.writer.write_all(b"\r\n")?,
            Some(write) => {
                self.writer.write_all(b"Content-Type: application/x-tar\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                let mut chunks = io::BufWriter::with_capacity(1 << 18, Chunks(&mut self.writer));
                write(&mut chunks)?;
                chunks.flush()?;
                drop(chunks);
                self.writer.write_all(b"0\r\n\r\n")?;
            }
        }
        self.writer.flush()
    }

    fn answer(&mut self, is_bodiless: bool) -> io::Result<Answer> {
        let (status, headers) = loop {
            let (status, headers) = self.head()?;
            if status >= 200 {
                break (status, headers);
            }
        };
        let mut answer = Answer { status, headers, body: Vec::new() };
        if !is_bodiless && !matches!(status, 204 | 304) {
            answer.body = self.body(&answer)?;
        }
        Ok(answer)
    }

    fn head(&mut self) -> io::Result<(u16, Vec<(String, String)>)> {
        let mut head = (&mut self.reader).take(MAX_HEAD_BYTES);
        let status = line(&mut head)?;
        let code = status.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|code| code.parse().ok());
        let code = code.ok_or_else(|| malformed(&format!("the answer begins with `{status}`")))?;
        let mut headers = Vec::new();
        loop {
            let text = line(&mut head)?;
            if text.is_empty() {
                return Ok((code, headers));
            }
            let (name, value) = text.split_once(':').ok_or_else(|| malformed("a header has no colon"))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    fn body(&mut self, answer: &Answer) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if answer.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            while let n_bytes @ 1.. = self.chunk_size()? {
                self.read_into(&mut body, n_bytes)?;
                line(&mut (&mut self.reader).take(2))?;
            }
            // What may follow the last chunk, up to an empty line.
            while !line(&mut (&mut self.reader).take(MAX_HEAD_BYTES))?.is_empty() {}
            return Ok(body);
        }
        match answer.header("content-length").map(str::parse::<u64>) {
            Some(Ok(n_bytes)) => self.read_into(&mut body, n_bytes)?,
            Some(Err(_)) => return Err(malformed("the length of the answer is no number")),
            None => drop((&mut self.reader).take(MAX_BODY_BYTES).read_to_end(&mut body)?),
        }
        Ok(body)
    }

    fn chunk_size(&mut self) -> io::Result<u64> {
        let text = line(&mut (&mut self.reader).take(1024))?;
        let digits = text.split(';').next().unwrap_or_default().trim();
        u64::from_str_radix(digits, 16).map_err(|_| malformed("the length of a chunk is no number"))
    }

    fn read_into(&mut self, body: &mut Vec<u8>, n_bytes: u64) -> io::Result<()> {
        if (body.len() as u64).saturating_add(n_bytes) > MAX_BODY_BYTES {
            return Err(malformed("the answer is longer than any should be"));
        }
        let n_read = (&mut self.reader).take(n_bytes).read_to_end(body)? as u64;
        if n_read == n_bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

/// A line without its end; no line is an error.
fn line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut bytes = Vec::new();
    reader.read_until(b'\n', &mut bytes)?;
    if bytes.pop() != Some(b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    String::from_utf8(bytes).map_err(|_| malformed("the answer is no text"))
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Makes a chunk of each piece that is written to it.
struct Chunks<'a>(&'a mut dyn Write);

impl Write for Chunks<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // An empty chunk would end the body.
        if !bytes.is_empty() {
            write!(self.0, "{:x}\r\n", bytes.len())?;
            self.0.write_all(bytes)?;
            self.0.write_all(b"\r\n")?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &'static str) -> io::Result<Answer> {
        let mut connection = Connection::new(Box::new(text.as_bytes()), Box::new(io::sink()), "test");
        connection.ask("GET", "/", None)
    }

    #[test]
    fn answers_end_where_they_say() {
        for (text, expected) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokmore", "ok"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\n\r\nmore", "ok"),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\n\nok", "ok"),
            ("HTTP/1.1 204 No Content\r\n\r\nmore", ""),
        ] {
            let answer = answer(text).unwrap();
            assert_eq!(
                (answer.status / 100, String::from_utf8(answer.body).unwrap().as_str()),
                (2, expected),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for text in [
            "",
            "SSH-2.0-OpenSSH\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        ] {
            assert!(answer(text).is_err(), "{text}");
        }
    }

    #[test]
    fn bodies_are_sent_in_chunks() {
        let sent = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        struct Sent(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);
        impl Write for Sent {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".as_slice();
        let mut connection = Connection::new(Box::new(answer), Box::new(Sent(sent.clone())), "test");
        connection.ask("POST", "/x", Some(&mut |out| out.write_all(b"text"))).unwrap();
        let text = String::from_utf8(sent.lock().unwrap().clone()).unwrap();
        assert!(text.starts_with("POST /x HTTP/1.1\r\nHost: test\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\n4\r\ntext\r\n0\r\n\r\n"), "{text}");
    }
}
