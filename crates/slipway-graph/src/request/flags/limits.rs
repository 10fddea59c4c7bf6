//! What the steps of a build may use of the machine: `--resource` and its older spellings (`spec/cli.md` section 3.1).

use super::Moment;
use crate::request::StepLimits;
use crate::size::bytes_of;

/// What Docker gives a program that may use one processor: a tenth of a second out of each.
const PERIOD_US: u64 = 100_000;

/// Why a limit is refused.
#[derive(Debug, thiserror::Error)]
pub enum LimitFlagError {
    #[error("unknown resource {name:?}")]
    Unknown { name: String },
    #[error("invalid resource {text:?}, expected key=value")]
    NoPair { text: String },
    #[error("invalid value {value:?} for resource {name:?}: {reason}")]
    Value { name: String, value: String, reason: String },
    #[error("invalid argument {value:?} for {flag:?} flag: {reason}")]
    Argument { flag: &'static str, value: String, reason: String },
    #[error("`cpus` cannot be used together with `cpu-period` or `cpu-quota`")]
    TwoQuotas,
}

impl LimitFlagError {
    pub(crate) fn moment(&self) -> Moment {
        match self {
            LimitFlagError::Argument { .. } => Moment::Argument,
            LimitFlagError::Unknown { .. }
            | LimitFlagError::NoPair { .. }
            | LimitFlagError::Value { .. }
            | LimitFlagError::TwoQuotas => Moment::Build,
        }
    }
}

/// A resource that has a flag of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceFlag {
    /// As messages name it: `-m, --memory`.
    pub flag: &'static str,
    /// As in `--resource`.
    pub name: &'static str,
    /// Empty if the flag was not typed.
    pub value: String,
}

/// What flags of their own and then `--resource name=value` say; the last word counts.
pub fn parse(flags: &[ResourceFlag], resources: &[String]) -> Result<StepLimits, LimitFlagError> {
    let mut limits = Parsed::default();
    for ResourceFlag { flag, name, value } in flags.iter().filter(|flag| !flag.value.is_empty()) {
        set(&mut limits, name, value).map_err(|reason| LimitFlagError::Argument {
            flag,
            value: value.clone(),
            reason,
        })?;
    }
    for text in resources {
        let (name, value) = text.split_once('=').ok_or_else(|| LimitFlagError::NoPair { text: text.clone() })?;
        if !NAMES.contains(&name) {
            return Err(LimitFlagError::Unknown { name: name.to_owned() });
        }
        set(&mut limits, name, value).map_err(|reason| LimitFlagError::Value {
            name: name.to_owned(),
            value: value.to_owned(),
            reason,
        })?;
    }
    let Parsed { mut limits, cpus_quota_us } = limits;
    if let Some(cpus) = cpus_quota_us {
        if limits.cpu_period_us.is_some() || limits.cpu_quota_us.is_some() {
            return Err(LimitFlagError::TwoQuotas);
        }
        (limits.cpu_period_us, limits.cpu_quota_us) = (Some(PERIOD_US), Some(cpus));
    }
    Ok(limits)
}

#[derive(Default)]
struct Parsed {
    limits: StepLimits,
    /// From a number of processors, which is another way to say period and quota.
    cpus_quota_us: Option<u64>,
}

const NAMES: [&str; 9] = [
    "memory",
    "memory-swap",
    "cpu-shares",
    "cpu-period",
    "cpu-quota",
    "cpuset-cpus",
    "cpuset-mems",
    "cpus",
    "pids-limit",
];

/// Gives the resource `name`, one of [`NAMES`], a limit; 0 and -1 mean none.
fn set(parsed: &mut Parsed, name: &str, value: &str) -> Result<(), String> {
    let limits = &mut parsed.limits;
    match name {
        "memory" => limits.memory_bytes = Some(size(value)?).filter(|bytes| *bytes > 0),
        "memory-swap" if value == "-1" => limits.memory_and_swap_bytes = Some(u64::MAX),
        "memory-swap" => limits.memory_and_swap_bytes = Some(size(value)?).filter(|bytes| *bytes > 0),
        "cpu-shares" => limits.cpu_shares = number(value)?,
        "cpu-period" => limits.cpu_period_us = number(value)?,
        "cpu-quota" => limits.cpu_quota_us = number(value)?,
        "cpuset-cpus" => limits.cpuset_cpus = Some(processors(value)?),
        "cpuset-mems" => limits.cpuset_mems = Some(processors(value)?),
        "cpus" => parsed.cpus_quota_us = processor_time(value)?,
        _ => limits.pids = number(value)?,
    }
    Ok(())
}

