//! The attributes of Compose files: what each accepts, and how `compose config` shows it.
//!
//! One table for each kind of mapping, in the order in which its attributes are shown. The rules are those of the
//! Compose specification as the reference carries them out (`spec/compose.md` sections 3.1 and 3.5).

mod project;
mod service;

pub(crate) use project::PROJECT;
pub(crate) use service::{BUILD, SERVICE};

/// A mapping with known attributes.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) attributes: &'static [Attribute],
    pub(crate) required: &'static [&'static str],
    pub(crate) others: Others,
}

/// What else a mapping may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Others {
    Nothing,
    /// Attributes whose names begin with `x-`.
    Extensions,
    Anything,
}

/// One attribute of a mapping.
#[derive(Debug)]
pub(crate) struct Attribute {
    pub(crate) name: &'static str,
    pub(crate) accepts: Accepts,
    pub(crate) shows: Shows,
}

/// What may be written.
#[derive(Debug)]
pub(crate) enum Accepts {
    Kinds(&'static [Kind]),
    /// One of these words.
    Words(&'static [&'static str]),
    /// A text in which `pattern` is found, which is what `matches` decides.
    Matching {
        pattern: &'static str,
        matches: fn(&str) -> bool,
    },
    IntegerIn(i64, i64),
    List {
        items: &'static Accepts,
        is_unique: bool,
    },
    Object(&'static Object),
    /// A mapping, or null.
    MaybeObject(&'static Object),
    Entries {
        names: Names,
        values: &'static Accepts,
        is_closed: bool,
    },
    /// One of these.
    Either(&'static [Accepts]),
}

/// Which names the entries of a mapping may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    All,
    /// Lower-case letters.
    Letters,
    /// Letters, digits, `.`, `_` and `-`.
    Resources,
}

/// Kinds of values, in the order in which messages list them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Array,
    Boolean,
    Integer,
    Null,
    Number,
    Mapping,
    String,
}

/// What is shown of an attribute. Unless said otherwise nothing is shown of what is empty, zero or false.
#[derive(Debug)]
pub(crate) enum Shows {
    Nothing,
    Text,
    /// A text that is shown if it is there, even empty.
    TextIfSet,
    Flag,
    /// Shown if it is there, even false.
    FlagIfSet,
    /// Always shown; true where it is not there.
    FlagOrTrue,
    Integer,
    IntegerIfSet,
    Float,
    /// `64m` as a number of bytes, in a text.
    Bytes,
    /// `90s` as `1m30s`.
    Duration,
    DurationIfSet,
    /// Permissions, as octal digits in a text.
    FileMode,
    /// A number of devices; -1 for `all`.
    DeviceCount,
    Texts,
    /// `A=1` or `A: 1`: a mapping to texts.
    Mapping,
    /// The same; values may be null.
    MappingWithNull,
    /// A mapping whose values are texts or lists of texts.
    ListMapping,
    /// A command line, split into words; shown if it is there, even empty.
    Command,
    HealthTest,
    /// Host names and addresses: `host=address`.
    Hosts,
    SshKeys,
    Ulimits,
    /// In JSON the name begins with a capital letter.
    Titled(&'static Shows),
    Object(&'static Object),
    /// A mapping that is part of the one around it: JSON shows it even empty, YAML never so.
    Part(&'static Object),
    Objects(&'static Object),
    /// Names and mappings.
    ObjectMap(&'static Object),
    /// The same, where null is shown as null.
    MaybeObjectMap(&'static Object),
}

pub(crate) const fn attribute(name: &'static str, accepts: Accepts, shows: Shows) -> Attribute {
    Attribute { name, accepts, shows }
}

pub(crate) const TEXT: Accepts = Accepts::Kinds(&[Kind::String]);
pub(crate) const BOOLEAN: Accepts = Accepts::Kinds(&[Kind::Boolean]);
pub(crate) const FLAG: Accepts = Accepts::Kinds(&[Kind::Boolean, Kind::String]);
pub(crate) const INTEGER: Accepts = Accepts::Kinds(&[Kind::Integer, Kind::String]);
pub(crate) const NUMBER: Accepts = Accepts::Kinds(&[Kind::Number, Kind::String]);
pub(crate) const TEXTS: Accepts = Accepts::List { items: &TEXT, is_unique: false };
pub(crate) const UNIQUE_TEXTS: Accepts = Accepts::List { items: &TEXT, is_unique: true };
pub(crate) const TEXT_OR_TEXTS: Accepts = Accepts::Either(&[TEXT, UNIQUE_TEXTS]);
pub(crate) const COMMAND: Accepts = Accepts::Either(&[Accepts::Kinds(&[Kind::Null]), TEXT, TEXTS]);
pub(crate) const TEXT_OR_NUMBER_MAP: Accepts =
    Accepts::Entries { names: Names::All, values: &NUMBER, is_closed: false };
pub(crate) const TEXT_MAP: Accepts = Accepts::Entries { names: Names::All, values: &TEXT, is_closed: true };
/// `- A=1` or `A: 1`.
pub(crate) const KEY_VALUES: Accepts = Accepts::Either(&[
    Accepts::Entries {
        names: Names::All,
        values: &Accepts::Kinds(&[Kind::Boolean, Kind::Null, Kind::Number, Kind::String]),
        is_closed: true,
    },
    UNIQUE_TEXTS,
]);

impl Object {
    pub(crate) fn attribute(&self, name: &str) -> Option<&'static Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    /// Whether `name` may stand here although no attribute is called so.
    pub(crate) fn admits(&self, name: &str) -> bool {
        match self.others {
            Others::Nothing => false,
            Others::Extensions => name.starts_with("x-"),
            Others::Anything => true,
        }
    }
}

/// Whether `pull_policy` has one of the forms that it can have.
fn is_pull_policy(text: &str) -> bool {
    let words = ["always", "never", "build", "if_not_present", "missing", "refresh", "daily", "weekly"];
    let is_period = |after: &str| {
        let unit = after.trim_start_matches(|c: char| c.is_ascii_digit());
        unit.len() < after.len() && unit.starts_with(['w', 'd', 'h', 'm', 's'])
    };
    words.iter().any(|word| text.contains(word)) || text.split("every_").skip(1).any(is_period)
}

/// Whether a name of a container has two allowed characters in a row.
fn has_container_name(text: &str) -> bool {
    let is_inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    text.as_bytes().windows(2).any(|pair| pair[0].is_ascii_alphanumeric() && is_inner(&pair[1]))
}

pub(crate) const PULL_POLICY: Accepts = Accepts::Matching {
    pattern: "always|never|build|if_not_present|missing|refresh|daily|weekly|every_([0-9]+[wdhms])+",
    matches: is_pull_policy,
};
pub(crate) const CONTAINER_NAME: Accepts =
    Accepts::Matching { pattern: "[a-zA-Z0-9][a-zA-Z0-9_.-]+", matches: has_container_name };
