//! Answers questions about a Dockerfile instead of building it (`--call`).
//!
//! Nothing is built, pulled or written, except that a context or a Dockerfile that is elsewhere is fetched as for a
//! build. The store is opened only for that, and if a base image has to be known, for its variables, its shell and its
//! triggers; a file that is based on `scratch` needs none.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Read;
use std::sync::OnceLock;

use slipway_dockerfile::lint::Warning;
use slipway_dockerfile::{ImageKey, KnownImage, Linked, Outline, Overview, Target, outline, parse, targets};
use slipway_graph::op::Source;
use slipway_graph::request::{BuildRequest, NamedContext};
use slipway_graph::{Events, StepId};
use slipway_oci::Platform;
use slipway_solver::Cancel;
use slipway_store::OpenError;

use crate::Engine;
use crate::build::{SourceFile, internal_step};
use crate::contexts::Contexts;
use crate::failure::{BuildError, BuildFailure, other};
use crate::frontend::{Frontend, Reading};
use crate::inputs::{Fetched, Inputs, find_inputs};
use crate::ops::RemoteSources;

/// Makes an engine, and so opens the store, if somebody has to look into it. If the request fetches its inputs, the
/// engine is one that can build.
pub type OpenEngine<'a> = &'a (dyn Fn() -> Result<Engine, OpenError> + Sync);

/// Answers questions about Dockerfiles.
pub struct Inspector<'a> {
    open_engine: OpenEngine<'a>,
    engine: OnceLock<Engine>,
}

/// What a check found.
#[derive(Debug)]
pub struct Checked {
    pub dockerfile: SourceFile,
    pub warnings: Vec<Warning>,
    /// Why the file cannot be built; then the warnings are those up to the mistake.
    pub failure: Option<BuildFailure>,
}

