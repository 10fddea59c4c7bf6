//! Answers one question: does every file, however large, deep or broken, get an answer in bounded time and memory?
//!
//! Sizes are far beyond what people write, and small enough for a build without optimization.

use std::collections::BTreeMap;

use slipway_dockerfile::{Diagnostic, KnownImages, LowerInputs, Lowering, expand, lower, parse};
use slipway_oci::Platform;

/// What is wrong with a file, by the parser or else by lowering; nothing if it is a build.
fn errors(text: &[u8]) -> Vec<String> {
    let (dockerfile, diagnostics) = parse(text);
    if !diagnostics.is_empty() {
        return messages(diagnostics);
    }
    let no_args = BTreeMap::new();
    let inputs = LowerInputs::plain(Platform::new("linux", "amd64", None), &no_args);
    match lower(&dockerfile, &inputs, &KnownImages::new()).0 {
        Ok(Lowering::Done(_) | Lowering::NeedImages(_) | Lowering::NeedTime(_)) => Vec::new(),
        Err(diagnostics) => messages(diagnostics),
    }
}

fn messages(diagnostics: Vec<Diagnostic>) -> Vec<String> {
    diagnostics.into_iter().map(|found| found.message).collect()
}

fn numbered(n: usize, piece: impl Fn(usize) -> String) -> String {
    (0..n).map(piece).collect()
}

#[test]
fn stages_in_a_circle_and_in_a_long_line() {
    let circle = numbered(2_000, |n| format!("FROM scratch AS s{n}\nCOPY --from=s{} a b\n", (n + 1) % 2_000));
    assert_eq!(errors(circle.as_bytes()), ["circular dependency detected on stage: s0"]);
    let line = "FROM scratch AS s0\n".to_owned() + &numbered(2_000, |n| format!("FROM s{n} AS s{}\n", n + 1));
    assert_eq!(errors(line.as_bytes()), [""; 0]);
}

#[test]
fn thousands_of_variables() {
    let text = "FROM scratch\n".to_owned() + &numbered(10_000, |n| format!("ENV N{n}=$N{}\n", n / 2));
    assert_eq!(errors(text.as_bytes()), [""; 0]);
    let text = "FROM scratch\nLABEL a=".to_owned() + &numbered(10_000, |n| format!("$N{n}\\\n"));
    assert_eq!(errors(text.as_bytes()), [""; 0]);
}

#[test]
fn values_that_double_on_each_line() {
    let text = "FROM scratch\nENV a=xxxxxxxx\n".to_owned() + &"ENV a=$a$a\n".repeat(22);
    let errors = errors(text.as_bytes());
    assert!(errors[0].ends_with("variables add more than 4 MiB to what is written"), "{errors:?}");
}

#[test]
fn long_lines() {
    let longest = format!("FROM scratch\nLABEL a={}\n", "x".repeat(65_535 - 8));
    assert_eq!(errors(longest.as_bytes()), [""; 0]);
    let longer = format!("FROM scratch\nLABEL a={}\n", "x".repeat(65_536 - 8));
    assert_eq!(errors(longer.as_bytes()), ["dockerfile line greater than max allowed size of 65535"]);
    let joined = format!("FROM scratch\nLABEL a={}y\n", format!("{}\\\n", "x".repeat(60_000)).repeat(100));
    assert_eq!(errors(joined.as_bytes()), [""; 0]);
}

#[test]
fn bytes_that_are_no_text() {
    assert_eq!(errors(b"FROM scratch\nLABEL a=\xff\xfe b=\x00\n"), [""; 0]);
    assert_eq!(errors(b"FROM scratch\n\xff\xfe a\n"), ["unknown instruction: \u{fffd}\u{fffd}"]);
    let all: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    assert!(!errors(&all).is_empty());
}

#[test]
fn deep_nesting() {
    let word = "${a:-".repeat(100_000) + &"}".repeat(100_000);
    let problem = expand(&word, '\\', |_| None).map_err(|error| error.problem.to_string());
    assert_eq!(problem, Err("more than 200 substitutions inside each other".to_owned()));
    let triggers = "FROM scratch\n".to_owned() + &"ONBUILD \\\n".repeat(100_000) + "RUN x\n";
    assert_eq!(errors(triggers.as_bytes()), ["Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"]);
    let json = format!("FROM scratch\nCMD {}\\\n{}\n", "[".repeat(60_000), "]".repeat(60_000));
    assert!(errors(json.as_bytes()).len() <= 1);
}

#[test]
fn ranges_of_ports() {
    let text = "FROM scratch\n".to_owned() + &"EXPOSE 1-65535 1-65535/udp\n".repeat(5);
    assert_eq!(errors(text.as_bytes()), [""; 0]);
    assert_eq!(errors(b"FROM scratch\nEXPOSE 1-99999999999\n"), ["invalid containerPort: 1-99999999999"]);
}

#[test]
fn tens_of_thousands_of_stages() {
    assert_eq!(errors("FROM scratch\n".repeat(20_000).as_bytes()), [""; 0]);
    let line = numbered(4_000, |n| format!("FROM s{n} AS s{}\nLABEL a{n}=b\n", n + 1));
    assert_eq!(errors(format!("FROM scratch AS s0\n{line}").as_bytes()), [""; 0]);
    let sources = numbered(4_000, |n| format!("FROM scratch AS s{n}\n"));
    let copies = numbered(4_000, |n| format!("COPY --from=s{n} a b\n"));
    assert_eq!(errors(format!("{sources}FROM scratch\n{copies}").as_bytes()), [""; 0]);
}

#[test]
fn thousands_of_heredocs_of_one_instruction() {
    let words = numbered(5_000, |n| format!(" <<e{n}\\\n"));
    let bodies = numbered(5_000, |n| format!("$a\ne{n}\n"));
    for keyword in ["COPY", "RUN cat"] {
        assert_eq!(errors(format!("FROM scratch\n{keyword}{words} /\n{bodies}").as_bytes()), [""; 0], "{keyword}");
    }
    let unterminated = format!("FROM scratch\n{}", "COPY <<e /\n".repeat(5_000));
    assert_eq!(errors(unterminated.as_bytes()), ["unterminated heredoc"]);
}

/// Each of these would be terabytes with a few times as many lines.
#[test]
fn files_whose_parts_multiply() {
    let too_much = "the stages and steps up to here take over more than 256 MiB from each other and from variables";
    for (what, text) in [
        ("variables of steps", numbered(800, |n| format!("ENV a{n}={}\nRUN {n}\n", "x".repeat(1_000)))),
        ("folders", format!("WORKDIR {}\n", "a".repeat(2_000)).repeat(300)),
    ] {
        let errors = errors(format!("FROM scratch AS base\n{text}").as_bytes());
        assert!(errors.iter().any(|error| error == too_much), "{what}: {errors:?}");
    }
}

#[test]
fn patterns_that_match_everywhere() {
    for operator in ["//a/b", "##*a*a*b", "%%*a*a*b", "//a*a*b/c", "//?/b", "//a/"] {
        let text =
            format!("FROM scratch\nENV a={}\n{}", "a".repeat(60_000), format!("LABEL b=${{a{operator}}}\n").repeat(4));
        assert_eq!(errors(text.as_bytes()), [""; 0], "{operator}");
    }
}
