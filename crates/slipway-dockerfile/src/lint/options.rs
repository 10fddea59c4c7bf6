//! Which rules are wanted, and are warnings errors? (`spec/dockerfile.md` section 9.2)

use std::collections::BTreeMap;

use super::Rule;
use crate::Dockerfile;
use crate::quote::quoted;

/// The build arg that replaces the directive.
const BUILD_ARG: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// What `# check=` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckOptions {
    skipped: Selection,
    experimental: Selection,
    /// A warning fails the build.
    pub is_error: bool,
}

/// Some of the rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Selection {
    is_all: bool,
    names: Vec<String>,
}

/// Options that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckOptionError {
    #[error("invalid check option {}", quoted(.0))]
    Unknown(String),
    #[error(
        "failed to parse check option {}: strconv.ParseBool: parsing {}: invalid syntax",
        quoted(option),
        quoted(value)
    )]
    NoBool { option: String, value: String },
}

/// Where the options that cannot be read are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckOptionsError {
    #[error("failed to parse check options: {0}")]
    InFile(CheckOptionError),
    #[error("failed to parse build-arg:{BUILD_ARG}: {0}")]
    InBuildArg(CheckOptionError),
}

impl CheckOptions {
    /// What the build arg says, else what the file says.
    pub fn of(
        dockerfile: &Dockerfile,
        build_args: &BTreeMap<String, String>,
    ) -> Result<CheckOptions, CheckOptionsError> {
        if let Some(text) = build_args.get(BUILD_ARG) {
            return CheckOptions::parse(text).map_err(CheckOptionsError::InBuildArg);
        }
        let text = dockerfile.directives.check.as_ref().map_or("", |word| &word.text);
        CheckOptions::parse(text).map_err(CheckOptionsError::InFile)
    }

    fn parse(text: &str) -> Result<CheckOptions, CheckOptionError> {
        let mut options = CheckOptions::default();
        if text.trim().is_empty() {
            return Ok(options);
        }
        for option in text.trim().splitn(3, ';') {
            let (key, value) = option.split_once('=').ok_or_else(|| CheckOptionError::Unknown(option.to_owned()))?;
            match key.trim() {
                "skip" => options.skipped = Selection::parse(value),
                "experimental" => options.experimental = Selection::parse(value),
                "error" => {
                    options.is_error = slipway_graph::request::flags::parse_bool(value.trim()).ok_or_else(|| {
                        CheckOptionError::NoBool { option: option.to_owned(), value: value.trim().to_owned() }
                    })?;
                }
                key => return Err(CheckOptionError::Unknown(key.to_owned())),
            }
        }
        Ok(options)
    }

    /// Whether `rule` may fire at an instruction with the comment `# check=above`. A comment that cannot be read says
    /// nothing.
    pub(super) fn wants(&self, rule: &Rule, above: Option<&str>) -> bool {
        let above = above.and_then(|text| CheckOptions::parse(text).ok()).unwrap_or_default();
        if rule.is_experimental {
            return self.experimental.has(rule) || above.experimental.has(rule);
        }
        !self.skipped.has(rule) && !above.skipped.has(rule)
    }
}

impl Selection {
    fn parse(text: &str) -> Selection {
        match text.trim() {
            "all" => Selection { is_all: true, names: Vec::new() },
            text => Selection { is_all: false, names: text.split(',').map(|name| name.trim().to_owned()).collect() },
        }
    }

    fn has(&self, rule: &Rule) -> bool {
        self.is_all || self.names.iter().any(|name| name == rule.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lint::RULES;

    #[test]
    fn options_come_in_any_order() {
        let options =
            CheckOptions::parse(" experimental=all; error = true;skip=FromAsCasing, StageNameCasing ").unwrap();
        assert!(options.is_error && options.experimental.is_all);
        let wanted = |name: &str| options.wants(RULES.iter().find(|rule| rule.name == name).unwrap(), None);
        assert!(!wanted("FromAsCasing") && !wanted("StageNameCasing") && wanted("UndefinedVar"));
        assert!(wanted("InvalidDefinitionDescription"));
    }

    #[test]
    fn mistakes_have_the_known_texts() {
        for (text, message) in [
            ("foo", "invalid check option \"foo\""),
            ("foo=1", "invalid check option \"foo\""),
            ("skip=a;", "invalid check option \"\""),
            ("error=x", "failed to parse check option \"error=x\": strconv.ParseBool: parsing \"x\": invalid syntax"),
        ] {
            assert_eq!(CheckOptions::parse(text).unwrap_err().to_string(), message, "{text}");
        }
    }

    #[test]
    fn the_build_arg_wins() {
        let (dockerfile, _) = crate::parse(b"# check=skip=all\nFROM a\n");
        let args = BTreeMap::from([(BUILD_ARG.to_owned(), "foo".to_owned())]);
        let error = CheckOptions::of(&dockerfile, &args).unwrap_err();
        let expected = "failed to parse build-arg:BUILDKIT_DOCKERFILE_CHECK: invalid check option \"foo\"";
        assert_eq!(error.to_string(), expected);
        assert!(CheckOptions::of(&dockerfile, &BTreeMap::new()).unwrap().skipped.is_all);
    }
}
