//! A stage while its instructions are lowered one after the other, and what an instruction may do to it.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use slipway_graph::{LineRange, Op, Vertex, VertexId};
use slipway_oci::{ImageConfig, Platform};

use crate::environment::Environment;
use crate::facts::{Seen, Variables, Watched};
use crate::instructions::{Command, is_no_variable};
use crate::lower::Build;
use crate::step_name::{self, StepNames};
use crate::{Diagnostic, ExpandError, Instruction, Keyword, Severity, Span, budget, expand, history, suggest};

/// How often a step holds what it is given of its stage: in its op, the key of that, its name, the history, and on the way.
const N_COPIES: usize = 8;
/// What the shell form of instructions runs in unless `SHELL` says otherwise.
pub(crate) const DEFAULT_SHELL: [&str; 2] = ["/bin/sh", "-c"];
/// The search path of images that have none.
pub(crate) const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The state that instructions change. A stage that is based on this one starts from a copy.
#[derive(Clone, Debug)]
pub(crate) struct StageBuilder {
    /// The file system so far.
    pub(crate) vertex: VertexId,
    pub(crate) platform: Platform,
    /// Working directory, user, shell and `ENV` variables are those of `config.config`.
    pub(crate) config: ImageConfig,
    pub(crate) n_base_history: usize,
    /// The variables that programs and expansions see: `ENV` and `ARG`, the one set last at the end.
    pub(crate) env: Environment,
    /// Where in `config.config.env` the variable of a name is; of those that were looked for.
    pub(crate) config_places: HashMap<String, usize>,
    /// The declared args, with the values they were declared with; shown in the history of `RUN`.
    pub(crate) args: Vec<(String, Option<String>)>,
    /// The names among them.
    pub(crate) arg_names: HashSet<String>,
    /// Whether this stage has had a `CMD`.
    pub(crate) has_cmd: bool,
    /// Whether this stage or one that it is based on has had a `WORKDIR`.
    pub(crate) has_workdir: bool,
    pub(crate) ignores_cache: bool,
    pub(crate) names: StepNames,
}

impl StageBuilder {
    /// The value of a variable.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        self.env.get(name).map(str::to_owned)
    }

    /// Sets a variable for programs and expansions, not in the config.
    pub(crate) fn set_variable(&mut self, name: &str, value: &str) {
        self.env.set(name, value);
    }

    /// Sets a variable in the config; one that is there keeps its place.
    pub(crate) fn set_config_variable(&mut self, name: &str, value: &str) {
        let env = &mut self.config.config.env;
        if self.config_places.is_empty() {
            for (place, pair) in env.iter().enumerate() {
                self.config_places.entry(name_of(pair).to_owned()).or_insert(place);
            }
        }
        let pair = format!("{name}={value}");
        match self.config_places.entry(name.to_owned()) {
            Entry::Occupied(place) => env[*place.get()] = pair,
            Entry::Vacant(place) => {
                place.insert(env.len());
                env.push(pair);
            }
        }
    }

    /// What it costs to start another stage with this state.
    pub(crate) fn cost(&self) -> usize {
        let config = &self.config.config;
        let history = self.config.history.iter().map(|entry| entry.created_by.as_deref().unwrap_or_default());
        let labels = config.labels.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]);
        budget::cost(history.chain(labels)) + self.variables_cost()
    }

    /// What it costs to give its variables to a program or to another stage.
    pub(crate) fn variables_cost(&self) -> usize {
        let args = self.args.iter().flat_map(|(name, value)| [name.as_str(), value.as_deref().unwrap_or_default()]);
        budget::cost(self.env.iter().flat_map(|(name, value)| [name, value]).chain(args))
    }

    /// What it costs to give its state to the step that `command` is.
    pub(crate) fn step_cost(&self, command: &Command) -> usize {
        if !command.is_step() {
            return 0;
        }
        let config = &self.config.config;
        let name = self.names.stage.as_deref().unwrap_or_default();
        let words = [self.cwd(), config.user.as_str(), name].into_iter().chain(config.shell.iter().map(String::as_str));
        N_COPIES * budget::cost(words) + if matches!(command, Command::Run(_)) { self.variables_cost() } else { 0 }
    }

    /// Makes programs see what the config says, over anything else of the same name.
    pub(crate) fn apply_config_env(&mut self) {
        if !self.config.config.env.iter().any(|e| e.starts_with("PATH=")) {
            self.config.config.env.push(DEFAULT_PATH.to_owned());
            self.config_places.clear();
        }
        for pair in self.config.config.env.clone() {
            let (name, value) = pair.split_once('=').unwrap_or((&pair, ""));
            self.set_variable(name, value);
        }
    }

    /// The working directory, absolute.
    pub(crate) fn cwd(&self) -> &str {
        match self.config.config.working_dir.as_str() {
            "" => "/",
            cwd => cwd,
        }
    }

    /// The name of the next step, whose text is `text`.
    pub(crate) fn next_name(&mut self, text: &str) -> String {
        self.names.target = step_name::stated_target(&self.platform, &self.env);
        self.names.next(text)
    }

    /// `command` as it is run by the shell of the stage.
    pub(crate) fn in_shell(&self, command: &str) -> Vec<String> {
        let shell = &self.config.config.shell;
        let mut args: Vec<String> =
            if shell.is_empty() { DEFAULT_SHELL.map(str::to_owned).to_vec() } else { shell.clone() };
        args.push(command.to_owned());
        args
    }
}

