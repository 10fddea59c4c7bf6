//! Is it too much (`spec/analyze.md` section 4.1)?

use std::fmt;

use crate::Analysis;

/// What the rules were set to, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleValues {
    pub lowest_efficiency: String,
    pub highest_wasted_bytes: String,
    pub highest_user_wasted_percent: String,
}

impl Default for RuleValues {
    fn default() -> RuleValues {
        RuleValues {
            lowest_efficiency: "0.9".to_owned(),
            highest_wasted_bytes: "disabled".to_owned(),
            highest_user_wasted_percent: "0.1".to_owned(),
        }
    }
}

/// What the rules are set to.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    values: RuleValues,
    lowest_efficiency: Option<f64>,
    highest_wasted_bytes: Option<u64>,
    highest_user_wasted_share: Option<f64>,
}

/// A rule that cannot be set to what it was set to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    #[error("invalid {rule} config value, given {value:?}: {reason}")]
    Value { rule: &'static str, value: String, reason: String },
    #[error("{rule} config value is outside allowed range (0-1), given '{given}'")]
    Range { rule: &'static str, given: String },
}

/// What a rule says of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub rule: &'static str,
    pub status: Status,
    /// What the rule is set to, or what is wrong.
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Pass,
    Fail,
    Skip,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Status::Pass => "PASS",
            Status::Fail => "FAIL",
            Status::Skip => "SKIP",
        })
    }
}

const LOWEST_EFFICIENCY: &str = "lowestEfficiency";
const HIGHEST_WASTED_BYTES: &str = "highestWastedBytes";
const HIGHEST_USER_WASTED_PERCENT: &str = "highestUserWastedPercent";

impl Rules {
    /// Reads what was written; all that is wrong is told at once.
    pub fn parse(values: &RuleValues) -> Result<Rules, Vec<RuleError>> {
        let lowest = share(LOWEST_EFFICIENCY, &values.lowest_efficiency);
        let bytes = wasted_bytes(&values.highest_wasted_bytes);
        let highest = share(HIGHEST_USER_WASTED_PERCENT, &values.highest_user_wasted_percent);
        match (lowest, bytes, highest) {
            (Ok(lowest_efficiency), Ok(highest_wasted_bytes), Ok(highest_user_wasted_share)) => {
                Ok(Rules { values: values.clone(), lowest_efficiency, highest_wasted_bytes, highest_user_wasted_share })
            }
            (lowest, bytes, highest) => Err([lowest.err(), bytes.err(), highest.err()].into_iter().flatten().collect()),
        }
    }

    /// What each rule says, by their names.
    pub fn judge(&self, image: &Analysis) -> [Verdict; 3] {
        self.judge_numbers(image.efficiency.score, image.efficiency.wasted_bytes(), image.wasted_user_share())
    }

    fn judge_numbers(&self, efficiency: f64, wasted_bytes: u64, wasted_share: f64) -> [Verdict; 3] {
        let share = self.highest_user_wasted_share.map(|highest| {
            // Nothing is wasted of nothing: not a number is not above anything.
            (wasted_share > highest).then(|| {
                let found = if wasted_share.is_infinite() { "+Inf".to_owned() } else { format!("{wasted_share:.2}") };
                format!(
                    "too many bytes wasted, relative to the user bytes added (%-user-wasted-bytes={found} > threshold={highest})"
                )
            })
        });
        let bytes = self.highest_wasted_bytes.map(|highest| {
            (wasted_bytes > highest)
                .then(|| format!("too many bytes wasted (wasted-bytes={wasted_bytes} > threshold={highest})"))
        });
        let score = self.lowest_efficiency.map(|lowest| {
            (efficiency < lowest)
                .then(|| format!("image efficiency is too low (efficiency={efficiency:.2} < threshold={lowest})"))
        });
        [
            verdict(HIGHEST_USER_WASTED_PERCENT, share, &self.values.highest_user_wasted_percent),
            verdict(HIGHEST_WASTED_BYTES, bytes, &self.values.highest_wasted_bytes),
            verdict(LOWEST_EFFICIENCY, score, &self.values.lowest_efficiency),
        ]
    }
}

/// `failure` is `None` for a rule that is off.
fn verdict(rule: &'static str, failure: Option<Option<String>>, value: &str) -> Verdict {
    let (status, message) = match failure {
        None => (Status::Skip, "disabled".to_owned()),
        Some(None) => (Status::Pass, value.to_owned()),
        Some(Some(message)) => (Status::Fail, message),
    };
    Verdict { rule, status, message }
}

fn is_off(value: &str) -> bool {
    matches!(value.trim().to_ascii_lowercase().as_str(), "" | "disabled" | "off" | "false")
}

fn share(rule: &'static str, value: &str) -> Result<Option<f64>, RuleError> {
    if is_off(value) {
        return Ok(None);
    }
    let share = number(value).map_err(|reason| RuleError::Value { rule, value: value.to_owned(), reason })?;
    if !(0.0..=1.0).contains(&share) {
        return Err(RuleError::Range { rule, given: format!("{share:.6}") });
    }
    Ok(Some(share))
}