impl<'a> Inspector<'a> {
    /// An inspector that has not opened anything yet.
    pub fn new(open_engine: OpenEngine<'a>) -> Inspector<'a> {
        Inspector { open_engine, engine: OnceLock::new() }
    }

    /// What is doubtful in the Dockerfile: in all stages, or, if one is asked for, in what that one reaches.
    ///
    /// # Errors
    /// The Dockerfile cannot be had. What is wrong in it is part of the answer.
    pub fn check(
        &self,
        request: &BuildRequest,
        stdin: &mut dyn Read,
        events: &dyn Events,
    ) -> Result<Checked, BuildError> {
        let (inputs, contexts, _) = self.inputs(request, stdin, events)?;
        let reading = self.read((&inputs, &contexts), request, request.target.is_none(), events)?;
        let failure = reading.outcome.err();
        Ok(Checked { dockerfile: inputs.source(&reading.dockerfile), warnings: reading.warnings, failure })
    }

    /// What can be given to a build of the target.
    pub fn outline(
        &self,
        request: &BuildRequest,
        stdin: &mut dyn Read,
        events: &dyn Events,
    ) -> Result<(SourceFile, Outline), BuildError> {
        let (inputs, contexts, step) = self.inputs(request, stdin, events)?;
        let reading = self.read((&inputs, &contexts), request, false, events)?;
        let source = inputs.source(&reading.dockerfile);
        reading.report(step, &source, events);
        match reading.outcome {
            Ok(_) => Ok((source, outline(&reading.dockerfile, &reading.facts))),
            Err(failure) => Err(BuildError { build: 0, failure, dockerfile: Some(source) }),
        }
    }

    /// Which stages there are.
    pub fn targets(
        &self,
        request: &BuildRequest,
        stdin: &mut dyn Read,
        events: &dyn Events,
    ) -> Result<(SourceFile, Vec<Target>), BuildError> {
        let (inputs, _, _) = self.inputs(request, stdin, events)?;
        let (dockerfile, diagnostics) = parse(&inputs.dockerfile_text);
        let source = inputs.source(&dockerfile);
        let found = if diagnostics.is_empty() { targets(&dockerfile) } else { Err(diagnostics) };
        match found {
            Ok(targets) => Ok((source, targets)),
            Err(errors) => {
                Err(BuildError { build: 0, failure: BuildFailure::Dockerfile(errors), dockerfile: Some(source) })
            }
        }
    }

    /// How the stages hang together, and what steps they have.
    pub fn overview(
        &self,
        request: &BuildRequest,
        stdin: &mut dyn Read,
        events: &dyn Events,
    ) -> Result<Overview, BuildError> {
        let (inputs, contexts, _) = self.inputs(request, stdin, events)?;
        let with_frontend = |frontend: &Frontend<'_>| frontend.overview(&inputs.dockerfile_text);
        let (dockerfile, found) = self.with_frontend((&inputs, &contexts), request, true, events, with_frontend)?;
        let failed = |failure| BuildError { build: 0, failure, dockerfile: Some(inputs.source(&dockerfile)) };
        found.map_err(failed)
    }

    fn read(
        &self,
        (inputs, contexts): (&Inputs, &Contexts),
        request: &BuildRequest,
        needs_all_stages: bool,
        events: &dyn Events,
    ) -> Result<Reading, BuildError> {
        let read = |frontend: &Frontend<'_>| frontend.read(&inputs.dockerfile_text);
        self.with_frontend((inputs, contexts), request, needs_all_stages, events, read)
    }

    fn with_frontend<T>(
        &self,
        (inputs, contexts): (&Inputs, &Contexts),
        request: &BuildRequest,
        needs_all_stages: bool,
        events: &dyn Events,
        work: impl FnOnce(&Frontend<'_>) -> T,
    ) -> Result<T, BuildError> {
        let ignore_rules = inputs.ignore_rules(contexts).map_err(|error| other(error.into()))?;
        let look_up = |key: &ImageKey| -> Result<KnownImage, Box<dyn Error + Send + Sync>> {
            Ok(self.engine()?.images(request, &RemoteSources::default()).look_up(key)?)
        };
        let time_of =
            |source: &Source| self.engine()?.time_of(source, request, &RemoteSources::default(), &Cancel::new());
        let frontend = Frontend {
            request,
            inputs,
            linked: &unbuilt(request),
            ignore_rules: &ignore_rules,
            needs_all_stages,
            look_up: &look_up,
            time_of: &time_of,
            events,
        };
        Ok(work(&frontend))
    }

    /// Context and Dockerfile, and the step that read them.
    fn inputs(
        &self,
        request: &BuildRequest,
        stdin: &mut dyn Read,
        events: &dyn Events,
    ) -> Result<(Inputs, Contexts, StepId), BuildError> {
        let step = events.new_step();
        let name = request.load_step_name();
        let fetched = match request.fetches_inputs() {
            true => self.engine().map_err(|error| other(error.into()))?.fetch_inputs(request, events)?,
            false => Fetched::default(),
        };
        let mut contexts = Contexts::new(None);
        let find = || find_inputs(request, fetched, stdin, &mut contexts);
        let inputs = internal_step(events, step, &name, find).map_err(other)?;
        Ok((inputs, contexts, step))
    }

    fn engine(&self) -> Result<&Engine, OpenError> {
        match self.engine.get() {
            Some(engine) => Ok(engine),
            None => {
                let opened = (self.open_engine)()?;
                Ok(self.engine.get_or_init(|| opened))
            }
        }
    }
}

/// What other builds make is not made for a question: empty file systems stand for it.
fn unbuilt(request: &BuildRequest) -> BTreeMap<String, Linked> {
    let links = request.named_contexts.values().filter_map(|context| match context {
        NamedContext::Target(name) => Some(name.clone()),
        NamedContext::Folder(_) | NamedContext::Image(_) | NamedContext::OciLayout { .. } | NamedContext::Url(_) => {
            None
        }
    });
    links.map(|name| (name, Linked::empty(Platform::host()))).collect()
}
