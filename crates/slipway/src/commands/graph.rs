//! `slipway graph [OPTIONS] [PATH | URL]`: the stages and steps of a Dockerfile, with what the last build did about them.
//!
//! Nothing is built or looked up: base images need not exist.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;

use rustix::termios::{isatty, tcgetwinsize};
use slipway_engine::{BuildRecord, Inspector, step_sizes};
use slipway_graph::request::BuildRequest;
use slipway_graph::request::flags::BuildFlags;
use slipway_registry::Registry;
use slipway_report::{StageGraph, Window, dot, mermaid, svg, terminal};
use slipway_store::{Bounds, OverlayFlavor, Store};

use crate::cli::graph::{GraphArgs, GraphFormat};
use crate::commands::build::{self, Terminals};
use crate::progress::{Reporter, Style, has_colors};
use crate::report::CommandError;
use crate::stage_graph::{self, History};
use crate::surroundings::ThisMachine;
use crate::{client_config, place};

/// How wide pictures are that go into a file.
const FILE_WIDTH: usize = 120;

/// The file for the picture cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write `{}`", path.display())]
struct OutputError {
    path: PathBuf,
    source: io::Error,
}

/// Draws.
pub(crate) fn run(args: GraphArgs, words: &[OsString]) -> Result<(), CommandError> {
    let GraphArgs { context, file, target, build_args, build_contexts, format, output } = args;
    let flags = BuildFlags { context, file, target, build_args, build_contexts, ..BuildFlags::default() };
    let request = BuildRequest::from_flags(&flags, &ThisMachine).map_err(|error| {
        let moment = error.moment();
        CommandError::of_flags(error.into(), moment, words)
    })?;
    // Before the first thread. What layers measure only their owner can find out.
    let place = place::find(None)?;
    let (store_root, flavor) = (place::store_root(place), place::enter(place)?);
    let graph = stages_of(&request, &store_root, flavor)?;
    let text = match format {
        GraphFormat::Terminal => terminal(&graph, window(output.is_some())),
        GraphFormat::Svg => svg(&graph),
        GraphFormat::Mermaid => mermaid(&graph),
        GraphFormat::Dot => dot(&graph),
        GraphFormat::Json => {
            serde_json::to_string_pretty(&graph).expect("because a graph of stages has only text keys") + "\n"
        }
    };
    match output {
        None => io::stdout().write_all(text.as_bytes()).map_err(|error| CommandError::Options(error.into())),
        Some(path) => {
            fs::write(&path, text).map_err(|source| CommandError::Options(OutputError { path, source }.into()))
        }
    }
}

fn stages_of(
    request: &BuildRequest,
    store_root: &std::path::Path,
    flavor: OverlayFlavor,
) -> Result<StageGraph, CommandError> {
    let registry = Registry::new(client_config::registry_config(request.is_offline));
    let open_engine =
        || build::engine_within(Bounds::default(), store_root, flavor, registry.clone(), Terminals::default());
    let reporter = Reporter::start(Style::Quiet, false);
    let found = Inspector::new(&open_engine).overview(request, &mut io::stdin(), &reporter);
    reporter.finish(Vec::new());
    let overview = found.map_err(CommandError::Build)?;
    let history = last_build(request, store_root, flavor);
    Ok(stage_graph::of_file(&overview, history.as_ref()))
}

/// What is known of the last build of the same file; nothing if the store cannot be read, which is no reason not to draw.
fn last_build(request: &BuildRequest, store_root: &std::path::Path, flavor: OverlayFlavor) -> Option<History> {
    if !store_root.join("oci-layout").exists() {
        return None;
    }
    let store = Store::open(store_root, flavor).ok()?;
    let build = BuildRecord::newest_first(&store).ok()?.find(|build| build.is_of_file_of(request))?;
    let sizes = step_sizes(&store, &build).unwrap_or_default();
    Some(History { build, sizes })
}

fn window(is_file: bool) -> Window {
    if is_file || !isatty(rustix::stdio::stdout()) {
        return Window { width: FILE_WIDTH, has_colors: false };
    }
    let width = tcgetwinsize(rustix::stdio::stdout()).map_or(0, |size| usize::from(size.ws_col));
    Window { width: if width == 0 { 80 } else { width }, has_colors: has_colors() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use slipway_dockerfile::{LowerInputs, overview, parse};
    use slipway_oci::Platform;

    use super::*;

    /// The Dockerfiles that people who write about stages show first: Rails with a test stage, and several targets in Rust.
    const FILES: [(&str, &str); 2] = [("rails", RAILS), ("targets", TARGETS)];

    const RAILS: &str = "\
ARG RUBY_VERSION=3.3.0
FROM ruby:$RUBY_VERSION-slim AS base
WORKDIR /rails
FROM base AS development
ENV RAILS_ENV=\"development\"
RUN apt-get update -qq && apt-get install --no-install-recommends -y build-essential git libpq-dev
COPY Gemfile Gemfile.lock ./
RUN bundle install
COPY . .
CMD [\"bin/rails\", \"server\", \"-b\", \"0.0.0.0\"]
FROM development AS test
RUN bundle exec rails db:prepare
FROM base AS build
COPY . .
RUN bundle exec bootsnap precompile app/ lib/
FROM base AS production
COPY --from=build /usr/local/bundle /usr/local/bundle
COPY --from=build /rails /rails
RUN useradd rails --create-home --shell /bin/bash
";

    const TARGETS: &str = "\
FROM rust:1.75 as base
WORKDIR /app
COPY Cargo.toml Cargo.lock ./
RUN cargo fetch
FROM base as development
COPY . .
RUN cargo build
FROM base as test
COPY . .
RUN cargo test
FROM base as builder
COPY . .
RUN cargo build --release
FROM debian:bookworm-slim as production
RUN apt-get update && apt-get install -y ca-certificates && rm -rf /var/lib/apt/lists/*
COPY --from=builder /app/target/release/app /usr/local/bin/app
COPY --from=nginx:latest /etc/nginx/nginx.conf /nginx.conf
";

    fn graph_of(text: &str) -> StageGraph {
        let args = BTreeMap::new();
        let inputs = LowerInputs::plain(Platform::host(), &args);
        stage_graph::of_file(&overview(&parse(text.as_bytes()).0, &inputs).unwrap(), None)
    }

    #[test]
    fn usual_files_are_drawn() {
        for (name, text) in FILES {
            let graph = graph_of(text);
            for width in [120, 80, 40] {
                let drawn = terminal(&graph, Window { width, has_colors: false });
                insta::assert_snapshot!(format!("{name}_{width}"), drawn);
            }
            insta::assert_snapshot!(format!("{name}_mermaid"), mermaid(&graph));
        }
    }
}
