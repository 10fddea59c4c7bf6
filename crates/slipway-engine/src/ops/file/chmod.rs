//! What does `--chmod` make of a mode?

use slipway_graph::op::Mode;

/// A change of permission bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ModeChange {
    /// All bits are replaced.
    Octal(u32),
    /// `u=rwX,go=rX`: one after the other.
    Symbolic(Vec<Edit>),
}

/// A step of a symbolic mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    Clear(u32),
    Set(u32),
    /// `X`: only for folders and for files that somebody could execute before all edits.
    SetIfExecutable(u32),
    /// `g=u`: the bits of the class that is so many bits up, for those of `to`.
    Copy {
        shift: u32,
        to: u32,
        operator: Operator,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Remove,
    Set,
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
            ModeChange::Symbolic(edits) => {
                let is_executable = is_dir || mode & 0o111 != 0;
                edits.iter().fold(mode, |mode, edit| edit.apply(mode, is_executable))
            }
        }
    }
}

impl Edit {
    fn apply(self, mode: u32, is_executable: bool) -> u32 {
        match self {
            Edit::Clear(bits) => mode & !bits,
            Edit::Set(bits) => mode | bits,
            Edit::SetIfExecutable(bits) if is_executable => mode | bits,
            Edit::SetIfExecutable(_) => mode,
            Edit::Copy { shift, to, operator } => {
                let bits = (((mode >> shift) & 0o7) * 0o111) & to;
                match operator {
                    Operator::Add => mode | bits,
                    Operator::Remove => mode & !bits,
                    Operator::Set => mode & !to | bits,
                }
            }
        }
    }
}

const STICKY: u32 = 0o1000;

fn parse(text: &str) -> Option<Vec<Edit>> {
    let mut edits = Vec::new();
    for clause in text.split(',') {
        let mut rest = clause.trim_start_matches(['u', 'g', 'o', 'a']);
        let who = clause[..clause.len() - rest.len()].bytes().fold(0, |bits, class| bits | bits_of(class));
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
            parse_action(who, operator, &rest[1..1 + length], &mut edits)?;
            rest = &rest[1 + length..];
        }
    }
    Some(edits)
}

/// All bits of `u`, `g`, `o` or `a`. The sticky bit belongs to none of them: only `t` changes it.
fn bits_of(class: u8) -> u32 {
    match class {
        b'u' => 0o4700,
        b'g' => 0o2070,
        b'o' => 0o0007,
        _ => 0o6777,
    }
}

/// Reads what stands behind an operator: letters and classes to copy from, in their order. `who` is 0 if nobody is
/// named.
fn parse_action(who: u32, operator: Operator, perms: &str, edits: &mut Vec<Edit>) -> Option<()> {
    let mut action = Action { operator, reach: if who == 0 { 0o6777 } else { who }, bits: 0, conditional: 0, edits };
    let mut has_copied = false;
    for letter in perms.bytes() {
        match letter {
            b'r' => action.bits |= 0o444,
            b'w' => action.bits |= 0o222,
            b'x' => action.bits |= 0o111,
            b'X' => action.conditional = 0o111,
            b's' => action.bits |= 0o6000,
            // The others alone have no sticky bit.
            b't' if who == bits_of(b'o') => {}
            b't' => {
                action.reach |= STICKY;
                action.bits |= STICKY;
            }
            b'u' => action.copy(6),
            b'g' => action.copy(3),
            b'o' => action.copy(0),
            _ => return None,
        }
        has_copied |= b"ugo".contains(&letter);
    }
    // `o=` takes all bits away; `g=u` has replaced them and keeps the special ones.
    if action.bits != 0 || !has_copied {
        action.edit();
    }
    action.edit_conditional();
    Some(())
}

/// An operator with the letters that were read and are not yet among the edits.
struct Action<'a> {
    operator: Operator,
    /// The bits that may change.
    reach: u32,
    bits: u32,
    conditional: u32,
    edits: &'a mut Vec<Edit>,
}

impl Action<'_> {
    fn edit(&mut self) {
        let bits = std::mem::take(&mut self.bits) & self.reach;
        match self.operator {
            Operator::Add => self.edits.push(Edit::Set(bits)),
            Operator::Remove => self.edits.push(Edit::Clear(bits)),
            Operator::Set => self.edits.extend([Edit::Clear(self.reach), Edit::Set(bits)]),
        }
    }

    fn edit_conditional(&mut self) {
        let bits = std::mem::take(&mut self.conditional) & self.reach;
        if self.operator != Operator::Remove {
            self.edits.push(Edit::SetIfExecutable(bits));
        }
    }

    fn copy(&mut self, shift: u32) {
        if self.bits != 0 {
            self.edit();
        }
        self.edit_conditional();
        self.edits.push(Edit::Copy { shift, to: self.reach & 0o777, operator: self.operator });
    }
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
            ("u=rwxs,go=rX", 0o640, 0o4744, 0o4755),
            ("g=u", 0o2740, 0o2770, 0o2770),
            ("g=u-w", 0o640, 0o640, 0o640),
            ("g=ux", 0o7640, 0o5610, 0o5610),
            ("g=xu", 0o7640, 0o5660, 0o5660),
            ("go=", 0o7777, 0o5700, 0o5700),
            ("o+t", 0o644, 0o644, 0o644),
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
        for text in ["", "u", "u+q", "z+x", "u+x,", "ur", ",+x"] {
            assert!(ModeChange::of(&Mode::Symbolic(text.to_owned())).is_err(), "{text}");
        }
        let told = ModeChange::of(&Mode::Octal(0o10000)).unwrap_err().to_string();
        assert_eq!(told, "invalid chmod parameter: '10000'. it should be octal string and between 0 and 07777");
    }
}
