//! A comment above a stage or an `ARG` that looks like its description and is none.

use super::{Findings, Rule};
use crate::{Args, Instruction, Keyword};

pub(super) const RULE: Rule = Rule {
    is_experimental: true,
    ..Rule::new(
        "InvalidDefinitionDescription",
        "invalid-definition-description",
        "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is \
         not intended to be a description comment, add an empty line or comment between the instruction and the \
         comment.",
    )
};

pub(super) fn check(instruction: &Instruction, findings: &mut Findings<'_>) {
    let names = defined_names(instruction);
    let (Some(comment), Some(first)) = (instruction.comments.last(), names.first()) else { return };
    if names.iter().any(|name| comment.split(' ').next() == Some(name)) {
        return;
    }
    let name = if names.len() > 1 { "<arg_key>" } else { first };
    let keyword = instruction.keyword.as_str();
    let message = format!("Comment for {keyword} should follow the format: `# {name} <description>`");
    findings.add_at(&RULE, instruction, message);
}

fn defined_names(instruction: &Instruction) -> Vec<String> {
    match (instruction.keyword, &instruction.args) {
        (Keyword::From, Args::Words(words)) => words.get(2).map(|name| name.text.to_lowercase()).into_iter().collect(),
        (Keyword::Arg, Args::Words(words)) => {
            words.iter().map(|word| word.text.split('=').next().unwrap_or_default().to_owned()).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use crate::lint::tests::{check_hits, check_silent};

    #[test]
    fn the_last_comment_begins_with_the_name() {
        let told = |line: usize, keyword: &str, name: &str| {
            let tail = format!("Comment for {keyword} should follow the format: `# {name} <description>`");
            format!("{line} InvalidDefinitionDescription: {tail}")
        };
        let asked = |text: &str| format!("# check=experimental=all\n{text}");
        check_hits(&[
            (&asked("# bad\nFROM scratch AS x\n"), &told(3, "FROM", "x")),
            (&asked("FROM scratch\n# x y\n# z\nARG x=1\n"), &told(5, "ARG", "x")),
            (&asked("# a\n\nARG b c\nFROM scratch\n"), &told(4, "ARG", "<arg_key>")),
        ]);
        check_silent(&[
            &asked("# x is good\nFROM scratch AS x\n# a b\nARG a\n# c\nARG b c\n"),
            &asked("# no name\nFROM scratch\n# a comment\nRUN x\n"),
            &asked("# taken back\n#\nARG x\nFROM scratch\n"),
            "# bad\nFROM scratch AS x\n",
        ]);
    }
}
