//! Which stages there are, what each is based on, and which of them does the target reach?
//! (`spec/dockerfile.md` sections 3.1, 5.1 and 5.5)

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use slipway_graph::LineRange;
use slipway_graph::request::NamedContext;
use slipway_oci::{Platform, PlatformParseError, Reference};

use crate::budget::Budget;
use crate::facts::{ArgValue, FactLog, Seen, StageLinks, StagePlatform, Variables, Watched};
use crate::globals::Globals;
use crate::instructions::from::From;
use crate::instructions::{Command, Need, parse_trigger};
use crate::lower::{ImageKey, ImagePlace, ImageQuestion, KnownImages, LowerInputs, Lowered};
use crate::quote::quoted;
use crate::stage_builder::{error_at, error_in};
use crate::{Diagnostic, Dockerfile, Instruction, Span, expand, suggest};

/// The stages of a file, in its order.
pub(crate) struct Stages<'a> {
    pub(crate) stages: Vec<Stage<'a>>,
    /// The last stage of each name.
    by_name: HashMap<String, usize>,
}

/// A stage before it is lowered.
pub(crate) struct Stage<'a> {
    /// Lower case.
    pub(crate) name: Option<String>,
    pub(crate) from: &'a Instruction,
    /// The base as written, variables filled in.
    pub(crate) base_text: String,
    pub(crate) base: Origin,
    pub(crate) platform: Platform,
    pub(crate) lines: Vec<Line<'a>>,
    /// Whether a named context takes the place of the whole stage; its instructions mean nothing then.
    pub(crate) is_replaced: bool,
}

/// An instruction of a stage, of its own or from an `ONBUILD` of the base.
#[derive(Clone)]
pub(crate) struct Line<'a> {
    pub(crate) instruction: Cow<'a, Instruction>,
    pub(crate) command: Command,
    pub(crate) is_trigger: bool,
}

/// Where files come from.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    /// By index.
    Stage(usize),
    Outside(Outside),
}

/// Files that no stage makes.
#[derive(Clone, Debug)]
pub(crate) enum Outside {
    /// No files, and the config of an empty image.
    Scratch,
    /// `context` is the named context that says so, if it is one.
    Image {
        key: Box<ImageKey>,
        written: String,
        context: Option<String>,
    },
    /// A folder that is called `name`.
    Folder {
        name: String,
    },
    Url {
        name: String,
        url: String,
    },
    /// What another build makes.
    Linked(Arc<Lowered>),
}

/// A stage's instructions as the parser gives them: the `FROM` and what follows.
struct Section<'a> {
    from: &'a Instruction,
    head: From,
    lines: Vec<Line<'a>>,
}

/// What a trigger costs in each stage that it is set off by: it is parsed again there.
const PER_TRIGGER_BYTES: usize = 16 << 10;
/// The reference builder's words for an instruction in front of the first `FROM`.
const NO_STAGE: &str = "no build stage in current context";

