//! Whole files: the rows of `spec/dockerfile.md` section 13 that the parser answers.

use slipway_graph::LineRange;

use super::{parse, parse_trigger};
use crate::{Args, Dockerfile, Instruction, Word};

/// The tree of a file that has no errors.
fn tree(text: &str) -> Dockerfile {
    let (dockerfile, diagnostics) = parse(text.as_bytes());
    assert_eq!(diagnostics, [], "{text}");
    dockerfile
}

/// The last instruction of a file that has no errors.
fn last(text: &str) -> Instruction {
    tree(text).instructions.pop().expect("there is an instruction")
}

/// The messages about a file, each with its first and last line.
fn errors(text: &str) -> Vec<String> {
    let describe = |lines: LineRange, message: &str| format!("{}-{}: {message}", lines.first, lines.last);
    parse(text.as_bytes()).1.iter().map(|found| describe(found.lines, &found.message)).collect()
}

/// The arguments in one line.
fn show(args: &Args) -> String {
    let join = |words: &[Word]| words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join("|");
    match args {
        Args::Json(words) => format!("json {}", join(words)),
        Args::Words(words) => format!("words {}", join(words)),
        Args::Raw(word) => format!("raw {}", word.text),
        Args::Pairs { pairs, is_legacy } => {
            let pairs: Vec<_> = pairs.iter().map(|(key, value)| format!("{}={}", key.text, value.text)).collect();
            format!("{} {}", if *is_legacy { "legacy" } else { "pairs" }, pairs.join("|"))
        }
        Args::Typed { kind, rest } => format!("typed {} {}", kind.text, show(rest)),
        Args::Trigger(word) => format!("trigger {}", word.text),
    }
}

#[test]
fn files_without_instructions() {
    assert_eq!(errors(""), ["1-1: the Dockerfile cannot be empty"]);
    for text in ["# a\n", "\n\n", "# escape=`\n", &"x".repeat(70_000)] {
        assert_eq!(errors(text), ["1-1: file with no instructions"]);
    }
}

#[test]
fn arguments_by_keyword() {
    for (line, expect) in [
        ("FROM a AS b", "words a|AS|b"),
        ("from scratch", "words scratch"),
        ("COPY a\tb c", "words a|b|c"),
        ("COPY \"a b\" c", "words \"a|b\"|c"),
        ("COPY [\"a b\",\"c\"]", "json a b|c"),
        ("COPY -- --odd /d", "words --odd|/d"),
        ("COPY a b --chown=1:1", "words a|b|--chown=1:1"),
        ("RUN [\"echo\",\"x\"] y", "raw [\"echo\",\"x\"] y"),
        ("RUN ['echo']", "raw ['echo']"),
        ("RUN", "raw "),
        ("ENTRYPOINT []junk", "raw []junk"),
        ("ENTRYPOINT []", "json "),
        ("ENV a=1 b=\"x y\"", "pairs a=1|b=\"x y\""),
        ("ENV a b  c=d ", "legacy a=b  c=d"),
        ("LABEL \"$k\"=v", "pairs \"$k\"=v"),
        ("ARG a b=\"x y\"", "words a|b=\"x y\""),
        ("EXPOSE 80 $P", "words 80|$P"),
        ("USER a b", "raw a b"),
        ("HEALTHCHECK --retries=1 CMD [\"a\"]", "typed CMD json a"),
        ("HEALTHCHECK NONE", "typed NONE raw "),
        ("ONBUILD  RUN --network=none x", "trigger RUN --network=none x"),
    ] {
        assert_eq!(show(&last(line).args), expect, "{line}");
    }
}

