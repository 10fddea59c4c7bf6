//! Answers one question: how long does `bake --print` think about a large definition?
//!
//! `cargo bench -p slipway-bake` prints the shortest of several runs for each size (docs/benchmarks.md).
#![expect(clippy::print_stdout, reason = "a measurement speaks to a terminal")]

use std::time::{Duration, Instant};

use slipway_bake::{Definition, Inputs, SourceFile};

const N_RUNS: usize = 20;

fn main() {
    for n_targets in [20, 200, 2000] {
        let files = [SourceFile { name: "docker-bake.hcl".to_owned(), text: definition(n_targets) }];
        let shortest = (0..N_RUNS).map(|_| print(&files, n_targets)).min().unwrap_or_default();
        println!("{n_targets:5} targets {:7} bytes   {shortest:9.3?}", files[0].text.len());
    }
}

/// Targets that inherit and call functions, all in one group.
fn definition(n_targets: usize) -> String {
    let names: Vec<String> = (0..n_targets).map(|n| format!("\"t{n}\"")).collect();
    let mut text = format!(
        "variable \"TAG\" {{ default = \"latest\" }}\n\
         group \"default\" {{ targets = [{}] }}\n\
         target \"base\" {{ labels = {{ l = \"x\" }} }}\n",
        names.join(", ")
    );
    for n in 0..n_targets {
        text += &format!(
            "target \"t{n}\" {{\n  inherits = [\"base\"]\n  context = \"app/{n}\"\n  \
             tags = [\"registry/app{n}:${{TAG}}\", {n} > 100 ? \"large\" : lower(\"SMALL\")]\n  \
             args = {{ N = {n}, S = join(\"-\", [\"a\", \"{n}\"]) }}\n}}\n"
        );
    }
    text
}

fn print(files: &[SourceFile], n_targets: usize) -> Duration {
    let started = Instant::now();
    let inputs = Inputs {
        command_context: "cwd://",
        variables: &[],
        environment: &|_| None,
        local_platform: "linux/amd64",
        home: "/",
        now_seconds: 0,
        random: &|| [0; 16],
    };
    let definition = Definition::read(files, &inputs).expect("because the definition is valid");
    let selection = definition.select(&[], &[], None).expect("because the default group is there");
    let json = selection.to_json();
    let took = started.elapsed();
    assert!(json.contains(&format!("app/{}", n_targets - 1)), "the last target is there");
    took
}
