//! From the text behind a keyword and its flags to [`Args`], in the form that the keyword takes
//! (`spec/dockerfile.md` sections 1.5 and 1.8).

use crate::quote::quoted;
use crate::suggest::closest;
use crate::{Args, Keyword, Word};

use super::json::{self, NotStrings};
use super::lines::Fragment;
use super::words::{blank_separated, shell_like, split_first, split_flags};

/// Arguments that do not have the form which their instruction takes.
#[derive(Debug, thiserror::Error)]
pub(super) enum ArgumentError {
    #[error(transparent)]
    NotStrings(#[from] NotStrings),
    #[error("{keyword} must have two arguments")]
    NoValue { keyword: &'static str },
    #[error("Syntax error - can't find = in {}. Must be of the form: name=value", quoted(word))]
    NoEqualsSign { word: String },
    #[error("{keyword} names can not be blank")]
    BlankName { keyword: &'static str },
    #[error("{keyword} requires at least one argument")]
    None { keyword: &'static str },
    #[error("{keyword} requires exactly one argument")]
    NotOne { keyword: &'static str },
    #[error(
        "{keyword} requires at least two arguments, but only one was provided. Destination could not be determined"
    )]
    NoDestination { keyword: &'static str },
    #[error("FROM requires either one or three arguments")]
    NotFrom,
    #[error("SHELL requires the arguments to be in JSON form")]
    NotJson,
    #[error("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")]
    ChainedTrigger,
    #[error("{keyword} isn't allowed as an ONBUILD trigger")]
    NotATrigger { keyword: &'static str },
}

/// Splits the arguments of `keyword`. Only what cannot be split is an error here; [`check`] does the rest.
///
/// `ONBUILD` gets its text with heredoc bodies later, for they are not read yet.
pub(super) fn split(keyword: Keyword, arguments: &Fragment<'_>, escape: char) -> Result<Args, ArgumentError> {
    match keyword {
        Keyword::Add | Keyword::Copy | Keyword::Volume => Ok(match json::strings(arguments)? {
            Some(strings) => Args::Json(strings),
            None => Args::Words(words(blank_separated(arguments))),
        }),
        Keyword::Run | Keyword::Cmd | Keyword::Entrypoint | Keyword::Shell => json_or_raw(arguments),
        Keyword::Healthcheck => health_check(arguments),
        Keyword::Env | Keyword::Label => pairs(keyword, arguments, escape),
        Keyword::Arg => Ok(Args::Words(words(shell_like(arguments, escape)))),
        Keyword::Expose | Keyword::From => Ok(Args::Words(words(blank_separated(arguments)))),
        Keyword::Maintainer | Keyword::Stopsignal | Keyword::User | Keyword::Workdir => Ok(Args::Raw(arguments.word())),
        Keyword::Onbuild => trigger(arguments, escape),
    }
}

fn words(fragments: Vec<Fragment<'_>>) -> Vec<Word> {
    fragments.iter().map(Fragment::word).collect()
}

fn json_or_raw(arguments: &Fragment<'_>) -> Result<Args, ArgumentError> {
    Ok(match json::strings(arguments)? {
        Some(strings) => Args::Json(strings),
        None => Args::Raw(arguments.word()),
    })
}

fn health_check(arguments: &Fragment<'_>) -> Result<Args, ArgumentError> {
    let text = arguments.text();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let rest = json_or_raw(&arguments.from(end).trimmed())?;
    Ok(Args::Typed { kind: arguments.part(0..end).word(), rest: Box::new(rest) })
}

fn pairs(keyword: Keyword, arguments: &Fragment<'_>, escape: char) -> Result<Args, ArgumentError> {
    let fragments = shell_like(arguments, escape);
    if fragments.first().is_some_and(|first| !first.text().contains('=')) {
        let (key, value) = split_first(arguments);
        let value = value.ok_or(ArgumentError::NoValue { keyword: keyword.as_str() })?;
        return Ok(Args::Pairs { pairs: vec![(key.word(), value.word())], is_legacy: true });
    }
    let pairs = fragments.iter().map(|fragment| {
        let text = fragment.text();
        let sign = text.find('=').ok_or_else(|| ArgumentError::NoEqualsSign { word: text.to_owned() })?;
        Ok((fragment.part(0..sign).word(), fragment.from(sign + 1).word()))
    });
    Ok(Args::Pairs { pairs: pairs.collect::<Result<_, ArgumentError>>()?, is_legacy: false })
}

/// The trigger must fall into arguments; whether they are the right ones is looked at when it is used. That also goes
/// for a trigger of a trigger of a trigger, which no recursion may follow.
fn trigger(arguments: &Fragment<'_>, escape: char) -> Result<Args, ArgumentError> {
    let mut inner = arguments.clone();
    loop {
        let (keyword, rest) = split_first(&inner);
        let keyword = Keyword::of(keyword.text());
        let (_, rest) = split_flags(&rest.unwrap_or_else(|| inner.from(inner.text().len())), escape);
        match keyword {
            Some(Keyword::Onbuild) => inner = rest,
            Some(keyword) => {
                split(keyword, &rest, escape)?;
                break;
            }
            None => break,
        }
    }
    Ok(Args::Trigger(arguments.word()))
}

/// Whether there are as many arguments as `keyword` takes, and none that must have a name is without.
pub(super) fn check(keyword: Keyword, has_flags: bool, args: &Args) -> Result<(), ArgumentError> {
    // These know no flags, and that is said before anything about their arguments, when flags are looked at.
    if has_flags && matches!(keyword, Keyword::Env | Keyword::Label | Keyword::Shell) {
        return Ok(());
    }
    let name = keyword.as_str();
    match keyword {
        Keyword::From => match args {
            Args::Words(words) if words.len() == 1 => Ok(()),
            Args::Words(words) if words.len() == 3 && words[1].text.eq_ignore_ascii_case("as") => Ok(()),
            _ => Err(ArgumentError::NotFrom),
        },
        Keyword::Add | Keyword::Copy if count(args) < 2 => Err(ArgumentError::NoDestination { keyword: name }),
        Keyword::Maintainer | Keyword::Workdir | Keyword::User | Keyword::Stopsignal if count(args) != 1 => {
            Err(ArgumentError::NotOne { keyword: name })
        }
        Keyword::Env
        | Keyword::Label
        | Keyword::Onbuild
        | Keyword::Healthcheck
        | Keyword::Expose
        | Keyword::Volume
        | Keyword::Arg
        | Keyword::Shell
            if count(args) == 0 =>
        {
            Err(ArgumentError::None { keyword: name })
        }
        Keyword::Env | Keyword::Label | Keyword::Arg if has_blank_name(args) => {
            Err(ArgumentError::BlankName { keyword: name })
        }
        Keyword::Shell if !matches!(args, Args::Json(_)) => Err(ArgumentError::NotJson),
        Keyword::Onbuild => check_trigger(args),
        _ => Ok(()),
    }
}

fn count(args: &Args) -> usize {
    match args {
        Args::Json(words) | Args::Words(words) => words.len(),
        Args::Raw(word) | Args::Trigger(word) | Args::Typed { kind: word, .. } => usize::from(!word.text.is_empty()),
        Args::Pairs { pairs, .. } => pairs.len(),
    }
}

fn has_blank_name(args: &Args) -> bool {
    match args {
        Args::Pairs { pairs, .. } => pairs.iter().any(|(name, _)| name.text.is_empty()),
        Args::Words(words) => words.iter().any(|word| word.text.starts_with('=')),
        Args::Json(_) | Args::Raw(_) | Args::Typed { .. } | Args::Trigger(_) => false,
    }
}

fn check_trigger(args: &Args) -> Result<(), ArgumentError> {
    let Args::Trigger(trigger) = args else {
        return Ok(());
    };
    match trigger.text.split_whitespace().next().and_then(Keyword::of) {
        Some(Keyword::Onbuild) => Err(ArgumentError::ChainedTrigger),
        Some(keyword @ (Keyword::From | Keyword::Maintainer)) => {
            Err(ArgumentError::NotATrigger { keyword: keyword.as_str() })
        }
        Some(_) | None => Ok(()),
    }
}

/// The message about a keyword that the language does not have. What was meant is spelt in the case of `word`.
pub(super) fn unknown_instruction(word: &str) -> String {
    let known = Keyword::ALL.iter().map(|keyword| keyword.as_str());
    let is_lower = !word.contains(|c: char| c.is_ascii_uppercase());
    let spelt = |meant: &str| if is_lower { meant.to_ascii_lowercase() } else { meant.to_owned() };
    match closest(&word.to_ascii_uppercase(), known).map(spelt) {
        Some(meant) => format!("unknown instruction: {word} (did you mean {meant}?)"),
        None => format!("unknown instruction: {word}"),
    }
}
