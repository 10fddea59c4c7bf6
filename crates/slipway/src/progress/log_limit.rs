//! Keeps steps that write without end from filling the screen (`spec/dockerfile.md` section 10.2).

use std::collections::HashMap;
use std::time::SystemTime;

use slipway_graph::{Event, LogStream, StepId};

use super::elapsed;
use crate::env_vars::{self, EnvVar};

const DEFAULT_MAX_SIZE: u64 = 2 << 20;
const DEFAULT_MAX_SPEED: u64 = 200 << 10;

/// How much of each stream of each step is shown; `None` is all of it.
pub(super) struct LogLimit {
    max_size_bytes: Option<u64>,
    max_bytes_per_second: Option<u64>,
    streams: HashMap<(StepId, LogStream), Stream>,
}

struct Stream {
    since: SystemTime,
    n_shown: u64,
    is_clipped: bool,
}

impl LogLimit {
    /// The limits that the user wants.
    pub(super) fn from_environment() -> LogLimit {
        LogLimit::new(
            limit(env_vars::BUILDKIT_STEP_LOG_MAX_SIZE, DEFAULT_MAX_SIZE),
            limit(env_vars::BUILDKIT_STEP_LOG_MAX_SPEED, DEFAULT_MAX_SPEED),
        )
    }

    fn new(max_size_bytes: Option<u64>, max_bytes_per_second: Option<u64>) -> LogLimit {
        LogLimit { max_size_bytes, max_bytes_per_second, streams: HashMap::new() }
    }

    /// The event with the part of its log that may be shown.
    pub(super) fn apply(&mut self, event: Event) -> Event {
        match event {
            Event::StepLog { step, stream, bytes, at } => {
                let bytes = self.clip((step, stream), bytes, at);
                Event::StepLog { step, stream, bytes, at }
            }
            other => other,
        }
    }

    fn clip(&mut self, key: (StepId, LogStream), mut bytes: Vec<u8>, at: SystemTime) -> Vec<u8> {
        let stream = self.streams.entry(key).or_insert(Stream { since: at, n_shown: 0, is_clipped: false });
        let n_seconds = elapsed(stream.since, at).as_secs() + 1;
        let by_speed = self.max_bytes_per_second.map(|speed| speed * n_seconds);
        let by_size = self.max_size_bytes;
        let allowed = [by_speed, by_size].into_iter().flatten().min().unwrap_or(u64::MAX);
        let n_left = usize::try_from(allowed.saturating_sub(stream.n_shown)).unwrap_or(usize::MAX);
        if bytes.len() <= n_left {
            stream.n_shown += bytes.len() as u64;
            stream.is_clipped = false;
            return bytes;
        }
        bytes.truncate(n_left);
        stream.n_shown += bytes.len() as u64;
        if !stream.is_clipped {
            stream.is_clipped = true;
            let reached = match (by_size, self.max_bytes_per_second) {
                (Some(size), _) if size == allowed => binary_size(size),
                (_, speed) => binary_size(speed.unwrap_or_default()) + "/s",
            };
            bytes.extend(format!("\n[output clipped, log limit {reached} reached]\n").bytes());
        }
        bytes
    }
}

fn limit(variable: EnvVar, default: u64) -> Option<u64> {
    match variable.get().and_then(|text| text.parse::<i64>().ok()) {
        None => Some(default),
        Some(number) => u64::try_from(number).ok(),
    }
}

fn binary_size(bytes: u64) -> String {
    match bytes {
        _ if bytes >= 1 << 20 && bytes.is_multiple_of(1 << 20) => format!("{}MiB", bytes >> 20),
        _ if bytes >= 1 << 10 && bytes.is_multiple_of(1 << 10) => format!("{}KiB", bytes >> 10),
        _ => format!("{bytes}B"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn shown(limit: &mut LogLimit, text: &str, at_second: u64) -> String {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(at_second);
        let event = Event::StepLog { step: StepId(0), stream: LogStream::Stdout, bytes: text.into(), at };
        match limit.apply(event) {
            Event::StepLog { bytes, .. } => String::from_utf8(bytes).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn output_ends_at_the_size_limit() {
        let mut limit = LogLimit::new(Some(4), None);
        assert_eq!(shown(&mut limit, "abc", 0), "abc");
        assert_eq!(shown(&mut limit, "def", 0), "d\n[output clipped, log limit 4B reached]\n");
        assert_eq!(shown(&mut limit, "ghi", 9), "");
    }

    #[test]
    fn output_goes_on_after_a_pause() {
        let mut limit = LogLimit::new(Some(2 << 20), Some(1 << 10));
        assert_eq!(shown(&mut limit, &"x".repeat(1024), 0).len(), 1024);
        assert_eq!(shown(&mut limit, "y", 0), "\n[output clipped, log limit 1KiB/s reached]\n");
        assert_eq!(shown(&mut limit, "z", 1), "z");
    }

    #[test]
    fn no_limit_shows_everything() {
        assert_eq!(shown(&mut LogLimit::new(None, None), &"x".repeat(9 << 20), 0).len(), 9 << 20);
    }
}
