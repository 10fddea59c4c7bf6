//! Graphs for tests.

use std::time::Duration;

use crate::stages::{Provider, Stage, StageGraph, Step, StepState};

fn step(text: &str, takes_from: Vec<Provider>, state: Option<StepState>, ms: u64, size_bytes: u64) -> Step {
    let took = (state == Some(StepState::Ran)).then(|| Duration::from_millis(ms));
    Step { text: text.to_owned(), line: Some(1), takes_from, state, took, size_bytes: state.map(|_| size_bytes) }
}

fn stage(name: &str, base: Provider, steps: Vec<Step>) -> Stage {
    Stage { name: name.to_owned(), base, line: Some(1), is_reached: true, is_target: false, steps }
}

/// What the usual Rails application has: a base, a build, tests that nothing needs, and the result.
pub(crate) fn rails() -> StageGraph {
    use StepState::{Hit, Ran};
    let context = || vec![Provider::Context("context".to_owned())];
    let ruby = Provider::Image("ruby:3.3.0-slim".to_owned());
    let mut stages = vec![
        stage("base", ruby, vec![step("WORKDIR /rails", vec![], Some(Hit), 0, 120)]),
        stage(
            "build",
            Provider::Stage(0),
            vec![
                step("RUN apt-get update -qq && apt-get install build-essential", vec![], Some(Hit), 0, 180_000_000),
                step("COPY Gemfile Gemfile.lock ./", context(), Some(Ran), 20, 3_210),
                step("RUN bundle install", vec![], Some(Ran), 41_500, 92_000_000),
            ],
        ),
        stage("test", Provider::Stage(1), vec![step("RUN bin/rails test", vec![], None, 0, 0)]),
        stage(
            "production",
            Provider::Stage(0),
            vec![
                step("COPY --from=build /rails /rails", vec![Provider::Stage(1)], Some(Ran), 300, 95_000_000),
                step("RUN useradd rails", vec![], Some(Ran), 80, 4_100),
            ],
        ),
    ];
    stages[2].is_reached = false;
    stages[3].is_target = true;
    StageGraph { stages }
}

/// Names and instructions that are something else where they are not escaped.
pub(crate) fn hostile() -> StageGraph {
    let text = "RUN echo '</text><script>alert(1)</script>' \x1b[2J \"];\nclick x";
    let image = Provider::Image("<img src=x onerror=alert(1)>".to_owned());
    StageGraph { stages: vec![stage("\"><script>", image, vec![step(text, vec![], Some(StepState::Failed), 0, 0)])] }
}

/// `n` stages, each based on the one before.
pub(crate) fn chain(n: usize) -> StageGraph {
    let base = |index: usize| index.checked_sub(1).map_or(Provider::Scratch, Provider::Stage);
    let one = |index: usize| stage(&format!("s{index}"), base(index), vec![step("RUN x", vec![], None, 0, 0)]);
    StageGraph { stages: (0..n).map(one).collect() }
}

/// `n` stages, all of which the last one copies from.
pub(crate) fn fan(n: usize) -> StageGraph {
    let mut graph = chain(n);
    for stage in &mut graph.stages {
        stage.base = Provider::Scratch;
    }
    let copies = (0..n - 1).map(|index| step("COPY x y", vec![Provider::Stage(index)], None, 0, 0));
    graph.stages.extend([stage("last", Provider::Scratch, copies.collect())]);
    graph
}

/// One stage of `n` steps.
pub(crate) fn tall(n: usize) -> StageGraph {
    let steps = (0..n).map(|index| step(&format!("RUN echo {index}"), vec![], None, 0, 0));
    StageGraph { stages: vec![stage("only", Provider::Scratch, steps.collect())] }
}