fn size(value: &str) -> Result<u64, String> {
    bytes_of(value).ok_or_else(|| format!("invalid size: '{value}'"))
}

fn number(value: &str) -> Result<Option<u64>, String> {
    match value.parse::<i64>() {
        Ok(number) => Ok(u64::try_from(number).ok().filter(|number| *number > 0)),
        Err(_) => Err(format!("strconv.ParseInt: parsing {value:?}: invalid syntax")),
    }
}

/// Numbers and ranges with commas between them: `0-2,7`.
fn processors(value: &str) -> Result<String, String> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_range = |text: &str| text.split_once('-').map_or(is_number(text), |(a, b)| is_number(a) && is_number(b));
    match value.split(',').all(is_range) {
        true => Ok(value.to_owned()),
        false => Err("expected numbers and ranges, as in 0-2,7".to_owned()),
    }
}

/// A number of processors, as microseconds in a period of [`PERIOD_US`].
fn processor_time(value: &str) -> Result<Option<u64>, String> {
    let cpus: f64 = value.parse().map_err(|_| format!("failed to parse {value} as a rational number"))?;
    match cpus.is_finite() && (0.0..=100_000.0).contains(&cpus) {
        // Exact to the microsecond is more than the kernel keeps to.
        true => Ok(Some((cpus * PERIOD_US as f64).round() as u64).filter(|quota| *quota > 0)),
        false => Err(format!("{value} is no number of processors")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(flag: &'static str, name: &'static str, value: &str) -> ResourceFlag {
        ResourceFlag { flag, name, value: value.to_owned() }
    }

    fn read(flags: &[ResourceFlag], resources: &[&str]) -> Result<StepLimits, String> {
        let resources: Vec<String> = resources.iter().map(|&text| text.to_owned()).collect();
        parse(flags, &resources).map_err(|error| error.to_string())
    }

    #[test]
    fn resources_come_after_the_flags_that_mean_the_same() {
        let flags = [typed("-m, --memory", "memory", "64m"), typed("--cpus", "cpus", "1.5")];
        let limits = read(&flags, &["memory=1g", "memory-swap=-1", "pids-limit=7", "cpuset-cpus=0-1,3"]).unwrap();
        let expected = StepLimits {
            memory_bytes: Some(1 << 30),
            memory_and_swap_bytes: Some(u64::MAX),
            cpu_period_us: Some(100_000),
            cpu_quota_us: Some(150_000),
            cpuset_cpus: Some("0-1,3".to_owned()),
            pids: Some(7),
            ..StepLimits::default()
        };
        assert_eq!(limits, expected);
    }

    #[test]
    fn nothing_typed_and_zero_are_no_limit() {
        let flags = [typed("-m, --memory", "memory", ""), typed("--cpu-quota", "cpu-quota", "-1")];
        assert_eq!(read(&flags, &["memory=0"]), Ok(StepLimits::default()));
    }

    #[test]
    fn mistakes_name_the_flag_or_the_resource() {
        let refused = |flags: &[ResourceFlag], resources: &[&str]| read(flags, resources).unwrap_err();
        assert_eq!(
            refused(&[typed("-m, --memory", "memory", "x")], &[]),
            "invalid argument \"x\" for \"-m, --memory\" flag: invalid size: 'x'"
        );
        assert_eq!(refused(&[], &["foo=1"]), "unknown resource \"foo\"");
        assert_eq!(refused(&[], &["foo"]), "invalid resource \"foo\", expected key=value");
        assert!(refused(&[], &["cpu-shares=a"]).ends_with("strconv.ParseInt: parsing \"a\": invalid syntax"));
        assert!(refused(&[], &["cpuset-cpus=/../x"]).contains("expected numbers and ranges"));
        assert!(refused(&[], &["cpus=1", "cpu-quota=5"]).contains("cannot be used together"));
    }
}
