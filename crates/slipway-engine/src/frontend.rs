//! What does a Dockerfile mean for a request, and what is to be said about it? Steps b and c of a build.

use std::collections::{BTreeMap, HashSet};
use std::error::Error;
use std::sync::Arc;

use slipway_dockerfile::lint::{CheckOptions, LintInputs, Warning, lint};
use slipway_dockerfile::{
    Diagnostic, Dockerfile, Facts, IgnoreRules, ImageKey, ImagePlace, ImageQuestion, KnownImage, KnownImages, Linked,
    LowerInputs, Lowering, Overview, lower, overview, parse, similar_base, similar_stage, with_form_errors,
};
use slipway_graph::event::FileWarning;
use slipway_graph::op::Source;
use slipway_graph::request::BuildRequest;
use slipway_graph::{Event, Events, StepId};
use slipway_oci::Platform;

use crate::attest;
use crate::build::{SourceFile, internal_step};
use crate::chain;
use crate::failure::BuildFailure;
use crate::images::unknown_image;
use crate::inputs::{InputError, Inputs};
use crate::language;
use crate::platforms::{Platforms, Recipe};
use crate::unmet::{self, Unmet};

/// Finds out about an image. Called from several threads at once.
pub(crate) type LookUp<'a> = &'a (dyn Fn(&ImageKey) -> Result<KnownImage, Box<dyn Error + Send + Sync>> + Sync);

/// Finds out when a repository or a file at a URL changed last, in seconds since 1970, if that can be known.
pub(crate) type TimeOf<'a> = &'a dyn Fn(&Source) -> Result<Option<i64>, Box<dyn Error + Send + Sync>>;

/// Reads Dockerfiles for one request.
pub(crate) struct Frontend<'a> {
    pub(crate) request: &'a BuildRequest,
    pub(crate) inputs: &'a Inputs,
    /// What the builds made that this one is linked to.
    pub(crate) linked: &'a BTreeMap<String, Linked>,
    /// Those of the build context.
    pub(crate) ignore_rules: &'a IgnoreRules,
    /// Whether stages that the target does not reach are looked at, too.
    pub(crate) needs_all_stages: bool,
    pub(crate) look_up: LookUp<'a>,
    pub(crate) time_of: TimeOf<'a>,
    pub(crate) events: &'a dyn Events,
}

/// What came of reading a Dockerfile. Warnings are there also if it cannot be built.
pub(crate) struct Reading {
    pub(crate) dockerfile: Dockerfile,
    pub(crate) facts: Facts,
    pub(crate) warnings: Vec<Warning>,
    pub(crate) outcome: Result<Recipe, BuildFailure>,
}

/// What lowering came to for all platforms together.
enum AllLowered {
    Done(Recipe),
    /// Each once.
    NeedImages(Vec<ImageQuestion>),
    NeedTime(Box<Source>),
}

/// Why a base image is not known.
#[derive(Debug, thiserror::Error)]
#[error("{written}: {reason}{suggestion}")]
struct LookUpError {
    /// The image as the Dockerfile names it.
    written: String,
    /// The whole chain, because the suggestion comes after it.
    reason: String,
    suggestion: String,
}