/// Splits the instructions at `FROM`; what is in front of the first one comes first.
fn sections<'a>(
    instructions: &'a [Instruction],
    errors: &mut Vec<Diagnostic>,
) -> (Vec<(&'a Instruction, Command)>, Vec<Section<'a>>) {
    let (mut before, mut sections): (Vec<_>, Vec<Section<'a>>) = (Vec::new(), Vec::new());
    for instruction in instructions {
        let command = Command::check(instruction).map_err(Diagnostic::about_form);
        let command = match command.and_then(|command| command.check_sources(instruction)) {
            Ok(command) => command,
            Err(error) => {
                errors.push(error);
                continue;
            }
        };
        match (command, sections.last_mut()) {
            (Command::From(head), _) => sections.push(Section { from: instruction, head, lines: Vec::new() }),
            (command, Some(section)) => {
                let instruction = Cow::Borrowed(instruction);
                section.lines.push(Line { instruction, command, is_trigger: false });
            }
            (command @ Command::Arg(_), None) => before.push((instruction, command)),
            (_, None) => errors.push(error_at(instruction, instruction.span, NO_STAGE)),
        }
    }
    (before, sections)
}

/// The errors that the parser found in a file, and what else is wrong with the form of its instructions.
///
/// The first one is that which the reference builder reports: it takes all lines apart, then one instruction after the
/// other, and ends at the first mistake.
pub fn with_form_errors(dockerfile: &Dockerfile, errors: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let (mut all, malformed): (Vec<_>, Vec<_>) = errors.into_iter().partition(|error| !error.is_about_form);
    // Behind an instruction that is missing in the tree, a `FROM` may be missing, too.
    let first_malformed = malformed.iter().map(|error| error.lines.first).min().unwrap_or_default();
    let mut others = Vec::new();
    sections(&dockerfile.instructions, &mut others);
    others.retain(|error| error.is_about_form || error.lines.first < first_malformed);
    others.extend(malformed);
    others.sort_by_key(|error| error.lines.first);
    all.extend(others);
    all
}

impl<'a> Stages<'a> {
    /// Finds the stages and the variables that `FROM` lines see.
    pub(crate) fn split(
        instructions: &'a [Instruction],
        escape: char,
        inputs: &LowerInputs<'_>,
        log: &FactLog,
    ) -> Result<(Stages<'a>, Globals), Vec<Diagnostic>> {
        let mut errors = Vec::new();
        let (before, sections) = sections(instructions, &mut errors);
        if !errors.is_empty() {
            log.close();
        }
        let last_name = sections.last().and_then(|s| s.head.name.as_deref());
        let target_stage = inputs.target.or(last_name).unwrap_or("default");
        let mut globals = Globals::of_platforms(inputs, target_stage);
        note_default_bases(&before, &sections, escape, globals.clone(), log);
        for (instruction, command) in &before {
            let seen = |arg, uses| log.add(instruction, Seen::GlobalArg { arg, uses });
            errors.extend(declare(instruction, command, escape, inputs.build_args, &mut globals, seen).err());
        }
        let declared: Vec<&str> = before.iter().flat_map(|(_, command)| command.declared_args()).collect();
        let is_declared = declared.iter().copied().collect();
        let head = Head { escape, inputs, globals: &globals, declared: &declared, is_declared, log };
        let mut stages = Stages { stages: Vec::new(), by_name: HashMap::new() };
        for (index, section) in sections.into_iter().enumerate() {
            log.begin_stage(index);
            match stages.resolve(section, &head) {
                Ok(stage) => stages.push(stage),
                Err(error) => {
                    log.close();
                    errors.push(error);
                }
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        if stages.stages.is_empty() {
            let lines = LineRange { first: 1, last: 1 };
            return Err(vec![error_in(Span::default(), lines, "dockerfile contains no stages to build")]);
        }
        let missing = stages.missing_indexes();
        if !missing.is_empty() {
            return Err(missing);
        }
        match stages.find_cycle(inputs) {
            Some(error) => Err(vec![error]),
            None => Ok((stages, globals)),
        }
    }

    /// Errors at each `COPY --from=9` of a file with fewer stages, those of stages that nothing needs among them.
    fn missing_indexes(&self) -> Vec<Diagnostic> {
        let mut errors = Vec::new();
        for line in self.stages.iter().flat_map(|stage| &stage.lines) {
            let numbers = line.command.needs().into_iter().filter_map(|need| match need {
                Need::Copied(from) => self.numbered_stage(from),
                Need::Mounted { .. } => None,
            });
            let messages = numbers.filter_map(Result::err);
            errors.extend(messages.map(|message| error_at(&line.instruction, line.instruction.span, message)));
        }
        errors
    }

    /// The index of the stage that a number means; `None` if `text` is no number.
    fn numbered_stage(&self, text: &str) -> Option<Result<usize, String>> {
        let number = text.parse::<i64>().ok()?;
        let index = usize::try_from(number).ok().filter(|index| *index < self.stages.len());
        Some(index.ok_or_else(|| format!("invalid stage index {number}")))
    }

    /// Works out what a stage is based on, with the stages so far in sight.
    fn resolve(&self, section: Section<'a>, before: &Head<'_>) -> Result<Stage<'a>, Diagnostic> {
        let inputs = before.inputs;
        let Section { from, head, lines } = section;
        let error = |message: String| error_at(from, head.base.span, message);
        let (base_text, variables) = before.fill_in(&head.base.text, from).map_err(error)?;
        if base_text.is_empty() {
            return Err(error(format!("base name ({}) should not be blank", head.base.text)));
        }
        before.log.add(from, Seen::FromVariables(variables.set));
        let asked = match &head.platform {
            Some(written) => {
                let (value, variables) = before.fill_in(written, from).map_err(error)?;
                before.note_platform(&head, written, &value, variables, from);
                Some(platform_of(written, &value).map_err(error)?)
            }
            None => None,
        };
        let platform = asked.unwrap_or_else(|| inputs.target_platform.clone());
        let replacement = match head.name.as_deref() {
            Some(name) => context_called(name, &platform, inputs).map_err(error)?,
            None => None,
        };
        let earlier = self.index_of(&base_text);
        let is_replaced = replacement.is_some();
        let (base, platform) = match (replacement, earlier) {
            (Some(outside), _) => (Origin::Outside(outside), platform),
            // A stage that is based on another one runs where that one runs.
            (None, Some(index)) => (Origin::Stage(index), self.stages[index].platform.clone()),
            (None, None) => {
                let outside = outside(&base_text, &platform, inputs).map_err(error)?;
                // As in the reference: what has no files is for the platform that is built for.
                let has_files = !matches!(outside, Outside::Scratch);
                let platform = if has_files { platform } else { inputs.target_platform.clone() };
                (Origin::Outside(outside), platform)
            }
        };
        let lines = if is_replaced { Vec::new() } else { lines };
        Ok(Stage { name: head.name, from, base_text, base, platform, lines, is_replaced })
    }

    /// The last stage of that name, in whatever case.
    pub(crate) fn called(&self, name: &str) -> Option<&Stage<'a>> {
        self.index_of(&name.to_lowercase()).map(|index| &self.stages[index])
    }

    /// The stage to build.
    pub(crate) fn target(&self, wanted: Option<&str>) -> Result<usize, Diagnostic> {
        let Some(wanted) = wanted else { return Ok(self.stages.len() - 1) };
        let name = wanted.to_lowercase();
        self.index_of(&name).ok_or_else(|| {
            let names = self.stages.iter().filter_map(|stage| stage.name.as_deref());
            let closest = suggest::closest(&name, names);
            let tail = closest.map(|name| format!(" (did you mean {name}?)")).unwrap_or_default();
            let from = self.stages[self.stages.len() - 1].from;
            let message = format!("target stage {} could not be found{tail}", quoted(wanted));
            Diagnostic {
                hint: closest.map(|name| format!("did you mean `{name}`?")),
                ..error_at(from, from.span, message)
            }
        })
    }

    fn push(&mut self, stage: Stage<'a>) {
        if let Some(name) = &stage.name {
            self.by_name.insert(name.clone(), self.stages.len());
        }
        self.stages.push(stage);
    }

    /// The last stage that is called `name`.
    fn index_of(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// What `--from=text` means: the number of a stage, or a name.
    pub(crate) fn origin(&self, text: &str, inputs: &LowerInputs<'_>) -> Result<Origin, String> {
        match self.numbered_stage(text) {
            Some(index) => index.map(Origin::Stage),
            None => self.named_origin(text, inputs),
        }
    }

    /// What a name means: a stage, a named context, `scratch` or an image.
    pub(crate) fn named_origin(&self, name: &str, inputs: &LowerInputs<'_>) -> Result<Origin, String> {
        match self.index_of(&name.to_lowercase()) {
            Some(index) => Ok(Origin::Stage(index)),
            None => outside(name, &inputs.target_platform, inputs).map(Origin::Outside),
        }
    }

    pub(crate) fn origin_of_need(&self, need: Need<'_>, inputs: &LowerInputs<'_>) -> Result<Origin, String> {
        match need {
            Need::Copied(from) => self.origin(from, inputs),
            Need::Mounted { from, .. } => self.named_origin(from, inputs),
        }
    }

    /// How the stage is called in step names and messages.
    pub(crate) fn display_name(&self, index: usize) -> String {
        self.stages[index].name.clone().unwrap_or_else(|| format!("stage-{index}"))
    }

    /// An error for the first stage that leads to one which needs itself, directly or through others: at the last
    /// instruction that closes the circle.
    fn find_cycle(&self, inputs: &LowerInputs<'_>) -> Option<Diagnostic> {
        let needs: Vec<Vec<usize>> = self
            .stages
            .iter()
            .map(|stage| stage.lines.iter().flat_map(|line| self.stages_of(&line.command, inputs)).collect())
            .collect();
        let cycle = first_cycle(&needs)?;
        let stage = &self.stages[cycle.from];
        let closing = stage.lines.iter().rfind(|line| self.stages_of(&line.command, inputs).any(|to| to == cycle.to));
        let at = closing.map_or(stage.from, |line| line.instruction.as_ref());
        let message = format!("circular dependency detected on stage: {}", self.display_name(cycle.start));
        Some(error_at(at, at.span, message))
    }

    /// The stages that an instruction names, by index. Bases are none of them: those are always stages before.
    fn stages_of<'c>(&'c self, command: &'c Command, inputs: &'c LowerInputs<'_>) -> impl Iterator<Item = usize> {
        command.needs().into_iter().filter_map(|need| match self.origin_of_need(need, inputs).ok()? {
            Origin::Stage(index) => Some(index),
            Origin::Outside(_) => None,
        })
    }
}

/// A circle in a graph.
struct Cycle {
    /// The first node that leads into it.
    start: usize,
    /// The edge that closes it.
    from: usize,
    to: usize,
}

/// The first circle of a graph, given by the edges of each node.
fn first_cycle(needs: &[Vec<usize>]) -> Option<Cycle> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        OnPath,
        Done,
    }
    let mut marks = vec![Mark::New; needs.len()];
    for start in 0..needs.len() {
        if marks[start] != Mark::New {
            continue;
        }
        marks[start] = Mark::OnPath;
        let mut path = vec![(start, needs[start].iter())];
        while let Some((index, rest)) = path.last_mut() {
            match rest.next().map(|need| (*need, marks[*need])) {
                Some((to, Mark::OnPath)) => return Some(Cycle { start, from: *index, to }),
                Some((need, Mark::New)) => {
                    marks[need] = Mark::OnPath;
                    path.push((need, needs[need].iter()));
                }
                Some((_, Mark::Done)) => {}
                None => {
                    marks[*index] = Mark::Done;
                    path.pop();
                }
            }
        }
    }
    None
}

