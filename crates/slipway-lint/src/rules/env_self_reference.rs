//! `ENV` that uses what it only just defines.

use super::Family;
use crate::source::Source;
use crate::{Findings, Rule, Severity};
use slipway_dockerfile::{Args, Keyword, Word};

const SELF: Rule = Rule::new(
    "DL3044",
    Severity::Error,
    "ENV uses a variable that the same instruction defines",
    "Split it in two: within one instruction variables have the values from before it",
);

pub(crate) const FAMILY: Family = Family { check, rules: &[&SELF] };

fn check(source: &Source<'_>, findings: &mut Findings<'_>) {
    for (index, stage) in source.stages.iter().enumerate() {
        // What lower stages define is known, too.
        let below = source.chain(index).into_iter().skip(1).flat_map(|index| &source.stages[index].steps);
        let mut known: Vec<&str> = below.flat_map(|step| defined(&step.instruction.args)).collect();
        known.push("PATH");
        for step in &stage.steps {
            let (true, Args::Pairs { pairs, .. }) = (step.is(Keyword::Env), &step.instruction.args) else {
                known.extend(defined(&step.instruction.args).filter(|_| step.is(Keyword::Arg)));
                continue;
            };
            let is_used = |name: &str| pairs.iter().any(|(key, value)| key.text != name && uses(&value.text, name));
            let is_set_twice = |place: usize, name: &str| {
                pairs[place + 1..].iter().any(|(later, value)| later.text == name && uses(&value.text, name))
            };
            let is_lost = |(place, (key, _)): &(usize, &(Word, Word))| {
                let is_new = !known.contains(&key.text.as_str()) && is_used(&key.text);
                is_new || is_set_twice(*place, &key.text)
            };
            if let Some((_, (key, _))) = pairs.iter().enumerate().find(is_lost) {
                findings.add(&SELF, step.lines, format!("{}: {}", SELF.summary, key.text));
            }
            known.extend(pairs.iter().map(|(key, _)| key.text.as_str()));
        }
    }
}

/// The names that `ARG` and `ENV` define.
fn defined(args: &Args) -> impl Iterator<Item = &str> {
    let (pairs, words) = match args {
        Args::Pairs { pairs, .. } => (&pairs[..], &[][..]),
        Args::Words(words) => (&[][..], &words[..]),
        _ => (&[][..], &[][..]),
    };
    let names = words.iter().map(|word| word.text.split('=').next().unwrap_or(&word.text));
    pairs.iter().map(|(key, _)| key.text.as_str()).chain(names)
}

/// Whether `$name` or `${name…}` occurs in `text`, unless a backslash takes its meaning away.
fn uses(text: &str, name: &str) -> bool {
    text.match_indices('$').any(|(at, _)| {
        let is_escaped = text[..at].ends_with('\\');
        let rest = &text[at + 1..];
        let rest = rest.strip_prefix('{').unwrap_or(rest);
        let after = rest.strip_prefix(name).map(|after| after.chars().next());
        !is_escaped && after.is_some_and(|next| next.is_none_or(|c| !c.is_ascii_alphanumeric() && c != '_'))
    })
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_hits, check_silent};

    #[test]
    fn variables() {
        check_hits("DL3044", &["ENV A=1 B=$A\n", "ENV A=1 B=\"x${A}y\"\n", "ENV PATH=/x:$PATH PATH=/y:$PATH\n"]);
        check_silent(
            "DL3044",
            &[
                "ENV A=1\nENV A=2 B=$A\n",
                "ENV A=1 B=$AB\n",
                "ENV A=$A\n",
                "ENV PATH=/x:$PATH Y=$PATH\n",
                "ENV A=1 B=\\$A\n",
                "ARG A\nENV A=$A B=$A\n",
                "FROM a:1 AS x\nENV A=1\nFROM x\nENV A=2 B=$A\n",
            ],
        );
    }
}
