//! What can be typed to make one image of what several machines have built.

use std::time::Duration;

use clap::Args;

/// The flags of `merge`.
#[derive(Debug, Args)]
pub(crate) struct MergeArgs {
    /// Name of the image; its repository is where the parts are
    #[arg(short, long = "tag", required = true, value_name = "NAME")]
    pub(crate) tags: Vec<String>,
    /// The run that the parts belong to, as in `part-of=RUN` of the builds' outputs
    #[arg(long, value_name = "RUN")]
    pub(crate) part_of: String,
    /// Which platforms there have to be
    #[arg(long = "expect", required = true, value_name = "PLATFORMS", value_delimiter = ',')]
    pub(crate) platforms: Vec<String>,
    /// Add an annotation (index:KEY=VALUE, manifest-descriptor[PLATFORM]:KEY=VALUE)
    #[arg(long = "annotation")]
    pub(crate) annotations: Vec<String>,
    /// If parts are missing, leave it to the job that makes the last one: every job may end with `merge`
    #[arg(long)]
    pub(crate) if_complete: bool,
    /// Write what came of it to a file
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) metadata_file: String,
    /// Type of progress output (auto, none, plain, quiet, rawjson, tty)
    #[arg(long, default_value = "auto")]
    pub(crate) progress: String,
    /// How long to wait for parts (90s, 30m, 1h)
    #[arg(long, value_parser = duration, conflicts_with = "if_complete", value_name = "DURATION")]
    pub(crate) wait: Option<Duration>,
}

fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("{text:?} is no duration; write one such as 90s, 30m or 1h");
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?);
    let number: u64 = number.parse().map_err(|_| bad())?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(bad()),
    };
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("30m"), Ok(Duration::from_secs(1800)));
        for bad in ["", "s", "5", "5d", "-1s", "99999999999999999999h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