/// What all `FROM` lines see.
struct Head<'h> {
    escape: char,
    inputs: &'h LowerInputs<'h>,
    globals: &'h Globals,
    /// The args that are declared in front of the first stage, also those without a value.
    declared: &'h [&'h str],
    is_declared: HashSet<&'h str>,
    log: &'h FactLog,
}

impl Head<'_> {
    /// `text` of the `FROM` line `from` with variables filled in, and which those were.
    fn fill_in(&self, text: &str, from: &Instruction) -> Result<(String, Variables), String> {
        let variables = Watched::new(|name: &str| self.globals.get(name));
        let filled = expand::expand(text, self.escape, |name| variables.get(name));
        let asked = variables.asked();
        for name in asked.unset.iter().filter(|name| !self.is_declared.contains(name.as_str())) {
            let known = self.declared.iter().copied().chain(self.globals.names());
            let similar = suggest::closest(name, known).map(str::to_owned);
            self.log.add(from, Seen::UndeclaredArg { name: name.clone(), similar });
        }
        filled.map(|filled| (filled, asked)).map_err(|e| e.to_string())
    }

    fn note_platform(&self, head: &From, written: &str, value: &str, variables: Variables, from: &Instruction) {
        self.log.add(from, Seen::FromVariables(variables.set.clone()));
        let platform = StagePlatform {
            written: written.to_owned(),
            value: value.to_owned(),
            variables,
            stage_name: head.name.clone(),
            target: self.globals.get("TARGETPLATFORM").unwrap_or_default(),
        };
        self.log.add(from, Seen::StagePlatform(platform));
    }
}

