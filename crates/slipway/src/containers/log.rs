//! What a container wrote: a line of JSON for each line, as Docker keeps it.

use std::fs::File;
use std::io::{self, BufReader, Write as _};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use slipway_graph::{Event, Events, LogStream, StepId};
use slipway_store::ContainerFolder;

/// The file of a container's folder that its log is in.
pub(crate) const LOG: &str = "log";

/// A line that does not end is cut here.
const MAX_LINE_BYTES: usize = 16 << 10;

/// How soon somebody who follows a log sees what is new.
const PAUSE: Duration = Duration::from_millis(50);

/// A line of a container's output, with its line break if it has one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    #[serde(rename = "log")]
    pub(crate) text: String,
    pub(crate) stream: Stream,
    pub(crate) time: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// Who is told each line.
pub(crate) type Listener = Box<dyn Fn(&Line) + Send + Sync>;

/// Keeps what a container writes, and tells it.
pub(crate) struct Recorder {
    file: Mutex<File>,
    /// What came of a line that has not ended yet, of both streams.
    begun: Mutex<[Vec<u8>; 2]>,
    listener: Listener,
    remark: Box<dyn Fn(&str) + Send + Sync>,
    next_step: AtomicU32,
}

impl Recorder {
    /// Adds to the log in `folder`. `remark` is called with what slipway itself has to say.
    pub(crate) fn new(
        folder: &ContainerFolder,
        listener: Listener,
        remark: Box<dyn Fn(&str) + Send + Sync>,
    ) -> io::Result<Recorder> {
        let file = File::options().create(true).append(true).open(folder.path().join(LOG))?;
        let begun = Mutex::default();
        Ok(Recorder { file: Mutex::new(file), begun, listener, remark, next_step: AtomicU32::new(0) })
    }

    /// Takes some bytes, which may be anything from a part of a line to many lines.
    pub(crate) fn write(&self, stream: Stream, bytes: &[u8]) {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = &mut begun[stream as usize];
        rest.extend(bytes);
        while let Some(length) = line_length(rest) {
            let line: Vec<u8> = rest.drain(..length).collect();
            self.keep(stream, &line);
        }
    }

    /// Takes what has begun for a line: nothing more comes.
    pub(crate) fn flush(&self) {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in [Stream::Stdout, Stream::Stderr] {
            let line = std::mem::take(&mut begun[stream as usize]);
            if !line.is_empty() {
                self.keep(stream, &line);
            }
        }
    }

    fn keep(&self, stream: Stream, bytes: &[u8]) {
        let line = Line { text: String::from_utf8_lossy(bytes).into_owned(), stream, time: Timestamp::now() };
        if let Ok(mut json) = serde_json::to_vec(&line) {
            json.push(b'\n');
            // A full disk takes the log, not the container.
            let _ = self.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&json);
        }
        (self.listener)(&line);
    }
}

/// How many bytes the first line has, if it is complete or too long.
fn line_length(bytes: &[u8]) -> Option<usize> {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) if end < MAX_LINE_BYTES => Some(end + 1),
        Some(_) => Some(MAX_LINE_BYTES),
        None => (bytes.len() >= MAX_LINE_BYTES).then_some(MAX_LINE_BYTES),
    }
}

impl Events for Recorder {
    fn emit(&self, event: Event) {
        match event {
            Event::StepLog { stream: LogStream::Stdout, bytes, .. } => self.write(Stream::Stdout, &bytes),
            Event::StepLog { stream: LogStream::Stderr, bytes, .. } => self.write(Stream::Stderr, &bytes),
            Event::Remark { message } => (self.remark)(&message),
            _ => {}
        }
    }

    fn new_step(&self) -> StepId {
        StepId(self.next_step.fetch_add(1, Ordering::Relaxed))
    }
}

/// What of a log is wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// Only so many of the lines that are there already.
    pub(crate) tail: Option<usize>,
    pub(crate) since: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
    /// What will be written as well, until the container has ended.
    pub(crate) follows: bool,
}

/// Reads the log in `folder`. `show` says whether to go on.
pub(crate) fn read(folder: &ContainerFolder, wanted: &Wanted, mut show: impl FnMut(Line) -> bool) -> io::Result<()> {
    let mut source = match File::open(folder.path().join(LOG)) {
        Ok(file) => BufReader::new(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let is_wanted = |line: &Line| {
        wanted.since.is_none_or(|since| line.time >= since) && wanted.until.is_none_or(|until| line.time <= until)
    };
    let mut so_far = Vec::new();
    let mut text = String::new();
    while next_line(&mut source, &mut text)? {
        so_far.extend(serde_json::from_str(&text).ok().filter(is_wanted));
        text.clear();
    }
    let first = wanted.tail.map_or(0, |tail| so_far.len().saturating_sub(tail));
    for line in so_far.drain(first..) {
        if !show(line) {
            return Ok(());
        }
    }
    let mut is_live = wanted.follows;
    while is_live {
        // In this order: what is written last is there when the owner goes.
        is_live = folder.is_owned();
        while next_line(&mut source, &mut text)? {
            let line = serde_json::from_str(&text).ok().filter(is_wanted);
            text.clear();
            if line.is_some_and(|line| !show(line)) {
                return Ok(());
            }
        }
        if is_live {
            thread::sleep(PAUSE);
        }
    }
    Ok(())
}

/// Adds to `text` until it is a whole line; `false` if there is not more yet.
fn next_line(source: &mut impl io::BufRead, text: &mut String) -> io::Result<bool> {
    source.read_line(text)?;
    Ok(text.ends_with('\n'))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use slipway_store::Containers;

    use super::*;

    #[test]
    fn output_is_kept_line_by_line() {
        let root = tempfile::tempdir().unwrap();
        let containers = Containers::of_store(root.path());
        let folder = containers.create("a", &containers.naming().unwrap()).unwrap();
        let told = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&told);
        let listener = Box::new(move |_: &Line| {
            count.fetch_add(1, Ordering::SeqCst);
        });
        let recorder = Recorder::new(&folder, listener, Box::new(|_| ())).unwrap();
        recorder.write(Stream::Stdout, b"one\ntw");
        recorder.write(Stream::Stderr, b"error\n");
        recorder.write(Stream::Stdout, b"o\nthree");
        recorder.flush();
        let texts = |wanted: &Wanted| {
            let mut texts = Vec::new();
            read(&folder, wanted, |line| {
                texts.push(line.text);
                true
            })
            .unwrap();
            texts
        };
        assert_eq!(texts(&Wanted::default()), ["one\n", "error\n", "two\n", "three"]);
        assert_eq!(texts(&Wanted { tail: Some(1), follows: true, ..Wanted::default() }), ["three"]);
        assert_eq!(told.load(Ordering::SeqCst), 4);
        let long = vec![b'x'; MAX_LINE_BYTES + 5];
        recorder.write(Stream::Stdout, &long);
        recorder.flush();
        let lengths: Vec<usize> =
            texts(&Wanted { tail: Some(2), ..Wanted::default() }).iter().map(String::len).collect();
        assert_eq!(lengths, [MAX_LINE_BYTES, 5]);
    }
}
