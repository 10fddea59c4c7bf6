//! Numbers of the bake language: binary floating point with 512 bits of precision, and infinities.
//!
//! `f64` would show: `0.1 + 0.2` is `0.3` in a bake file, and whole numbers keep all their digits (`spec/bake.md`
//! section 4).

mod decimal;
mod natural;

use std::cmp::Ordering;
use std::fmt;

use decimal::Decimal;
use natural::Natural;

/// Bits that a result is rounded to.
const PRECISION: u64 = 512;
/// Larger decimal exponents are refused: writing such a number out would fill the memory.
const MAX_DECIMAL_EXPONENT: i64 = 4096;

/// A number. Equal numbers have equal parts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Number {
    is_negative: bool,
    size: Size,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Size {
    /// `mantissa * 2^exponent`, the mantissa odd; or zero with exponent 0.
    Finite {
        mantissa: Natural,
        exponent: i64,
    },
    Infinite,
}

impl Number {
    /// The nearest number to `mantissa * 2^exponent`; `has_rest` says that the true value is a little larger.
    fn rounded(is_negative: bool, mantissa: Natural, exponent: i64, has_rest: bool) -> Number {
        let n_excess = mantissa.n_bits().saturating_sub(PRECISION);
        let (mut mantissa, mut exponent, old) =
            (mantissa.shifted_right(n_excess), exponent + n_excess as i64, mantissa);
        if n_excess > 0 && old.bit(n_excess - 1) {
            let is_above_half = has_rest || old.n_trailing_zeros() < n_excess - 1;
            if is_above_half || mantissa.bit(0) {
                mantissa = mantissa.plus(&Natural::from_u64(1));
            }
        }
        if mantissa.is_zero() {
            return Number { is_negative: false, size: Size::Finite { mantissa, exponent: 0 } };
        }
        let n_zeros = mantissa.n_trailing_zeros();
        exponent += n_zeros as i64;
        Number { is_negative, size: Size::Finite { mantissa: mantissa.shifted_right(n_zeros), exponent } }
    }

    pub(crate) fn from_i64(value: i64) -> Number {
        Number::rounded(value < 0, Natural::from_u64(value.unsigned_abs()), 0, false)
    }

    pub(crate) fn from_count(value: usize) -> Number {
        Number::rounded(false, Natural::from_u64(value as u64), 0, false)
    }

    /// `None` for NaN.
    pub(crate) fn from_f64(value: f64) -> Option<Number> {
        if value.is_nan() {
            return None;
        }
        if value.is_infinite() {
            return Some(Number { is_negative: value < 0.0, size: Size::Infinite });
        }
        // A program's number stands for the shortest text that it is read from.
        Number::parse(&value.to_string())
    }