/// Tells what the bases would be without any build arg; nothing, if that is a mistake.
fn note_default_bases(
    before: &[(&Instruction, Command)],
    sections: &[Section<'_>],
    escape: char,
    mut globals: Globals,
    log: &FactLog,
) {
    let no_args = BTreeMap::new();
    for (instruction, command) in before {
        if declare(instruction, command, escape, &no_args, &mut globals, |_, _| ()).is_err() {
            return;
        }
    }
    for Section { from, head, .. } in sections {
        let Ok(value) = expand::expand(&head.base.text, escape, |name| globals.get(name)) else { return };
        log.add(from, Seen::DefaultBase { written: head.base.text.clone(), value });
    }
}

/// An `ARG` in front of the first `FROM`. `seen` is told of each name, and of the variables in its default.
fn declare(
    instruction: &Instruction,
    command: &Command,
    escape: char,
    build_args: &BTreeMap<String, String>,
    globals: &mut Globals,
    seen: impl Fn(ArgValue, Vec<String>),
) -> Result<(), Diagnostic> {
    let error = |message: String| error_at(instruction, instruction.span, message);
    let Command::Arg(arg) = command else { return Ok(()) };
    for (name, default) in arg.declared() {
        let (value, uses) = match (build_args.get(name), default) {
            (Some(given), _) => (Some(given.clone()), Vec::new()),
            (None, Some(default)) => {
                let variables = Watched::new(|name: &str| globals.get(name));
                let value = expand::expand(default, escape, |name| variables.get(name));
                (Some(value.map_err(|e| error(e.to_string()))?), variables.asked().set)
            }
            (None, None) => (None, Vec::new()),
        };
        let description = instruction.description_of(name);
        let value_or_none = value.clone().unwrap_or_default();
        seen(ArgValue { name: name.to_owned(), value: value_or_none, description }, uses);
        if let Some(value) = value {
            globals.set(name, value);
        }
    }
    Ok(())
}

fn platform_of(written: &str, text: &str) -> Result<Platform, String> {
    if text.is_empty() {
        return Err(format!("empty platform value from expression {written}"));
    }
    let invalid = |reason: PlatformParseError| format!("failed to parse platform {written}: {reason}");
    // Only the command line knows `local`.
    if text == "local" {
        return Err(invalid(PlatformParseError::Unknown { text: text.to_owned() }));
    }
    text.parse().map_err(invalid)
}

/// What a name that is no stage means.
fn outside(name: &str, platform: &Platform, inputs: &LowerInputs<'_>) -> Result<Outside, String> {
    if name == "scratch" {
        return Ok(Outside::Scratch);
    }
    if let Some(outside) = context_called(name, platform, inputs)? {
        return Ok(outside);
    }
    let reference: Reference = name.parse().map_err(|e| format!("failed to parse stage name {}: {e}", quoted(name)))?;
    Ok(image(&reference, name, platform, None))
}

fn image(reference: &Reference, written: &str, platform: &Platform, context: Option<String>) -> Outside {
    let place = ImagePlace::Reference(reference.with_default_tag());
    Outside::Image {
        key: Box::new(ImageKey { place, platform: platform.clone() }),
        written: written.to_owned(),
        context,
    }
}

/// The named context that stands for `name` on `platform`.
pub(crate) fn context_called(
    name: &str,
    platform: &Platform,
    inputs: &LowerInputs<'_>,
) -> Result<Option<Outside>, String> {
    if ["scratch", "context"].contains(&name) {
        return Ok(None);
    }
    let Ok(reference) = name.parse::<Reference>() else { return Ok(None) };
    let familiar = reference.familiar();
    let familiar = familiar.strip_suffix(":latest").unwrap_or(&familiar);
    let specific = format!("{familiar}::{platform}");
    let key = [specific.as_str(), familiar].into_iter().find(|key| inputs.named_contexts.contains_key(*key));
    let Some(key) = key else { return Ok(None) };
    let name = key.to_owned();
    Ok(Some(match &inputs.named_contexts[key] {
        NamedContext::Folder(_) => Outside::Folder { name },
        NamedContext::Image(None) => Outside::Scratch,
        NamedContext::Image(Some(reference)) => image(reference, &name, platform, Some(name.clone())),
        NamedContext::OciLayout { path, tag, digest } => {
            let place = ImagePlace::OciLayout {
                name: familiar.to_owned(),
                path: path.clone(),
                tag: tag.clone(),
                digest: digest.clone(),
            };
            Outside::Image {
                key: Box::new(ImageKey { place, platform: platform.clone() }),
                written: name.clone(),
                context: Some(name),
            }
        }
        NamedContext::Url(url) => Outside::Url { name, url: url.clone() },
        NamedContext::Target(target) => {
            let images = inputs.linked.get(target);
            let images = images.ok_or_else(|| format!("context {name}: there is no target {}", quoted(target)))?;
            let missing = || format!("context {name}: target {} is not built for {platform}", quoted(target));
            Outside::Linked(Arc::clone(images.image(platform).ok_or_else(missing)?))
        }
    }))
}

/// The stages that have to be lowered, and with which instructions.
pub(crate) struct Plan<'a> {
    /// Indexes of stages, bases first, each with its instructions, triggers of the base in front.
    pub(crate) stages: Vec<(usize, Vec<Line<'a>>)>,
    /// Images that have to be known first.
    pub(crate) questions: Vec<ImageQuestion>,
    asked: HashSet<ImageKey>,
}

impl<'a> Stages<'a> {
    /// What the stages `targets` reach, as far as that can be told with the images that are `known`.
    pub(crate) fn plan(
        &self,
        targets: Vec<usize>,
        inputs: &LowerInputs<'_>,
        known: &KnownImages,
        budget: &Budget,
    ) -> Result<Plan<'a>, Vec<Diagnostic>> {
        let mut plan = Plan { stages: Vec::new(), questions: Vec::new(), asked: HashSet::new() };
        let mut errors = Vec::new();
        let mut seen: BTreeSet<usize> = targets.iter().copied().collect();
        let mut open = targets;
        while let Some(index) = open.pop() {
            let lines = match self.lines_of(index, known, budget) {
                Ok(lines) => lines,
                Err(error) => {
                    errors.push(error);
                    continue;
                }
            };
            let mut needed = vec![(self.stages[index].base.clone(), self.stages[index].from)];
            for line in &lines {
                for need in line.command.needs() {
                    match self.usable(need, index, inputs) {
                        Ok(origin) => needed.push((origin, line.instruction.as_ref())),
                        Err(message) => errors.push(error_at(&line.instruction, line.instruction.span, message)),
                    }
                }
            }
            for (origin, instruction) in needed {
                match origin {
                    Origin::Stage(other) if seen.insert(other) => open.push(other),
                    Origin::Stage(_) => {}
                    Origin::Outside(outside) => plan.ask(outside, instruction, known),
                }
            }
            plan.stages.push((index, lines));
        }
        plan.stages.sort_by_key(|(index, _)| *index);
        if errors.is_empty() { Ok(plan) } else { Err(errors) }
    }

    /// What `need` of stage `current` stands for, if that is there when the stage is built.
    fn usable(&self, need: Need<'_>, current: usize, inputs: &LowerInputs<'_>) -> Result<Origin, String> {
        let origin = self.origin_of_need(need, inputs)?;
        match (&origin, need) {
            (Origin::Stage(index), _) if *index < current => Ok(origin),
            // The stages of triggers are not known when cycles are looked for.
            (Origin::Stage(index), _) if *index == current => {
                Err(format!("circular dependency detected on stage: {}", self.display_name(current)))
            }
            (Origin::Stage(_), Need::Copied(from)) => Err(format!(
                "cannot copy from stage {}, it needs to be defined before current stage {}",
                quoted(from),
                quoted(&self.display_name(current))
            )),
            (Origin::Stage(_), Need::Mounted { from, target }) => Err(format!(
                "cannot mount from stage {} to {}, stage needs to be defined before current command",
                quoted(from),
                quoted(target)
            )),
            (Origin::Outside(_), _) => Ok(origin),
        }
    }

    /// The triggers of the base, then the stage's own instructions.
    fn lines_of(&self, index: usize, known: &KnownImages, budget: &Budget) -> Result<Vec<Line<'a>>, Diagnostic> {
        let stage = &self.stages[index];
        if stage.is_replaced {
            return Ok(Vec::new());
        }
        let mut lines = Vec::new();
        for trigger in self.triggers_of(&stage.base, known) {
            budget.take(PER_TRIGGER_BYTES + trigger.len());
            budget.check().map_err(|message| error_at(stage.from, stage.from.span, message))?;
            let (instruction, command) = parse_trigger(&trigger, stage.from)?;
            lines.push(Line { instruction: Cow::Owned(instruction), command, is_trigger: true });
        }
        lines.extend(stage.lines.iter().cloned());
        Ok(lines)
    }

    /// How many stages of `plan` are based on each stage.
    pub(crate) fn n_uses_as_base(&self, plan: &Plan<'_>) -> HashMap<usize, usize> {
        let mut n_uses = HashMap::new();
        for (index, _) in &plan.stages {
            if let Origin::Stage(base) = &self.stages[*index].base {
                *n_uses.entry(*base).or_default() += 1;
            }
        }
        n_uses
    }

    /// How the stages of `plan` hang together.
    pub(crate) fn links(&self, plan: &Plan<'_>, inputs: &LowerInputs<'_>) -> Vec<StageLinks> {
        let stage = |origin: Origin| match origin {
            Origin::Stage(index) => Some(index),
            Origin::Outside(_) => None,
        };
        let mut links = vec![StageLinks::default(); self.stages.len()];
        for (index, lines) in &plan.stages {
            let needs = lines.iter().flat_map(|line| line.command.needs());
            links[*index] = StageLinks {
                base: stage(self.stages[*index].base.clone()),
                needs: needs.filter_map(|need| self.origin_of_need(need, inputs).ok().and_then(stage)).collect(),
            };
        }
        links
    }

    fn triggers_of(&self, base: &Origin, known: &KnownImages) -> Vec<String> {
        let of_image = |key: &ImageKey| known.get(key).map(|image| image.config.config.on_build.clone());
        match base {
            Origin::Stage(base) if !self.stages[*base].is_replaced => {
                let commands = self.stages[*base].lines.iter().map(|line| &line.command);
                commands.filter_map(Command::trigger).map(str::to_owned).collect()
            }
            Origin::Stage(base) => self.triggers_of(&self.stages[*base].base, known),
            Origin::Outside(Outside::Image { key, .. }) => of_image(key).unwrap_or_default(),
            Origin::Outside(Outside::Linked(image)) => image.config.config.on_build.clone(),
            Origin::Outside(Outside::Scratch | Outside::Folder { .. } | Outside::Url { .. }) => Vec::new(),
        }
    }
}

impl Plan<'_> {
    /// Asks for an image, unless it is known or asked for already.
    fn ask(&mut self, outside: Outside, instruction: &Instruction, known: &KnownImages) {
        let Outside::Image { key, written, .. } = outside else { return };
        if known.contains_key(&*key) || !self.asked.insert((*key).clone()) {
            return;
        }
        self.questions.push(ImageQuestion { key: *key, written, lines: instruction.lines });
    }
}