/// One instruction that is being lowered: what is written, the stage it changes, and the build around both.
pub(crate) struct Step<'s, 'a> {
    pub(crate) instruction: &'s Instruction,
    /// Whether it comes from an `ONBUILD` of the base.
    pub(crate) is_trigger: bool,
    pub(crate) stage: &'s mut StageBuilder,
    pub(crate) build: &'s mut Build<'a>,
}

impl Step<'_, '_> {
    /// An error at this instruction.
    pub(crate) fn error(&self, message: impl Into<String>) -> Diagnostic {
        error_at(self.instruction, self.instruction.span, message)
    }

    /// `text` with variables filled in and quotes removed.
    pub(crate) fn expand(&self, text: &str) -> Result<String, Diagnostic> {
        let variables = Watched::new(|name: &str| self.stage.variable(name));
        let expanded = expand::expand(text, self.escape(), |name| variables.get(name));
        self.note_unset(variables.asked());
        self.filled_in(expanded)
    }

    /// The body of a heredoc with variables filled in.
    pub(crate) fn expand_body(&self, body: &str) -> Result<String, Diagnostic> {
        let variables = Watched::new(|name: &str| self.stage.variable(name));
        let expanded = expand::expand_heredoc(body, |name| variables.get(name));
        self.note_unset(variables.asked());
        self.filled_in(expanded)
    }

    /// Counts what became of a text.
    fn filled_in(&self, expanded: Result<String, ExpandError>) -> Result<String, Diagnostic> {
        let expanded = expanded.map_err(|e| self.error(e.to_string()))?;
        self.build.budget.take(expanded.len());
        Ok(expanded)
    }

    /// Tells which variables have no value though they should. An `ARG` may be left empty.
    fn note_unset(&self, asked: Variables) {
        let is_known = |name: &str| self.stage.arg_names.contains(name) || is_no_variable(name);
        for name in asked.unset.into_iter().filter(|name| !is_known(name)) {
            let known = self.stage.env.iter().map(|(name, _)| name);
            let similar = suggest::closest(&name, known).map(str::to_owned);
            self.see(Seen::UnsetVariable { name, similar });
        }
    }

    /// Tells what this instruction shows.
    pub(crate) fn see(&self, seen: Seen) {
        self.build.log.add(self.instruction, seen);
    }

    /// The escape character of the file. The words of triggers are found with a backslash, but filled in with this one.
    pub(crate) fn escape(&self) -> char {
        self.build.escape
    }

    /// Adds a line to the history of the image.
    pub(crate) fn record(&mut self, created_by: String, has_layer: bool) {
        self.stage.config.history.push(history::entry(created_by, has_layer));
    }

    /// The text of the step, for its name. `addition` is shown behind what is written.
    pub(crate) fn text(&self, addition: &str) -> String {
        let line = format!("{}{addition}", self.instruction.logical_line);
        let variables = |name: &str| self.stage.variable(name);
        // What a shell will read keeps its quotes, and the variables that only the shell knows.
        let filled = match self.instruction.keyword {
            Keyword::Run => expand::fill_in(&line, self.escape(), variables),
            _ => expand::expand(&line, self.escape(), variables),
        };
        let text = step_name::with_upper_keyword(&filled.unwrap_or(line));
        self.build.budget.take(text.len());
        if self.is_trigger { format!("ONBUILD {text}") } else { text }
    }

    /// Adds a vertex that belongs to this instruction.
    pub(crate) fn add(&mut self, op: Op, inputs: Vec<VertexId>, name: String, ignores_cache: bool) -> VertexId {
        self.build.graph.add(Vertex {
            op,
            inputs,
            platform: self.stage.platform.clone(),
            name,
            ignores_cache,
            lines: Some(self.instruction.lines),
        })
    }

    /// The files of `from`: a stage, an image, a named context; without a name the build context.
    pub(crate) fn files_of(&mut self, from: Option<&str>) -> Result<VertexId, Diagnostic> {
        let Some(from) = from else { return Ok(self.build.main_context()) };
        let origin = self.build.stages.origin(from, self.build.inputs).map_err(|e| self.error(e))?;
        self.build.vertex_of(&origin, self.instruction.lines).map_err(|e| self.error(e))
    }

    /// As [`Step::files_of`], for mounts, where numbers are no stages.
    pub(crate) fn files_of_named(&mut self, from: &str) -> Result<VertexId, Diagnostic> {
        let origin = self.build.stages.named_origin(from, self.build.inputs).map_err(|e| self.error(e))?;
        self.build.vertex_of(&origin, self.instruction.lines).map_err(|e| self.error(e))
    }
}

/// The name in `name=value`.
fn name_of(pair: &str) -> &str {
    pair.split_once('=').map_or(pair, |(name, _)| name)
}

/// An error at `span` of `instruction`.
pub(crate) fn error_at(instruction: &Instruction, span: Span, message: impl Into<String>) -> Diagnostic {
    error_in(span, instruction.lines, message)
}

/// An error at `span`, which lies in `lines`.
pub(crate) fn error_in(span: Span, lines: LineRange, message: impl Into<String>) -> Diagnostic {
    Diagnostic { severity: Severity::Error, message: message.into(), span, lines, is_about_form: false, hint: None }
}