fn wasted_bytes(value: &str) -> Result<Option<u64>, RuleError> {
    if is_off(value) {
        return Ok(None);
    }
    let error = |reason| RuleError::Value { rule: HIGHEST_WASTED_BYTES, value: value.to_owned(), reason };
    bytes(value).map(Some).map_err(error)
}

fn number(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| format!("strconv.ParseFloat: parsing {text:?}: invalid syntax"))
}

/// A size: a number, and a unit that is a power of 1000 (`MB`, `M`) or, with an `i`, of 1024.
fn bytes(text: &str) -> Result<u64, String> {
    let is_of_number = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',');
    let (digits, unit) = text.split_at(text.find(|c| !is_of_number(c)).unwrap_or(text.len()));
    let number = number(&digits.replace(',', ""))?;
    let unit = unit.trim().to_ascii_lowercase();
    let unknown = || format!("unhandled size name: {unit}");
    let letters = unit.strip_suffix('b').unwrap_or(&unit);
    let (base, letter) = match letters.strip_suffix('i') {
        Some(letter) => (1024_f64, letter),
        None => (1000_f64, letters),
    };
    let exponent = match (base as u32, letter) {
        (1000, "") => 0,
        (_, "k") => 1,
        (_, "m") => 2,
        (_, "g") => 3,
        (_, "t") => 4,
        (_, "p") => 5,
        (_, "e") => 6,
        _ => return Err(unknown()),
    };
    let bytes = number * base.powi(exponent);
    // 2^64: the first number that is too large.
    if bytes >= 18_446_744_073_709_551_616.0 { Err(format!("too large: {text}")) } else { Ok(bytes as u64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(efficiency: &str, bytes: &str, percent: &str) -> RuleValues {
        RuleValues {
            lowest_efficiency: efficiency.to_owned(),
            highest_wasted_bytes: bytes.to_owned(),
            highest_user_wasted_percent: percent.to_owned(),
        }
    }

    fn judged(values: &RuleValues, efficiency: f64, wasted: u64, share: f64) -> Vec<String> {
        let verdicts = Rules::parse(values).unwrap().judge_numbers(efficiency, wasted, share);
        verdicts.iter().map(|v| format!("{} {} ({})", v.status, v.rule, v.message)).collect()
    }

    #[test]
    fn equality_passes() {
        assert_eq!(
            judged(&values("0.5", "0", "0.25"), 0.5, 0, 0.25),
            ["PASS highestUserWastedPercent (0.25)", "PASS highestWastedBytes (0)", "PASS lowestEfficiency (0.5)"]
        );
    }

    #[test]
    fn failures_say_by_how_much() {
        assert_eq!(
            judged(&values("0.90", "100B", "0.1"), 0.5, 200, 0.4835),
            [
                "FAIL highestUserWastedPercent (too many bytes wasted, relative to the user bytes added (%-user-wasted-bytes=0.48 > threshold=0.1))",
                "FAIL highestWastedBytes (too many bytes wasted (wasted-bytes=200 > threshold=100))",
                "FAIL lowestEfficiency (image efficiency is too low (efficiency=0.50 < threshold=0.9))",
            ]
        );
    }

    #[test]
    fn nothing_of_nothing_passes_and_something_of_nothing_fails() {
        let percent = |share| judged(&values("off", "off", "1"), 1.0, 0, share).remove(0);
        assert_eq!(percent(f64::NAN), "PASS highestUserWastedPercent (1)");
        assert!(percent(f64::INFINITY).contains("%-user-wasted-bytes=+Inf > threshold=1"));
    }

    #[test]
    fn rules_are_turned_off_by_words() {
        for word in ["disabled", "OFF", " False ", ""] {
            let verdicts = judged(&values(word, word, word), 0.0, 9, 9.0);
            assert!(verdicts.iter().all(|verdict| verdict.starts_with("SKIP ") && verdict.ends_with(" (disabled)")));
        }
    }

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("19Mb", 19_000_000),
            ("20MB", 20_000_000),
            ("1GiB", 1 << 30),
            ("1 gib", 1 << 30),
            ("1.5k", 1500),
            ("2 ki", 2048),
            ("1,000", 1000),
            ("0", 0),
            ("7B", 7),
        ] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for text in ["x", "1 x", "MB", "1ib", "99999EB", "-1"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn everything_wrong_is_told() {
        let errors = Rules::parse(&values("x", "1 zb", "20")).unwrap_err();
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            errors,
            [
                "invalid lowestEfficiency config value, given \"x\": strconv.ParseFloat: parsing \"x\": invalid syntax",
                "invalid highestWastedBytes config value, given \"1 zb\": unhandled size name: zb",
                "highestUserWastedPercent config value is outside allowed range (0-1), given '20.000000'",
            ]
        );
        let errors = Rules::parse(&values("1.1", "off", "off")).unwrap_err();
        let expected = "lowestEfficiency config value is outside allowed range (0-1), given '1.100000'";
        assert_eq!(errors[0].to_string(), expected);
    }
}
