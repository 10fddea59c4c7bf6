//! `slipway logs`: what a container wrote.

use std::io::{self, Write as _};

use jiff::Timestamp;

use super::find;
use crate::cli::containers::{LogLines, LogsArgs};
use crate::commands::local_images::told;
use crate::containers::log::{self, Stream, Wanted};
use crate::report::CommandError;
use slipway_graph::duration::duration_of;

/// Prints the log: standard output and standard error where the container wrote them.
pub(crate) fn run(args: &LogsArgs) -> Result<(), CommandError> {
    let known = find(&args.container)?;
    let wanted = wanted(&args.which).map_err(|message| CommandError::Told(format!("Error: {message}\n")))?;
    let show = |line: log::Line| {
        let text = if args.which.timestamps { format!("{} {}", line.time, line.text) } else { line.text };
        let written = match line.stream {
            Stream::Stdout => io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()),
            Stream::Stderr => io::stderr().write_all(text.as_bytes()),
        };
        // Who does not read any more has seen enough.
        written.is_ok()
    };
    log::read(&known.folder, &wanted, show).map_err(|error| told(&error))
}

/// What flags ask for.
pub(crate) fn wanted(flags: &LogLines) -> Result<Wanted, String> {
    // A number that is none asks for everything, and so does a negative one, as with Docker.
    let tail = flags.tail.parse().ok();
    let time = |text: &Option<String>| text.as_deref().map(point_in_time).transpose();
    Ok(Wanted { tail, since: time(&flags.since)?, until: time(&flags.until)?, follows: flags.follow })
}

/// A time (RFC 3339, or seconds since 1970), or how long ago it was.
fn point_in_time(text: &str) -> Result<Timestamp, String> {
    let wrong = || format!("invalid value for a time: {text:?}; try 10m, or 2026-01-02T15:04:05Z");
    if let Ok(seconds) = text.parse::<i64>() {
        return Timestamp::from_second(seconds).map_err(|_| wrong());
    }
    match (duration_of(text), text.parse()) {
        (Some(ago), _) => Timestamp::now().checked_sub(ago).map_err(|_| wrong()),
        (None, Ok(time)) => Ok(time),
        (None, Err(_)) => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_several_spellings() {
        assert_eq!(point_in_time("0").unwrap(), Timestamp::UNIX_EPOCH);
        assert_eq!(point_in_time("1970-01-01T00:00:00Z").unwrap(), Timestamp::UNIX_EPOCH);
        assert!(point_in_time("10m").unwrap() < Timestamp::now());
        assert!(point_in_time("yesterday").is_err());
    }
}
