//! The syntax tree: what is written, before anything is expanded or checked against the meaning of an instruction.

use slipway_graph::LineRange;

use crate::Span;

/// A parsed Dockerfile. Lines that could not be understood are missing here and present in the diagnostics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dockerfile {
    /// The whole text, which all spans point into.
    pub text: String,
    pub directives: Directives,
    pub instructions: Vec<Instruction>,
}

/// Parser directives (`spec/dockerfile.md` section 1.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directives {
    /// Value of `# syntax=` up to the first blank.
    pub syntax: Option<Word>,
    /// `\` or a backtick.
    pub escape: char,
    /// Value of `# check=`.
    pub check: Option<Word>,
}

impl Default for Directives {
    fn default() -> Self {
        Directives { syntax: None, escape: '\\', check: None }
    }
}

/// A piece of text and where it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word {
    pub text: String,
    pub span: Span,
}

/// One instruction with its flags, arguments and heredocs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    pub keyword: Keyword,
    /// The keyword as written.
    pub keyword_word: Word,
    pub flags: Vec<Flag>,
    pub args: Args,
    /// In the order of their words on the line (`RUN`, `COPY`, `ADD` and those inside `ONBUILD`).
    pub heredocs: Vec<Heredoc>,
    /// The logical line (continuations joined, comments dropped), trimmed, keyword and flags included.
    pub logical_line: String,
    /// All physical lines, heredoc bodies included.
    pub lines: LineRange,
    /// From the keyword to the end of the last line that is no heredoc body.
    pub span: Span,
    /// Comments right above it, without `#`.
    pub comments: Vec<String>,
    /// Whether an empty line interrupts a continuation.
    pub has_empty_continuation: bool,
}

impl Instruction {
    /// What the comments above say of `name`: the rest of the first one that begins with it
    /// (`spec/dockerfile.md` section 1.2).
    pub fn description_of(&self, name: &str) -> Option<String> {
        let rest = |comment: &String| Some(comment.strip_prefix(name)?.strip_prefix(' ')?.to_owned());
        self.comments.iter().find_map(rest)
    }
}

/// `--name` or `--name=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    pub name: String,
    pub value: Option<String>,
    pub span: Span,
}

/// The arguments in the form that the instruction takes them (`spec/dockerfile.md` section 1.5, table 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Args {
    /// `["a", "b"]`.
    Json(Vec<Word>),
    /// Blank-separated words (`ADD COPY VOLUME EXPOSE FROM ARG`); quotes and escapes are kept.
    Words(Vec<Word>),
    /// The rest of the line as it stands (`RUN CMD ENTRYPOINT SHELL MAINTAINER STOPSIGNAL USER WORKDIR`).
    Raw(Word),
    /// `key=value` pairs (`ENV LABEL`), quotes and escapes kept. `is_legacy` is the form `ENV key value`.
    Pairs { pairs: Vec<(Word, Word)>, is_legacy: bool },
    /// `HEALTHCHECK type …`: the type, then a JSON array or raw text.
    Typed { kind: Word, rest: Box<Args> },
    /// `ONBUILD`: the instruction that is kept for later, and its text as it is stored.
    Trigger(Word),
}

/// A heredoc and its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heredoc {
    /// The delimiter without quotes.
    pub name: String,
    /// The file-descriptor digits in front of `<<`, if any.
    pub descriptor: Option<u32>,
    /// Whether the body is subject to `$` expansion (no part of the delimiter is quoted).
    pub expands: bool,
    /// `<<-`: leading tabs are dropped.
    pub strips_tabs: bool,
    /// The body without the terminator line; tabs not yet stripped.
    pub body: String,
    /// The terminator line as written, and the body's place.
    pub body_span: Span,
    /// The word on the instruction line, as written (`<<-"EOF"`).
    pub word: Word,
}

impl Heredoc {
    /// The body with the leading tabs of its lines dropped, where `<<-` says so.
    pub fn stripped_body(&self) -> String {
        if !self.strips_tabs {
            return self.body.clone();
        }
        self.body.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
    }
}

macro_rules! keywords {
    ($($name:ident $text:literal),* $(,)?) => {
        /// The instructions of the language.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Keyword { $($name),* }

        impl Keyword {
            /// All of them, in alphabetical order.
            pub const ALL: &[Keyword] = &[$(Keyword::$name),*];

            /// Upper-case spelling.
            pub fn as_str(self) -> &'static str {
                match self { $(Keyword::$name => $text),* }
            }

            /// The keyword that `word` spells, in any case.
            pub fn of(word: &str) -> Option<Keyword> {
                Keyword::ALL.iter().copied().find(|k| k.as_str().eq_ignore_ascii_case(word))
            }
        }
    };
}

keywords! {
    Add "ADD", Arg "ARG", Cmd "CMD", Copy "COPY", Entrypoint "ENTRYPOINT", Env "ENV", Expose "EXPOSE", From "FROM",
    Healthcheck "HEALTHCHECK", Label "LABEL", Maintainer "MAINTAINER", Onbuild "ONBUILD", Run "RUN", Shell "SHELL",
    Stopsignal "STOPSIGNAL", User "USER", Volume "VOLUME", Workdir "WORKDIR",
}
