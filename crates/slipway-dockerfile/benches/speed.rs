//! Answers one question: how long do parsing and lowering take, and does the time grow with the size only?
//!
//! `cargo bench -p slipway-dockerfile` prints the shortest of several runs for each kind of file (docs/benchmarks.md).
#![expect(clippy::print_stdout, reason = "a measurement speaks to a terminal")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use slipway_dockerfile::{KnownImages, LowerInputs, Lowering, lower, parse};
use slipway_oci::Platform;

const N_RUNS: usize = 10;

/// A piece of a file for each number.
type Piece = fn(usize) -> String;

/// What is repeated until the file is large enough, each piece with a number of its own.
const KINDS: [(&str, Piece); 5] = [
    ("mixed", mixed),
    ("COPY", |n| format!("COPY --chown=1:{n} a{n} b /d{n}/\n")),
    ("ENV", |n| format!("ENV NAME_{n}=value ANOTHER_{n}=\"$NAME_{n} x\"\n")),
    ("FROM", |n| format!("FROM scratch AS stage{n}\n")),
    ("heredocs", |n| format!("COPY <<a <<b /d{n}/\n$HOME {n}\na\n{n}\nb\n")),
];

fn mixed(n: usize) -> String {
    match n % 10 {
        0 => format!("# step {n}\nWORKDIR /srv/{n}\n"),
        1 | 2 => format!("COPY --chown=1:2 src/{n}/*.txt /dst/{n}/\n"),
        3 => format!("LABEL org.example.{n}=\"${{NAME:-none}} {n}\"\n"),
        4 => "ENV NAME=value\n".to_owned(),
        5 => "EXPOSE 80 443/tcp\n".to_owned(),
        _ => format!("RUN --mount=type=cache,target=/c echo {n} && \\\n    make -j \"$NAME\" all\n"),
    }
}

fn main() {
    for (name, piece) in KINDS {
        for n_bytes in [12_000, 250_000, 500_000, 1_000_000] {
            let text = file(piece, n_bytes);
            let n_lines = text.lines().count();
            let (parsing, lowering) = shortest(&text);
            println!("{name:9} {n_bytes:8} bytes {n_lines:6} lines   parse {parsing:9.3?}   lower {lowering:9.3?}");
        }
    }
}

fn file(piece: Piece, n_bytes: usize) -> String {
    let mut text = "FROM scratch\n".to_owned();
    for n in 0.. {
        if text.len() >= n_bytes {
            break;
        }
        text += &piece(n);
    }
    text
}

fn shortest(text: &str) -> (Duration, Duration) {
    let mut shortest = (Duration::MAX, Duration::MAX);
    for _ in 0..N_RUNS {
        let started = Instant::now();
        let (dockerfile, diagnostics) = parse(text.as_bytes());
        let parsed = Instant::now();
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        let (lowered, _) = lower(&dockerfile, &inputs(), &KnownImages::new());
        let done = Instant::now();
        assert!(matches!(lowered, Ok(Lowering::Done(_))), "the file needs no image");
        shortest = (shortest.0.min(parsed - started), shortest.1.min(done - parsed));
        if done - started > Duration::from_secs(2) {
            break;
        }
    }
    shortest
}

fn inputs() -> LowerInputs<'static> {
    static NO_ARGS: BTreeMap<String, String> = BTreeMap::new();
    LowerInputs::plain(Platform::new("linux", "amd64", None), &NO_ARGS)
}
