//! What holds for every file, word and pattern, tried on generated ones.

use proptest::prelude::*;
use slipway_dockerfile::{Args, Dockerfile, IgnoreRules, Instruction, expand, expand_heredoc, expand_words, parse};

/// A file that is written as the tree says. Parsing it gives the tree again, but for places and comments.
fn print(dockerfile: &Dockerfile) -> String {
    let escape = dockerfile.directives.escape;
    let mut text = format!("# escape={escape}\n");
    for instruction in &dockerfile.instructions {
        text.push_str(&instruction.keyword_word.text);
        for flag in &instruction.flags {
            text.push_str(&format!(" --{}", escaped(&flag.name, escape)));
            if let Some(value) = &flag.value {
                text.push('=');
                text.push_str(&escaped(value, escape));
            }
        }
        text.push_str(&format!(" {}\n", print_args(&instruction.args)));
        // The text of a trigger holds its heredocs.
        let is_trigger = matches!(instruction.args, Args::Trigger(_));
        for heredoc in instruction.heredocs.iter().filter(|_| !is_trigger) {
            text.push_str(&format!("{}{}\n", heredoc.body, heredoc.name));
        }
    }
    text
}

/// A flag's name or value, with what would end it or mean something escaped.
fn escaped(value: &str, escape: char) -> String {
    let is_special = |c: char| c.is_whitespace() || c == '"' || c == '\'' || c == escape;
    value.chars().flat_map(|c| is_special(c).then_some(escape).into_iter().chain([c])).collect()
}

fn print_args(args: &Args) -> String {
    let texts = |words: &[slipway_dockerfile::Word]| words.iter().map(|word| word.text.clone()).collect::<Vec<_>>();
    match args {
        Args::Json(words) => serde_json::to_string(&texts(words)).expect("because all texts are JSON strings"),
        Args::Words(words) => texts(words).join(" "),
        Args::Raw(word) | Args::Trigger(word) => word.text.clone(),
        Args::Pairs { pairs, is_legacy } => {
            let between = if *is_legacy { " " } else { "=" };
            pairs.iter().map(|(key, value)| [&*key.text, between, &value.text].concat()).collect::<Vec<_>>().join(" ")
        }
        Args::Typed { kind, rest } => format!("{} {}", kind.text, print_args(rest)),
    }
}

/// What of an instruction does not depend on where it stands.
fn meaning(instruction: &Instruction) -> impl PartialEq + std::fmt::Debug + use<> {
    let flags: Vec<_> = instruction.flags.iter().map(|flag| (flag.name.clone(), flag.value.clone())).collect();
    let is_json = matches!(instruction.args, Args::Json(_));
    let heredocs: Vec<_> = instruction
        .heredocs
        .iter()
        .map(|heredoc| (heredoc.name.clone(), heredoc.expands, heredoc.strips_tabs, heredoc.body.clone()))
        .collect();
    (instruction.keyword, flags, is_json, print_args(&instruction.args), heredocs)
}

/// Pieces that instructions are made of, those that mean something among them.
fn argument() -> impl Strategy<Value = String> {
    let plain = "[a-z/.$={}:'\"\\\\`#<>-]{1,8}";
    prop_oneof![
        plain,
        Just("a=b".to_owned()),
        Just("\"a b\"".to_owned()),
        Just("${a:-b}".to_owned()),
        Just("\\\n  # a comment\n c".to_owned()),
        Just("`\n c".to_owned()),
    ]
}

fn instruction() -> impl Strategy<Value = String> {
    let keyword = prop::sample::select(vec![
        "ADD",
        "ARG",
        "CMD",
        "copy",
        "ENTRYPOINT",
        "ENV",
        "EXPOSE",
        "FROM",
        "HEALTHCHECK CMD",
        "LABEL",
        "ONBUILD RUN",
        "RUN",
        "Run",
        "SHELL",
        "STOPSIGNAL",
        "USER",
        "VOLUME",
        "WORKDIR",
    ]);
    let flag = prop::sample::select(vec!["", "--x", "--from=a", "--chown=\"a b\"", "--mount=type=cache,target=/\\ a"]);
    let json = prop::collection::vec("[a-z \"\\\\]{0,4}", 0..3)
        .prop_map(|words| serde_json::to_string(&words).expect("because all texts are JSON strings"));
    let words = prop::collection::vec(argument(), 1..4).prop_map(|words| words.join(" "));
    let rest = prop_oneof![1 => json, 4 => words];
    let line = (keyword, flag, rest).prop_map(|(keyword, flag, rest)| format!("{keyword} {flag} {rest}\n"));
    let delimiter = prop::sample::select(vec!["<<E", "<<-E", "<<\"E\"", "<<'E' x"]);
    let heredoc = (prop::sample::select(vec!["RUN", "COPY"]), delimiter, "[ \ta-z$\n]{0,12}")
        .prop_map(|(keyword, delimiter, body)| format!("{keyword} {delimiter} /d\n{body}\nE\n"));
    prop_oneof![4 => line, 1 => heredoc]
}

