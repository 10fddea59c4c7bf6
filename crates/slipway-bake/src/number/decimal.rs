//! The decimal digits of a number, and the ways to write them.

use super::PRECISION;
use super::natural::Natural;

/// `0.digits * 10^point`, without zeros at either end.
pub(super) struct Decimal {
    digits: Vec<u8>,
    point: i64,
}

impl Decimal {
    pub(super) fn new(mantissa: Natural, exponent: i64) -> Decimal {
        let (whole, n_fraction) = match exponent < 0 {
            true => (mantissa.times_power_of_five(exponent.unsigned_abs()), -exponent),
            false => (mantissa.shifted_left(exponent.unsigned_abs()), 0),
        };
        if whole.is_zero() {
            return Decimal { digits: Vec::new(), point: 0 };
        }
        let mut digits = whole.to_digits().into_bytes();
        let point = digits.len() as i64 - n_fraction;
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        Decimal { digits, point }
    }

    /// As few digits as stand for `mantissa * 2^exponent` alone.
    pub(super) fn shortest(mantissa: &Natural, exponent: i64) -> Decimal {
        let exact = Decimal::new(mantissa.clone(), exponent);
        // With that few digits there is no shorter text: neighbours differ later only.
        if exact.digits.len() <= 150 {
            return exact;
        }
        let n_missing = PRECISION - mantissa.n_bits();
        let full = mantissa.shifted_left(n_missing + 1);
        let exponent = exponent - n_missing as i64 - 1;
        let one = Natural::from_u64(1);
        let bounds = [full.minus(&one), full.plus(&one)].map(|bound| Decimal::new(bound, exponent));
        exact.shortest_between(&bounds[0], &bounds[1], !full.bit(1))
    }

    fn digit(&self, index: usize) -> u8 {
        self.digits.get(index).copied().unwrap_or(b'0')
    }

    /// As few digits as tell this number from its neighbours, which lie beyond `lower` and `upper`.
    fn shortest_between(self, lower: &Decimal, upper: &Decimal, is_inclusive: bool) -> Decimal {
        for index in 0..self.digits.len() {
            let digit = self.digits[index];
            let may_go_down = lower.digit(index) != digit || is_inclusive && index + 1 == lower.digits.len();
            let may_go_up = digit != upper.digit(index)
                && (is_inclusive || digit + 1 < upper.digit(index) || index + 1 < upper.digits.len());
            let goes_up = match (may_go_down, may_go_up) {
                (false, false) => continue,
                (true, false) => false,
                (false, true) => true,
                (true, true) => self.rounds_up_at(index + 1),
            };
            return self.cut(index + 1, goes_up);
        }
        self
    }

    fn rounds_up_at(&self, n_digits: usize) -> bool {
        if self.digits[n_digits..] == *b"5" {
            return n_digits > 0 && (self.digits[n_digits - 1] - b'0') % 2 == 1;
        }
        self.digit(n_digits) >= b'5'
    }

    fn cut(mut self, n_digits: usize, goes_up: bool) -> Decimal {
        self.digits.truncate(n_digits);
        if goes_up {
            while self.digits.last() == Some(&b'9') {
                self.digits.pop();
            }
            match self.digits.last_mut() {
                Some(digit) => *digit += 1,
                None => {
                    self.digits.push(b'1');
                    self.point += 1;
                }
            }
        }
        while self.digits.last() == Some(&b'0') {
            self.digits.pop();
        }
        self
    }

    /// Plainly, with all digits.
    pub(super) fn text(&self) -> String {
        let digits = String::from_utf8_lossy(&self.digits);
        if self.digits.is_empty() {
            return "0".to_owned();
        }
        let n_digits = self.digits.len() as i64;
        if self.point <= 0 {
            return format!("0.{}{digits}", "0".repeat(self.point.unsigned_abs() as usize));
        }
        if self.point >= n_digits {
            return format!("{digits}{}", "0".repeat((self.point - n_digits) as usize));
        }
        let (whole, fraction) = digits.split_at(self.point as usize);
        format!("{whole}.{fraction}")
    }

    fn rounded(self, n_digits: i64) -> Decimal {
        match usize::try_from(n_digits) {
            Ok(n_digits) if n_digits < self.digits.len() => {
                let goes_up = self.rounds_up_at(n_digits);
                self.cut(n_digits, goes_up)
            }
            _ => self,
        }
    }

    /// With `n_fraction` digits behind the point.
    pub(super) fn fixed(self, n_fraction: usize) -> String {
        let point = self.point;
        let rounded = self.rounded(point.saturating_add(n_fraction as i64));
        let digit_at = |place: i64| usize::try_from(place).map_or('0', |index| char::from(rounded.digit(index)));
        let whole: String = (0..rounded.point.max(1)).map(|place| digit_at(place + rounded.point.min(1) - 1)).collect();
        let fraction: String = (0..n_fraction as i64).map(|place| digit_at(rounded.point + place)).collect();
        if fraction.is_empty() { whole } else { format!("{whole}.{fraction}") }
    }

    /// As `1.5e+07`, with `n_fraction` digits behind the point.
    pub(super) fn exponential(self, n_fraction: usize) -> String {
        let rounded = self.rounded(n_fraction as i64 + 1);
        let exponent = if rounded.digits.is_empty() { 0 } else { rounded.point - 1 };
        let fraction: String = (1..=n_fraction).map(|index| char::from(rounded.digit(index))).collect();
        let point = if fraction.is_empty() { "" } else { "." };
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{}{point}{fraction}e{sign}{:02}", char::from(rounded.digit(0)), exponent.abs())
    }

    /// With `n_digits` digits, at least one; plainly unless the exponent is small or beyond the digits.
    pub(super) fn general(self, n_digits: usize) -> String {
        let rounded = self.rounded(n_digits.max(1) as i64);
        let (n_own, n_digits) = (rounded.digits.len() as i64, n_digits.max(1) as i64);
        let limit = if n_digits > n_own && n_own >= rounded.point { n_own } else { n_digits };
        rounded.plain_below(limit)
    }

    /// Plainly unless the exponent is small or that of millions.
    pub(super) fn shortest_general(self) -> String {
        self.plain_below(6)
    }

    fn plain_below(self, limit: i64) -> String {
        let n_fraction = self.digits.len().saturating_sub(1);
        match self.digits.is_empty() || (-4..limit).contains(&(self.point - 1)) {
            true => self.text(),
            false => self.exponential(n_fraction),
        }
    }
}