#[test]
fn broken_instructions() {
    for (line, expect) in [
        ("FORM scratch", "unknown instruction: FORM (did you mean FROM?)"),
        ("ENTYPOINT x", "unknown instruction: ENTYPOINT (did you mean ENTRYPOINT?)"),
        ("XYZZY x", "unknown instruction: XYZZY"),
        ("\\\n\n", "unknown instruction: "),
        (
            "COPY a",
            "COPY requires at least two arguments, but only one was provided. Destination could not be determined",
        ),
        ("ENV a", "ENV must have two arguments"),
        ("ENV", "ENV requires at least one argument"),
        ("ENV a=1 b", "Syntax error - can't find = in \"b\". Must be of the form: name=value"),
        ("ENV =1", "ENV names can not be blank"),
        ("ARG =1", "ARG names can not be blank"),
        ("FROM a b", "FROM requires either one or three arguments"),
        ("FROM a AS", "FROM requires either one or three arguments"),
        ("FROM a of b", "FROM requires either one or three arguments"),
        ("CMD [\"a\", 1]", "when using JSON array syntax, arrays must be comprised of strings only"),
        ("SHELL /bin/bash", "SHELL requires the arguments to be in JSON form"),
        ("SHELL []", "SHELL requires at least one argument"),
        ("VOLUME []", "VOLUME requires at least one argument"),
        ("USER", "USER requires exactly one argument"),
        ("ONBUILD", "ONBUILD requires at least one argument"),
        ("ONBUILD ONBUILD RUN x", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
        ("ONBUILD from x", "FROM isn't allowed as an ONBUILD trigger"),
        ("ONBUILD ENV a", "ENV must have two arguments"),
        ("ONBUILD ONBUILD ENV a", "ENV must have two arguments"),
    ] {
        let (dockerfile, diagnostics) = parse(line.as_bytes());
        let messages: Vec<_> = diagnostics.iter().map(|found| found.message.as_str()).collect();
        assert_eq!(messages, [expect], "{line}");
        assert_eq!(dockerfile.instructions, [], "{line}");
    }
}

#[test]
fn a_broken_line_does_not_hide_the_others() {
    let text = "# escape=x\nFROM a b\nRUN x \\\n y\nXYZZY\nCOPY <<EOF /a\n";
    assert_eq!(
        errors(text),
        [
            "1-1: invalid escape token 'x' does not match ` or \\",
            "6-6: unterminated heredoc",
            "2-2: FROM requires either one or three arguments",
            "5-5: unknown instruction: XYZZY",
        ]
    );
    assert_eq!(parse(text.as_bytes()).0.instructions.len(), 1);
}

#[test]
fn lines_that_belong_together() {
    for (text, expect) in [
        ("RUN echo a \\ \t\n b", "RUN echo a  b"),
        ("RUN echo a \\\n  # c\n b", "RUN echo a  b"),
        ("RUN a \\\r\n b\r\n", "RUN a  b"),
        ("RUN echo \\", "RUN echo"),
        ("# escape=`\nRUN echo a ` \n \\b", "RUN echo a  \\b"),
        ("  RUN a", "RUN a"),
        ("\u{feff}FROM scratch", "FROM scratch"),
        ("ENV a=b\\\nc", "ENV a=bc"),
    ] {
        assert_eq!(last(text).logical_line, expect, "{text}");
    }
    assert_eq!(tree("RUN echo a\\\\\nRUN echo b").instructions.len(), 2);
    assert_eq!(show(&last("ENV a=b\\\n  c=d").args), "pairs a=b|c=d");
    let long = format!("RUN x{}", format!("{} \\\n", "y".repeat(1000)).repeat(100));
    assert_eq!(last(&long).lines, LineRange { first: 1, last: 100 });
}

#[test]
fn an_empty_line_in_a_continuation_is_noticed() {
    let instruction = last("FROM a\nRUN echo a \\\n\n b");
    assert!(instruction.has_empty_continuation);
    assert_eq!(instruction.lines, LineRange { first: 2, last: 4 });
    assert!(!last("RUN echo a \\\n# c\n b").has_empty_continuation);
}

#[test]
fn an_overlong_line_ends_the_file() {
    let text = format!("FROM scratch\nRUN {}\nFOO", "x".repeat(65_532));
    assert_eq!(errors(&text), ["2-2: dockerfile line greater than max allowed size of 65535"]);
    let text = format!("RUN <<EOF\n{}\nEOF\n", "x".repeat(65_536));
    assert!(errors(&text).contains(&"1-1: unterminated heredoc".to_owned()));
}

#[test]
fn comments_belong_to_the_next_instruction() {
    let text = "# syntax=a\n# one\n\n  # two\nFROM a\nRUN b\n# lost\n#\n##three\nRUN c";
    let comments: Vec<_> = tree(text).instructions.into_iter().map(|instruction| instruction.comments).collect();
    assert_eq!(comments, [vec!["one", "# two"], vec![], vec!["#three"]]);
}

#[test]
fn words_know_their_place() {
    let text = "FROM a\n  copy --from=x \\\n # c\n src dst";
    let instruction = last(text);
    assert_eq!(&text[instruction.keyword_word.span.range()], "copy");
    assert_eq!(&text[instruction.flags[0].span.range()], "--from=x");
    let Args::Words(words) = &instruction.args else { panic!("{:?}", instruction.args) };
    assert_eq!(words.iter().map(|word| &text[word.span.range()]).collect::<Vec<_>>(), ["src", "dst"]);
    assert_eq!(&text[instruction.span.range()], "copy --from=x \\\n # c\n src dst");
}

#[test]
fn heredoc_bodies_follow_their_line() {
    let text = "RUN cat <<A <<-\"B\" \\\n x\n# a \\\nA\n\tb\n\tB\nUSER u";
    let dockerfile = tree(text);
    let [run, _] = dockerfile.instructions.as_slice() else { panic!("{dockerfile:?}") };
    let [a, b] = run.heredocs.as_slice() else { panic!("{run:?}") };
    assert_eq!((a.body.as_str(), b.body.as_str()), ("# a \\\n", "\tb\n"));
    assert_eq!((a.expands, a.strips_tabs, b.expands, b.strips_tabs), (true, false, false, true));
    assert_eq!((&text[a.word.span.range()], &text[b.word.span.range()]), ("<<A", "<<-\"B\""));
    assert_eq!(&text[b.body_span.range()], "\tb\n\tB");
    assert_eq!(run.lines, LineRange { first: 1, last: 6 });
    assert_eq!(&text[run.span.range()], "RUN cat <<A <<-\"B\" \\\n x");
}

#[test]
fn where_heredocs_are_not_looked_for() {
    for line in ["RUN [\"sh\",\"-c\",\"<<EOF\"]", "RUN echo \"<<EOF\"", "RUN <<<EOF", "CMD <<EOF", "ONBUILD CMD <<EOF"]
    {
        assert_eq!(last(line).heredocs, [], "{line}");
    }
    assert_eq!(errors("FROM a\nRUN <<-EOF\n  echo\n  EOF\n"), ["2-4: unterminated heredoc"]);
}

#[test]
fn triggers_are_stored_with_their_bodies() {
    let stored = last("ONBUILD   RUN <<A cat <<-B  \nx\nA\n\ty\n\tB\n");
    assert_eq!(show(&stored.args), "trigger RUN <<A cat <<-B  \nx\nA\n\ty\nB");
    assert_eq!(stored.heredocs.len(), 2);
    assert_eq!(show(&last("ONBUILD COPY a b  ").args), "trigger COPY a b  ");
}

#[test]
fn triggers_are_read_with_a_backslash() {
    let run = parse_trigger("RUN <<A\nx\nA").expect("is a trigger");
    assert_eq!(run.heredocs[0].body, "x\n");
    assert_eq!(show(&parse_trigger("ENV a=b\\ c").expect("is a trigger").args), "pairs a=b\\ c");
    assert_eq!(parse_trigger("COPY a").unwrap_err().lines, LineRange { first: 1, last: 1 });
    let two = parse_trigger("RUN a\nRUN b").unwrap_err();
    assert_eq!(two.message, "onbuild trigger should be a single expression");
}
