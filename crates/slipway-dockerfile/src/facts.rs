//! What lowering sees on its way and the graph does not show. Lint rules judge it; lowering itself has no opinion.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use slipway_graph::LineRange;
use slipway_oci::Platform;

use crate::{Instruction, Keyword, Span};

/// Everything that was seen, in the order of the file, up to the first mistake.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub(crate) facts: Vec<Fact>,
    /// The file could be parsed.
    pub(crate) is_lowered: bool,
    /// How stages hang together, by index; empty if lowering did not get so far.
    pub(crate) stages: Vec<StageLinks>,
    /// The stage to build.
    pub(crate) target: Option<usize>,
}

/// What a stage takes from other stages, by index.
#[derive(Clone, Debug, Default)]
pub(crate) struct StageLinks {
    pub(crate) base: Option<usize>,
    pub(crate) needs: Vec<usize>,
}

/// One thing that was seen.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    /// The index of the stage.
    pub(crate) stage: usize,
    pub(crate) place: Place,
    pub(crate) seen: Seen,
}

/// The instruction at which something was seen.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) keyword: Keyword,
    /// The keyword as written.
    pub(crate) written_keyword: String,
    pub(crate) span: Span,
    pub(crate) lines: LineRange,
    /// What a comment `# check=` right above it says.
    pub(crate) check: Option<String>,
}

impl Place {
    pub(crate) fn of(instruction: &Instruction) -> Place {
        let check = instruction.comments.iter().find_map(|comment| comment.strip_prefix("check="));
        Place {
            keyword: instruction.keyword,
            written_keyword: instruction.keyword_word.text.clone(),
            span: instruction.span,
            lines: instruction.lines,
            check: check.map(|text| text.split(' ').next().unwrap_or(text).to_owned()),
        }
    }
}

/// What was seen.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    /// The base of a `FROM` if no build args were given.
    DefaultBase { written: String, value: String },
    /// A `FROM` uses a variable that nothing declares.
    UndeclaredArg { name: String, similar: Option<String> },
    /// The variables that a `FROM` uses.
    FromVariables(Vec<String>),
    /// An `ARG` in front of the first stage, and the variables in its default. `value` is empty if there is none.
    GlobalArg { arg: ArgValue, uses: Vec<String> },
    /// `FROM --platform`.
    StagePlatform(StagePlatform),
    /// A base image is for another platform than its stage.
    ForeignBase { image: String, pulled: Platform, expected: Platform },
    /// A variable that is used has no value.
    UnsetVariable { name: String, similar: Option<String> },
    /// A pair of `ENV` or `LABEL`.
    Pair { key: String, is_legacy: bool },
    /// A name that `ARG` declares.
    Arg { name: String },
    /// An `ARG` that does not take its value over from in front of the first stage.
    OwnArg(ArgValue),
    /// `RUN --mount=type=secret`.
    Secret { id: String, is_required: bool },
    /// `RUN --mount=type=ssh`.
    Ssh { id: String, is_required: bool },
    /// `is_mapping`: an address or a port of the host is given, too.
    Port { text: String, protocol: String, is_mapping: bool },
    /// `is_first`: neither this stage nor one that it is based on has had another `WORKDIR`.
    Workdir { path: String, is_first: bool },
    /// `CMD`, `ENTRYPOINT` and `HEALTHCHECK`. `needs_default_shell`: in shell form, and no `SHELL` says which.
    Command { needs_default_shell: bool },
    /// A path of the build context that is copied.
    ContextPath(String),
}

/// A name, what it stands for in this build, and what the comment above says of it.
#[derive(Clone, Debug)]
pub(crate) struct ArgValue {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) description: Option<String>,
}

/// The platform that a `FROM` asks for.
#[derive(Clone, Debug)]
pub(crate) struct StagePlatform {
    pub(crate) written: String,
    /// With variables filled in.
    pub(crate) value: String,
    pub(crate) variables: Variables,
    pub(crate) stage_name: Option<String>,
    /// The platform of the build.
    pub(crate) target: String,
}

/// The variables that a text uses, each once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Variables {
    pub(crate) set: Vec<String>,
    pub(crate) unset: Vec<String>,
}

/// Looks variables up in `variables`, and remembers which were asked for.
pub(crate) struct Watched<V> {
    variables: V,
    asked: RefCell<Variables>,
    known: RefCell<HashSet<String>>,
}

impl<V: Fn(&str) -> Option<String>> Watched<V> {
    pub(crate) fn new(variables: V) -> Watched<V> {
        Watched { variables, asked: RefCell::default(), known: RefCell::default() }
    }

    pub(crate) fn get(&self, name: &str) -> Option<String> {
        let value = (self.variables)(name);
        if self.known.borrow_mut().insert(name.to_owned()) {
            let mut asked = self.asked.borrow_mut();
            let names = if value.is_some() { &mut asked.set } else { &mut asked.unset };
            names.push(name.to_owned());
        }
        value
    }

    pub(crate) fn asked(self) -> Variables {
        self.asked.into_inner()
    }
}

/// Takes facts while a file is lowered. Written to through shared references: those who expand words only look.
#[derive(Debug, Default)]
pub(crate) struct FactLog {
    facts: RefCell<Vec<Fact>>,
    stage: Cell<usize>,
    is_closed: Cell<bool>,
    stages: RefCell<Vec<StageLinks>>,
    target: Cell<Option<usize>>,
}

impl FactLog {
    /// What follows belongs to the stage `index`.
    pub(crate) fn begin_stage(&self, index: usize) {
        self.stage.set(index);
    }

    /// A mistake was found. The reference builder stops there, and so does what is known of the file.
    pub(crate) fn close(&self) {
        self.is_closed.set(true);
    }

    pub(crate) fn add(&self, instruction: &Instruction, seen: Seen) {
        if !self.is_closed.get() {
            let fact = Fact { stage: self.stage.get(), place: Place::of(instruction), seen };
            self.facts.borrow_mut().push(fact);
        }
    }

    /// Tells how stages hang together.
    pub(crate) fn link(&self, stages: Vec<StageLinks>, target: usize) {
        *self.stages.borrow_mut() = stages;
        self.target.set(Some(target));
    }

    pub(crate) fn into_facts(self) -> Facts {
        let (facts, stages) = (self.facts.into_inner(), self.stages.into_inner());
        Facts { facts, is_lowered: true, stages, target: self.target.get() }
    }
}
