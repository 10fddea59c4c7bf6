//! What does `--chmod` make of a mode?

use slipway_graph::op::Mode;

/// A change of permission bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ModeChange {
    /// All bits are replaced.
    Octal(u32),
    /// `u=rwX,go=rX`: one after the other.
    Symbolic(Vec<Clause>),
}

/// One operation of a symbolic mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clause {
    /// Who: all bits that belong to them, special ones included.
    who: u32,
    operator: Operator,
    perms: Perms,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Add,
    Remove,
    Set,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Perms {
    /// Bits for everybody, and whether `X` is among them.
    Bits { bits: u32, has_conditional_x: bool },
    /// The bits of the class that is so many bits up (`g=u`).
    CopyOf { shift: u32 },
}

/// A mode without a meaning.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777")]
pub(crate) struct ModeError {
    text: String,
}

impl ModeChange {
    /// Reads what an op says.
    pub(crate) fn of(mode: &Mode) -> Result<ModeChange, ModeError> {
        match mode {
            Mode::Octal(mode) if *mode <= 0o7777 => Ok(ModeChange::Octal(*mode)),
            Mode::Octal(mode) => Err(ModeError { text: format!("{mode:o}") }),
            Mode::Symbolic(text) => parse(text).map(ModeChange::Symbolic).ok_or(ModeError { text: text.clone() }),
        }
    }

    /// What becomes of `mode`. There is no umask.
    pub(crate) fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        match self {
            ModeChange::Octal(mode) => *mode,
            ModeChange::Symbolic(clauses) => clauses.iter().fold(mode, |mode, clause| clause.apply(mode, is_dir)),
        }
    }
}

impl Clause {
    fn apply(self, mode: u32, is_dir: bool) -> u32 {
        let bits = match self.perms {
            Perms::Bits { bits, has_conditional_x } if has_conditional_x && (is_dir || mode & 0o111 != 0) => {
                bits | 0o111
            }
            Perms::Bits { bits, .. } => bits,
            Perms::CopyOf { shift } => ((mode >> shift) & 0o7) * 0o111,
        } & self.who;
        match self.operator {
            Operator::Add => mode | bits,
            Operator::Remove => mode & !bits,
            Operator::Set => mode & !self.who | bits,
        }
    }
}

fn parse(text: &str) -> Option<Vec<Clause>> {
    let mut clauses = Vec::new();
    for part in text.split(',') {
        let n_who = part.bytes().take_while(|b| b"ugoa".contains(b)).count();
        let (who, mut rest) = part.split_at(n_who);
        let who = match who {
            "" => 0o7777,
            who => who.bytes().fold(0, |bits, b| bits | bits_of(b)),
        };
        if rest.is_empty() {
            return None;
        }
        while let Some(operator) = rest.bytes().next() {
            let operator = match operator {
                b'+' => Operator::Add,
                b'-' => Operator::Remove,
                b'=' => Operator::Set,
                _ => return None,
            };
            let length = rest[1..].find(['+', '-', '=']).unwrap_or(rest.len() - 1);
            clauses.push(Clause { who, operator, perms: parse_perms(&rest[1..1 + length])? });
            rest = &rest[1 + length..];
        }
    }
    Some(clauses)
}

/// All bits of `u`, `g`, `o` or `a`. The sticky bit belongs to all of them.
fn bits_of(who: u8) -> u32 {
    match who {
        b'u' => 0o5700,
        b'g' => 0o3070,
        b'o' => 0o1007,
        _ => 0o7777,
    }
}

fn parse_perms(text: &str) -> Option<Perms> {
    match text {
        "u" => return Some(Perms::CopyOf { shift: 6 }),
        "g" => return Some(Perms::CopyOf { shift: 3 }),
        "o" => return Some(Perms::CopyOf { shift: 0 }),
        _ => {}
    }
    let mut bits = 0;
    let mut has_conditional_x = false;
    for letter in text.bytes() {
        match letter {
            b'r' => bits |= 0o444,
            b'w' => bits |= 0o222,
            b'x' => bits |= 0o111,
            b'X' => has_conditional_x = true,
            b's' => bits |= 0o6000,
            b't' => bits |= 0o1000,
            _ => return None,
        }
    }
    Some(Perms::Bits { bits, has_conditional_x })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbolic_modes() {
        for (text, before, file, dir) in [
            ("u=rwX,go=rX", 0o600, 0o644, 0o755),
            ("u=rwX,go=rX", 0o711, 0o755, 0o755),
            ("+x", 0o644, 0o755, 0o755),
            ("a+X", 0o666, 0o666, 0o777),
            ("a+X", 0o124, 0o135, 0o135),
            ("go-rwx", 0o777, 0o700, 0o700),
            ("g=u", 0o740, 0o770, 0o770),
            ("o=", 0o777, 0o770, 0o770),
            ("u+s,+t", 0o755, 0o5755, 0o5755),
            ("g+s", 0o755, 0o2755, 0o2755),
            ("u+x-w", 0o600, 0o500, 0o500),
        ] {
            let change = ModeChange::of(&Mode::Symbolic(text.to_owned())).unwrap();
            let told = (change.apply(before, false), change.apply(before, true));
            assert_eq!(told, (file, dir), "{text} on {before:o}: {:o} {:o}", told.0, told.1);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "u", "u+q", "z+x", "u+x,", "ur"] {
            assert!(ModeChange::of(&Mode::Symbolic(text.to_owned())).is_err(), "{text}");
        }
        let told = ModeChange::of(&Mode::Octal(0o10000)).unwrap_err().to_string();
        assert_eq!(told, "invalid chmod parameter: '10000'. it should be octal string and between 0 and 07777");
    }
}