/// `# check=error=true`: warnings are errors.
#[derive(Debug, thiserror::Error)]
#[error("lint violation found for rules: {}", .0.join(", "))]
struct Violations(Vec<&'static str>);

impl Frontend<'_> {
    /// Parses, lowers and lints.
    pub(crate) fn read(&self, text: &[u8]) -> Reading {
        let (dockerfile, diagnostics) = parse(text);
        let options = match CheckOptions::of(&dockerfile, &self.request.build_args) {
            Ok(options) => options,
            Err(error) => {
                let outcome = Err(BuildFailure::Other(Box::new(error)));
                return Reading { dockerfile, facts: Facts::default(), warnings: Vec::new(), outcome };
            }
        };
        let (mut outcome, facts) = match language::check(&dockerfile, &self.request.build_args) {
            Err(error) => (Err(BuildFailure::Other(Box::new(error))), Facts::default()),
            Ok(()) if !diagnostics.is_empty() => {
                (Err(BuildFailure::Dockerfile(with_form_errors(&dockerfile, diagnostics))), Facts::default())
            }
            Ok(()) => self.lower(&dockerfile),
        };
        let errors = match &outcome {
            Err(BuildFailure::Dockerfile(errors)) => errors.as_slice(),
            _ => &[],
        };
        let inputs = LintInputs { options: &options, ignore_rules: self.ignore_rules };
        let warnings = lint(&dockerfile, &facts, errors, inputs);
        if outcome.is_ok() && options.is_error && !warnings.is_empty() {
            outcome = Err(BuildFailure::Other(Box::new(violations(&warnings))));
        }
        Reading { dockerfile, facts, warnings, outcome }
    }

    /// Parses, and finds out how stages hang together; no image is looked up.
    pub(crate) fn overview(&self, text: &[u8]) -> (Dockerfile, Result<Overview, BuildFailure>) {
        let (dockerfile, diagnostics) = parse(text);
        if !diagnostics.is_empty() {
            let errors = with_form_errors(&dockerfile, diagnostics);
            return (dockerfile, Err(BuildFailure::Dockerfile(errors)));
        }
        let found = Platforms::of(self.request).map_err(|error| BuildFailure::Other(Box::new(error)));
        let found = found.and_then(|platforms| {
            let platform = platforms.targets.first().cloned().unwrap_or_else(Platform::host);
            let inputs = self.lower_inputs(&platforms, &platform, &[]);
            overview(&dockerfile, &inputs).map_err(BuildFailure::Dockerfile)
        });
        (dockerfile, found)
    }

    /// Asks for images until lowering knows enough. What was seen on the way is that of the first platform: the others
    /// would say it again.
    fn lower(&self, dockerfile: &Dockerfile) -> (Result<Recipe, BuildFailure>, Facts) {
        let platforms = match Platforms::of(self.request) {
            Ok(platforms) => platforms,
            Err(error) => return (Err(BuildFailure::Other(Box::new(error))), Facts::default()),
        };
        let (mut known, mut times, mut unmet) = (KnownImages::new(), Vec::new(), Vec::new());
        loop {
            let (lowered, facts) = self.lower_all(dockerfile, &platforms, &known, &times);
            let questions = match lowered {
                // Something unknown is in the place of an image: that it does not fit says nothing.
                Err(_) if !unmet.is_empty() => return (Err(unmet::failure(unmet)), facts),
                Err(errors) => return (Err(BuildFailure::Dockerfile(errors)), facts),
                Ok(AllLowered::Done(recipe)) => return (Ok(Recipe { unmet, ..recipe }), facts),
                Ok(AllLowered::NeedImages(questions)) => questions,
                Ok(AllLowered::NeedTime(source)) => {
                    let name = "[internal] resolve SOURCE_DATE_EPOCH";
                    let time = internal_step(self.events, self.events.new_step(), name, || (self.time_of)(&source));
                    match time {
                        Ok(time) => times.push((*source, time)),
                        Err(error) => return (Err(BuildFailure::Other(error)), facts),
                    }
                    continue;
                }
            };
            let n_known = known.len();
            if let Err(failure) = self.answer(dockerfile, &questions, platforms.is_multi, &mut known, &mut unmet) {
                return (Err(failure), facts);
            }
            // Asked the same thing twice: going on would never end.
            if known.len() == n_known {
                return (Err(BuildFailure::Other(Box::new(InputError::Unresolved))), facts);
            }
        }
    }

    /// One round for every platform, so that all images that are known to be needed can be looked up at once.
    fn lower_all(
        &self,
        dockerfile: &Dockerfile,
        platforms: &Platforms,
        known: &KnownImages,
        times: &[(Source, Option<i64>)],
    ) -> (Result<AllLowered, Vec<Diagnostic>>, Facts) {
        let (mut lowered, mut questions, mut first_facts) = (Vec::new(), Vec::new(), None);
        let mut asked = HashSet::new();
        for platform in &platforms.targets {
            let (outcome, facts) = lower(dockerfile, &self.lower_inputs(platforms, platform, times), known);
            let facts = first_facts.get_or_insert(facts);
            match outcome {
                Err(errors) => return (Err(errors), std::mem::take(facts)),
                Ok(Lowering::Done(done)) => lowered.push((platform.clone(), Arc::new(*done))),
                Ok(Lowering::NeedTime(source)) => return (Ok(AllLowered::NeedTime(source)), std::mem::take(facts)),
                Ok(Lowering::NeedImages(more)) => {
                    questions.extend(more.into_iter().filter(|question| asked.insert(question.key.clone())));
                }
            }
        }
        let facts = first_facts.unwrap_or_default();
        match questions.is_empty() {
            true => (
                Ok(AllLowered::Done(Recipe { images: lowered, is_multi: platforms.is_multi, unmet: Vec::new() })),
                facts,
            ),
            false => (Ok(AllLowered::NeedImages(questions)), facts),
        }
    }

    fn lower_inputs<'s>(
        &'s self,
        platforms: &Platforms,
        target: &Platform,
        times: &'s [(Source, Option<i64>)],
    ) -> LowerInputs<'s> {
        let request = self.request;
        LowerInputs {
            target: request.target.as_deref(),
            needs_all_stages: self.needs_all_stages,
            build_args: &request.build_args,
            build_platform: Platform::host(),
            target_platform: target.clone(),
            is_platform_explicit: platforms.is_explicit,
            is_multi_platform: platforms.is_multi,
            named_contexts: &request.named_contexts,
            folders: &self.inputs.folders,
            linked: self.linked,
            main_context: &self.inputs.main_context,
            source_times: times,
            cache_bypass: &request.cache_bypass,
            network: request.network,
            extra_hosts: &request.extra_hosts,
            shm_size_bytes: request.shm_size_bytes,
            ulimits: &request.ulimits,
            shell: request.shell,
            labels: &request.labels,
            allows_host_network: request.allows_host_network,
            allows_insecure: request.allows_insecure,
            lists_packages: attest::lists_packages(request),
        }
    }

    /// Looks up all images at the same time. Those that may not be asked for go into `unmet`.
    fn answer(
        &self,
        dockerfile: &Dockerfile,
        questions: &[ImageQuestion],
        is_multi_platform: bool,
        known: &mut KnownImages,
        unmet: &mut Vec<Unmet>,
    ) -> Result<(), BuildFailure> {
        let (look_up, events) = (self.look_up, self.events);
        let answers: Vec<_> = std::thread::scope(|scope| {
            let ask = |question: &ImageQuestion| {
                let key = &question.key;
                let platform = if is_multi_platform { format!("{} ", key.platform) } else { String::new() };
                let name = format!("[{platform}internal] load metadata for {}", image_name(&key.place));
                internal_step(events, events.new_step(), &name, || look_up(key))
            };
            let Some((last, others)) = questions.split_last() else { return Vec::new() };
            let threads: Vec<_> = others.iter().map(|question| scope.spawn(move || ask(question))).collect();
            // Most files have one base image, which is known: no thread for that.
            let last = ask(last);
            let joined = threads.into_iter().map(|t| t.join().unwrap_or_else(|p| std::panic::resume_unwind(p)));
            joined.chain([last]).collect()
        });
        for (question, answer) in questions.iter().zip(answers) {
            let lack = answer.as_ref().err().and_then(|error| Unmet::of_image(error.as_ref(), question.lines));
            if let Some(lack) = lack {
                unmet.push(lack);
                known.insert(question.key.clone(), unknown_image());
                continue;
            }
            let image = answer.map_err(|source| BuildFailure::Step {
                lines: Some(question.lines),
                name: question.written.clone(),
                source: Box::new(LookUpError {
                    written: question.written.clone(),
                    reason: chain(source.as_ref()),
                    suggestion: similar_base(dockerfile, &question.written)
                        .map(|name| format!(" (did you mean {name}?)"))
                        .unwrap_or_default(),
                }),
                hint: similar_stage(dockerfile, &question.written),
            })?;
            known.insert(question.key.clone(), image);
        }
        Ok(())
    }
}

impl Reading {
    /// Tells the warnings, as remarks of the step that read the file.
    pub(crate) fn report(&self, step: StepId, source: &SourceFile, events: &dyn Events) {
        let text: Arc<str> = source.text.as_str().into();
        for warning in &self.warnings {
            events.emit(Event::Warning(Box::new(FileWarning {
                step,
                short: warning.short(),
                detail: warning.rule.description.to_owned(),
                url: warning.rule.url(),
                file_name: source.name.clone(),
                path: source.path.clone(),
                text: Arc::clone(&text),
                lines: warning.lines,
            })));
        }
    }
}

/// The rules that fired, each once.
fn violations(warnings: &[Warning]) -> Violations {
    let once: BTreeMap<&str, ()> = warnings.iter().map(|warning| (warning.rule.name, ())).collect();
    Violations(once.into_keys().collect())
}

fn image_name(place: &ImagePlace) -> String {
    match place {
        ImagePlace::Reference(reference) => reference.with_default_tag().to_string(),
        ImagePlace::OciLayout { name, .. } => name.clone(),
    }
}