fn file() -> impl Strategy<Value = String> {
    let escape = prop::sample::select(vec!["", "# escape=\\\n", "# escape=`\n"]);
    (escape, prop::collection::vec(instruction(), 1..6)).prop_map(|(escape, lines)| escape.to_owned() + &lines.concat())
}

/// The rules as they are meant, without any thought for speed: the last one that holds decides. One that holds for a
/// folder holds for what is below it; and none is looked at where it would change nothing.
fn is_ignored(rules: &[String], path: &str) -> bool {
    let components: Vec<&str> = path.split('/').collect();
    let mut holds = vec![false; rules.len()];
    let mut is_ignored = false;
    for n_components in 1..=components.len() {
        is_ignored = false;
        for (rule, holds) in rules.iter().zip(&mut holds) {
            let (is_exception, pattern) = (rule.starts_with('!'), rule.trim_start_matches('!'));
            let pattern: Vec<&str> = pattern.split('/').collect();
            *holds |= is_exception == is_ignored && matches_path(&pattern, &components[..n_components]);
            is_ignored = if *holds { !is_exception } else { is_ignored };
        }
    }
    is_ignored
}

fn matches_path(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], _) => path.is_empty(),
        (["**"], _) => !path.is_empty(),
        (["**", rest @ ..], _) => (0..=path.len()).any(|n| matches_path(rest, &path[n..])),
        ([first, rest @ ..], [name, below @ ..]) => {
            matches_name(first.as_bytes(), name.as_bytes()) && matches_path(rest, below)
        }
        (_, []) => false,
    }
}

fn matches_name(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], _) => name.is_empty(),
        ([b'*', rest @ ..], _) => (0..=name.len()).any(|n| matches_name(rest, &name[n..])),
        ([b'?', rest @ ..], [_, below @ ..]) => matches_name(rest, below),
        ([c, rest @ ..], [found, below @ ..]) => c == found && matches_name(rest, below),
        (_, []) => false,
    }
}

fn rule() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["a", "b", "ab", "*", "?", "a*", "*b", "?b"]);
    let path = prop::collection::vec(name, 1..3).prop_map(|names| names.join("/"));
    let start = prop::sample::select(vec!["", "!", "**/", "!**/"]);
    let end = prop::sample::select(vec!["", "", "/**", "/**/a"]);
    (start, path, end).prop_map(|(start, path, end)| [start, &path, end].concat())
}

proptest! {
    #![proptest_config(ProptestConfig {
        // The same inputs in every run; `PROPTEST_CASES` makes more of them.
        rng_seed: proptest::test_runner::RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_is_printed_reads_as_before(text in file()) {
        let (tree, _) = parse(text.as_bytes());
        // A last line that ends with the escape character only stands where the file ends in a continuation.
        let ends_in_escape = |i: &Instruction| i.logical_line.ends_with(tree.directives.escape);
        if tree.instructions.last().is_none_or(ends_in_escape) {
            return Ok(());
        }
        let printed = print(&tree);
        let (again, diagnostics) = parse(printed.as_bytes());
        prop_assert!(diagnostics.is_empty(), "{printed}\n{diagnostics:?}");
        let all = |tree: &Dockerfile| tree.instructions.iter().map(meaning).collect::<Vec<_>>();
        prop_assert_eq!(all(&tree), all(&again), "{}", printed);
        prop_assert_eq!(print(&again), printed);
    }

    #[test]
    fn expansion_ends_for_every_word(word in "[ab$:+?#%/*{}'\"\\\\` -]{0,24}", value in "[ab/* ]{0,6}") {
        let variables = |name: &str| (name == "a").then(|| value.clone());
        for escape in ['\\', '`'] {
            let whole = expand(&word, escape, variables);
            let words = expand_words(&word, escape, variables);
            prop_assert_eq!(whole.is_ok(), words.is_ok());
        }
        drop(expand_heredoc(&word, variables));
    }

    #[test]
    fn ignore_rules_mean_what_they_say(rules in prop::collection::vec(rule(), 0..5), path in "[ab]{1,2}(/[ab]{1,2}){0,3}") {
        let parsed = IgnoreRules::parse(rules.join("\n").as_bytes()).unwrap();
        prop_assert_eq!(parsed.verdict_from_root(&path).is_excluded(), is_ignored(&rules, &path));
    }
}
