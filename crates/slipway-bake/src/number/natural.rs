//! Whole numbers of any size, with just the operations that [`super::Number`] needs.

use std::cmp::Ordering;

/// A whole number, zero or more. Words are least significant first; the last one is never zero.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Natural(Vec<u32>);

impl Natural {
    pub(super) fn from_u64(value: u64) -> Natural {
        Natural(vec![value as u32, (value >> 32) as u32]).trimmed()
    }

    /// Reads decimal digits; anything else is a mistake of the caller and counts as zero.
    pub(super) fn from_digits(digits: &str) -> Natural {
        let mut result = Natural::default();
        for digit in digits.bytes().filter(u8::is_ascii_digit) {
            result.multiply_add(10, u32::from(digit - b'0'));
        }
        result
    }

    fn trimmed(mut self) -> Natural {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
        self
    }

    pub(super) fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn n_bits(&self) -> u64 {
        match self.0.last() {
            None => 0,
            Some(top) => self.0.len() as u64 * 32 - u64::from(top.leading_zeros()),
        }
    }

    pub(super) fn bit(&self, index: u64) -> bool {
        self.0.get((index / 32) as usize).is_some_and(|word| word >> (index % 32) & 1 == 1)
    }

    /// How many of the lowest bits are zero; 0 for zero.
    pub(super) fn n_trailing_zeros(&self) -> u64 {
        match self.0.iter().position(|word| *word != 0) {
            None => 0,
            Some(index) => index as u64 * 32 + u64::from(self.0[index].trailing_zeros()),
        }
    }

    pub(super) fn to_u64(&self) -> Option<u64> {
        match self.0[..] {
            [] => Some(0),
            [low] => Some(u64::from(low)),
            [low, high] => Some(u64::from(high) << 32 | u64::from(low)),
            _ => None,
        }
    }

    /// `self * factor + addend`, in place.
    pub(super) fn multiply_add(&mut self, factor: u32, addend: u32) {
        let mut carry = u64::from(addend);
        for word in &mut self.0 {
            let product = u64::from(*word) * u64::from(factor) + carry;
            *word = product as u32;
            carry = product >> 32;
        }
        if carry != 0 {
            self.0.push(carry as u32);
        }
    }

    /// Divides in place and gives the remainder.
    fn divide_small(&mut self, divisor: u32) -> u32 {
        let mut remainder = 0u64;
        for word in self.0.iter_mut().rev() {
            let value = remainder << 32 | u64::from(*word);
            *word = (value / u64::from(divisor)) as u32;
            remainder = value % u64::from(divisor);
        }
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
        remainder as u32
    }

    pub(super) fn power_of_ten(exponent: u64) -> Natural {
        let mut result = Natural::from_u64(1);
        for _ in 0..exponent {
            result.multiply_add(10, 0);
        }
        result
    }

    pub(super) fn times_power_of_five(mut self, exponent: u64) -> Natural {
        for _ in 0..exponent {
            self.multiply_add(5, 0);
        }
        self
    }

    pub(super) fn shifted_left(&self, n_bits: u64) -> Natural {
        if self.is_zero() {
            return Natural::default();
        }
        let (n_words, n_bits) = ((n_bits / 32) as usize, n_bits % 32);
        let mut words = vec![0; n_words];
        let mut carry = 0u64;
        for word in &self.0 {
            let value = u64::from(*word) << n_bits | carry;
            words.push(value as u32);
            carry = value >> 32;
        }
        words.push(carry as u32);
        Natural(words).trimmed()
    }

    pub(super) fn shifted_right(&self, n_bits: u64) -> Natural {
        let (n_words, n_bits) = ((n_bits / 32) as usize, n_bits % 32);
        let rest = self.0.get(n_words..).unwrap_or_default();
        let words = rest.iter().enumerate().map(|(index, word)| {
            let above = rest.get(index + 1).copied().unwrap_or_default();
            ((u64::from(above) << 32 | u64::from(*word)) >> n_bits) as u32
        });
        Natural(words.collect()).trimmed()
    }

    pub(super) fn plus(&self, other: &Natural) -> Natural {
        let mut carry = 0u64;
        let mut words = Vec::with_capacity(self.0.len().max(other.0.len()) + 1);
        for index in 0..self.0.len().max(other.0.len()) {
            let word = |n: &Natural| u64::from(n.0.get(index).copied().unwrap_or_default());
            let sum = word(self) + word(other) + carry;
            words.push(sum as u32);
            carry = sum >> 32;
        }
        words.push(carry as u32);
        Natural(words).trimmed()
    }

    /// `self - other`, which must not be larger.
    pub(super) fn minus(&self, other: &Natural) -> Natural {
        let mut borrow = 0i64;
        let mut words = Vec::with_capacity(self.0.len());
        for (index, word) in self.0.iter().enumerate() {
            let mut difference = i64::from(*word) - i64::from(other.0.get(index).copied().unwrap_or_default()) - borrow;
            borrow = i64::from(difference < 0);
            if difference < 0 {
                difference += 1 << 32;
            }
            words.push(difference as u32);
        }
        Natural(words).trimmed()
    }

    pub(super) fn times(&self, other: &Natural) -> Natural {
        let mut words = vec![0u32; self.0.len() + other.0.len()];
        for (i, a) in self.0.iter().enumerate() {
            let mut carry = 0u64;
            for (j, b) in other.0.iter().enumerate() {
                let value = u64::from(*a) * u64::from(*b) + u64::from(words[i + j]) + carry;
                words[i + j] = value as u32;
                carry = value >> 32;
            }
            words[i + other.0.len()] = carry as u32;
        }
        Natural(words).trimmed()
    }

    /// Quotient and remainder; `divisor` must not be zero.
    pub(super) fn divided_by(&self, divisor: &Natural) -> (Natural, Natural) {
        // One bit at a time: numbers have some 1,000 bits, and divisions in bake files are rare.
        let mut quotient = vec![0u32; self.0.len()];
        let mut remainder = Natural::default();
        for index in (0..self.n_bits()).rev() {
            remainder = remainder.shifted_left(1);
            if self.bit(index) {
                remainder = remainder.plus(&Natural::from_u64(1));
            }
            if remainder >= *divisor {
                remainder = remainder.minus(divisor);
                quotient[(index / 32) as usize] |= 1 << (index % 32);
            }
        }
        (Natural(quotient).trimmed(), remainder)
    }

    /// Decimal digits; `0` for zero.
    pub(super) fn to_digits(&self) -> String {
        self.in_base(10)
    }

    /// Digits in a base of 2 to 36, lower case.
    pub(super) fn in_base(&self, base: u32) -> String {
        let mut rest = self.clone();
        let mut digits = Vec::new();
        while !rest.is_zero() {
            let digit = rest.divide_small(base);
            digits.push(char::from_digit(digit, base).unwrap_or('?'));
        }
        match digits.is_empty() {
            true => "0".to_owned(),
            false => digits.into_iter().rev().collect(),
        }
    }
}

impl Ord for Natural {
    fn cmp(&self, other: &Natural) -> Ordering {
        self.0.len().cmp(&other.0.len()).then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }
}

impl PartialOrd for Natural {
    fn partial_cmp(&self, other: &Natural) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