    /// Reads decimal notation, with or without sign, fraction and exponent. Whole numbers keep all digits.
    pub(crate) fn parse(text: &str) -> Option<Number> {
        let (is_negative, rest) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (digits, exponent) = match rest.find(['e', 'E']) {
            Some(at) => (&rest[..at], rest[at + 1..].parse::<i64>().ok()?),
            None => (rest, 0),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let is_number = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.len() + fraction.len() == 0 || !is_number(whole) || !is_number(fraction) {
            return None;
        }
        let exponent = exponent.checked_sub(fraction.len() as i64)?;
        if exponent.abs() > MAX_DECIMAL_EXPONENT {
            return None;
        }
        let mantissa = Natural::from_digits(&format!("{whole}{fraction}"));
        let power = Natural::power_of_ten(exponent.unsigned_abs());
        match exponent < 0 {
            true => Some(Number::quotient(is_negative, &mantissa, &power, 0)),
            false => Some(Number::rounded(is_negative, mantissa.times(&power), 0, false)),
        }
    }

    /// Reads a whole number written in a base of 2 to 36, or 62 as far as its digits are those of base 36.
    pub(crate) fn parse_in_base(text: &str, base: u32) -> Option<Number> {
        let (is_negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if digits.is_empty() {
            return None;
        }
        let mut result = Natural::default();
        for digit in digits.chars() {
            let value = match (base, digit) {
                (37.., 'A'..='Z') => u32::from(digit) - u32::from('A') + 36,
                _ => digit.to_digit(36)?,
            };
            if value >= base {
                return None;
            }
            result.multiply_add(base, value);
        }
        Some(Number::rounded(is_negative, result, 0, false))
    }

    fn quotient(is_negative: bool, dividend: &Natural, divisor: &Natural, exponent: i64) -> Number {
        let n_wanted = (PRECISION + 2 + divisor.n_bits()).saturating_sub(dividend.n_bits());
        let (quotient, remainder) = dividend.shifted_left(n_wanted).divided_by(divisor);
        Number::rounded(is_negative, quotient, exponent - n_wanted as i64, !remainder.is_zero())
    }

    pub(crate) fn is_zero(&self) -> bool {
        matches!(&self.size, Size::Finite { mantissa, .. } if mantissa.is_zero())
    }

    pub(crate) fn is_negative(&self) -> bool {
        self.is_negative
    }

    pub(crate) fn is_infinite(&self) -> bool {
        self.size == Size::Infinite
    }

    pub(crate) fn to_i64(&self) -> Option<i64> {
        let Size::Finite { mantissa, exponent: exponent @ 0..64 } = &self.size else { return None };
        let value = i128::from(mantissa.to_u64()?) << exponent;
        i64::try_from(if self.is_negative { -value } else { value }).ok()
    }

    pub(crate) fn to_count(&self) -> Option<usize> {
        self.to_i64().and_then(|value| usize::try_from(value).ok())
    }

    pub(crate) fn to_f64(&self) -> f64 {
        let text = match self.size {
            Size::Infinite => "inf".to_owned(),
            Size::Finite { .. } => self.magnitude_text(),
        };
        let value: f64 = text.parse().unwrap_or(f64::NAN);
        if self.is_negative { -value } else { value }
    }

    pub(crate) fn negated(&self) -> Number {
        Number { is_negative: !self.is_negative && !self.is_zero(), size: self.size.clone() }
    }

    pub(crate) fn absolute(&self) -> Number {
        Number { is_negative: false, size: self.size.clone() }
    }

    /// `None` for the difference of infinities.
    pub(crate) fn plus(&self, other: &Number) -> Option<Number> {
        match (&self.size, &other.size) {
            (Size::Infinite, Size::Infinite) => (self.is_negative == other.is_negative).then(|| self.clone()),
            (Size::Infinite, _) => Some(self.clone()),
            (_, Size::Infinite) => Some(other.clone()),
            (Size::Finite { mantissa: a, exponent: e }, Size::Finite { mantissa: b, exponent: f }) => {
                let exponent = *e.min(f);
                let (a, b) = (a.shifted_left((e - exponent) as u64), b.shifted_left((f - exponent) as u64));
                let (is_negative, sum) = if self.is_negative == other.is_negative {
                    (self.is_negative, a.plus(&b))
                } else if a >= b {
                    (self.is_negative, a.minus(&b))
                } else {
                    (other.is_negative, b.minus(&a))
                };
                Some(Number::rounded(is_negative, sum, exponent, false))
            }
        }
    }

    pub(crate) fn minus(&self, other: &Number) -> Option<Number> {
        self.plus(&other.negated())
    }

    /// `None` for infinity times zero, and where the result is too large to be written out.
    pub(crate) fn times(&self, other: &Number) -> Option<Number> {
        let is_negative = self.is_negative != other.is_negative;
        match (&self.size, &other.size) {
            (Size::Finite { mantissa: a, exponent: e }, Size::Finite { mantissa: b, exponent: f }) => {
                let exponent = e + f;
                let is_sane = exponent.abs() < MAX_DECIMAL_EXPONENT * 8;
                is_sane.then(|| Number::rounded(is_negative, a.times(b), exponent, false))
            }
            _ if self.is_zero() || other.is_zero() => None,
            _ => Some(Number { is_negative, size: Size::Infinite }),
        }
    }

    /// `None` for zero by zero and infinity by infinity. Anything else by zero is infinite.
    pub(crate) fn divided_by(&self, other: &Number) -> Option<Number> {
        let is_negative = self.is_negative != other.is_negative;
        match (&self.size, &other.size) {
            (Size::Infinite, Size::Infinite) => None,
            (Size::Infinite, _) => Some(Number { is_negative, size: Size::Infinite }),
            (_, Size::Infinite) => Some(Number::from_i64(0)),
            _ if other.is_zero() => (!self.is_zero()).then_some(Number { is_negative, size: Size::Infinite }),
            (Size::Finite { mantissa: a, exponent: e }, Size::Finite { mantissa: b, exponent: f }) => {
                let exponent = e - f;
                let is_sane = exponent.abs() < MAX_DECIMAL_EXPONENT * 8;
                is_sane.then(|| Number::quotient(is_negative, a, b, exponent))
            }
        }
    }

    /// What is left of `self` after whole multiples of `other`, with the sign of `self`.
    pub(crate) fn remainder(&self, other: &Number) -> Option<Number> {
        // Nothing of either can be taken away.
        if other.is_infinite() || other.is_zero() {
            return (!self.is_infinite()).then(|| self.clone());
        }
        if self.is_infinite() {
            return None;
        }
        let n_times = self.divided_by(other)?.truncated();
        self.minus(&n_times.times(other)?)
    }

    /// Towards zero.
    pub(crate) fn truncated(&self) -> Number {
        match &self.size {
            Size::Finite { mantissa, exponent } if *exponent < 0 => {
                Number::rounded(self.is_negative, mantissa.shifted_right(exponent.unsigned_abs()), 0, false)
            }
            _ => self.clone(),
        }
    }

    /// Towards negative infinity.
    pub(crate) fn floor(&self) -> Number {
        let truncated = self.truncated();
        match self.is_negative && truncated != *self {
            true => truncated.minus(&Number::from_i64(1)).unwrap_or(truncated),
            false => truncated,
        }
    }

    pub(crate) fn ceil(&self) -> Number {
        self.negated().floor().negated()
    }

    /// Digits of a whole number in a base of 2 to 36, with sign.
    pub(crate) fn in_base(&self, base: u32) -> Option<String> {
        let Size::Finite { mantissa, exponent: exponent @ 0.. } = &self.size else { return None };
        let sign = if self.is_negative { "-" } else { "" };
        Some(format!("{sign}{}", mantissa.shifted_left(exponent.unsigned_abs()).in_base(base)))
    }

    /// With `n_fraction` digits behind the point.
    pub(crate) fn fixed(&self, n_fraction: usize) -> String {
        self.signed(|mantissa, exponent| Decimal::new(mantissa.clone(), exponent).fixed(n_fraction))
    }

    /// As `1.5e+07`, with `n_fraction` digits behind the point.
    pub(crate) fn exponential(&self, n_fraction: usize) -> String {
        self.signed(|mantissa, exponent| Decimal::new(mantissa.clone(), exponent).exponential(n_fraction))
    }

    /// With `n_digits` digits or, if that is not said, as few as stand for this number alone: plainly where that is
    /// short, otherwise with an exponent.
    pub(crate) fn general(&self, n_digits: Option<usize>) -> String {
        self.signed(|mantissa, exponent| match n_digits {
            Some(n_digits) => Decimal::new(mantissa.clone(), exponent).general(n_digits),
            None => Decimal::shortest(mantissa, exponent).shortest_general(),
        })
    }

    /// What `text` makes of a finite number without its sign, behind the sign.
    fn signed(&self, text: impl FnOnce(&Natural, i64) -> String) -> String {
        match &self.size {
            Size::Infinite => self.to_string(),
            Size::Finite { mantissa, exponent } => {
                format!("{}{}", if self.is_negative { "-" } else { "" }, text(mantissa, *exponent))
            }
        }
    }

    /// The shortest decimal text that stands for this number, without sign.
    fn magnitude_text(&self) -> String {
        match &self.size {
            Size::Finite { mantissa, exponent } => Decimal::shortest(mantissa, *exponent).text(),
            Size::Infinite => "Inf".to_owned(),
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.size, self.is_negative) {
            (Size::Infinite, true) => f.write_str("-Inf"),
            (Size::Infinite, false) => f.write_str("+Inf"),
            (_, is_negative) => write!(f, "{}{}", if is_negative { "-" } else { "" }, self.magnitude_text()),
        }
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Number) -> Ordering {
        match (self.is_negative, other.is_negative) {
            (true, false) => return Ordering::Less,
            (false, true) => return Ordering::Greater,
            (true, true) => return other.negated().cmp(&self.negated()),
            (false, false) => {}
        }
        match (&self.size, &other.size) {
            (Size::Infinite, Size::Infinite) => Ordering::Equal,
            (Size::Infinite, _) => Ordering::Greater,
            (_, Size::Infinite) => Ordering::Less,
            (Size::Finite { mantissa: a, exponent: e }, Size::Finite { mantissa: b, exponent: f }) => {
                let exponent = *e.min(f);
                a.shifted_left((e - exponent) as u64).cmp(&b.shifted_left((f - exponent) as u64))
            }
        }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Number) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        Number::parse(text).unwrap()
    }

    #[test]
    fn texts_are_plain_and_short() {
        for (text, shown) in [
            ("1.0", "1"),
            ("1e21", "1000000000000000000000"),
            ("100000000000000000001", "100000000000000000001"),
            ("0.1", "0.1"),
            ("-0.00012", "-0.00012"),
            ("12.5", "12.5"),
            ("0", "0"),
            ("-0", "0"),
        ] {
            assert_eq!(number(text).to_string(), shown);
        }
        assert_eq!(number("0.1").plus(&number("0.2")).unwrap().to_string(), "0.3");
    }

    #[test]
    fn a_third_has_the_digits_of_512_bits() {
        let third = number("1").divided_by(&number("3")).unwrap().to_string();
        assert_eq!(third, format!("0.{}5", "3".repeat(154)));
    }

    #[test]
    fn infinities_come_from_division() {
        let infinite = number("1").divided_by(&number("0")).unwrap();
        assert_eq!(infinite.to_string(), "+Inf");
        assert_eq!(infinite.negated().to_string(), "-Inf");
        assert!(number("0").divided_by(&number("0")).is_none());
        assert!(infinite.minus(&infinite).is_none());
        assert!(infinite > number("1e4000"));
    }

    #[test]
    fn remainders_have_the_sign_of_the_dividend() {
        assert_eq!(number("-10").remainder(&number("3")).unwrap(), number("-1"));
        assert_eq!(number("10").remainder(&number("-3")).unwrap(), number("1"));
        assert_eq!(number("-6.9").truncated(), number("-6"));
        assert_eq!(number("-6.1").floor(), number("-7"));
        assert_eq!(number("-6.9").ceil(), number("-6"));
    }

    #[test]
    fn what_would_fill_the_memory_is_no_number() {
        assert_eq!(Number::parse("1e999999999"), None);
        let large = number("1e4000");
        let product = (0..20).try_fold(large.clone(), |product, _| product.times(&large));
        assert_eq!(product, None);
    }

    #[test]
    fn bases_and_machine_numbers() {
        assert_eq!(Number::parse_in_base("ff", 16).unwrap(), number("255"));
        assert_eq!(Number::parse_in_base("z", 10), None);
        assert_eq!(number("-255").in_base(16).unwrap(), "-ff");
        assert_eq!(number("-9223372036854775808").to_i64(), Some(i64::MIN));
        assert_eq!(number("9223372036854775808").to_i64(), None);
        assert_eq!(Number::from_f64(0.5).unwrap().to_string(), "0.5");
        assert_eq!(number("0.1").to_f64(), 0.1);
    }
}
