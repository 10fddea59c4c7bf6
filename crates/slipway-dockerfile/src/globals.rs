//! Which variables do `FROM` lines see, and stages inherit by `ARG name`?
//!
//! The platform args and the `ARG`s in front of the first `FROM` (`spec/dockerfile.md` section 2.5).

use std::collections::HashMap;

use slipway_oci::Platform;

use crate::lower::LowerInputs;

/// The variables; the last of a name counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Globals {
    /// In the order in which they are declared.
    names: Vec<String>,
    values: HashMap<String, String>,
}

impl Globals {
    /// The platform args, each overridable by a build arg. `target_stage` is the value of `TARGETSTAGE`.
    pub(crate) fn of_platforms(inputs: &LowerInputs<'_>, target_stage: &str) -> Globals {
        let mut globals = Globals::default();
        for (prefix, platform) in [("BUILD", &inputs.build_platform), ("TARGET", &inputs.target_platform)] {
            for (suffix, value) in parts(platform) {
                globals.declare(inputs, &format!("{prefix}{suffix}"), value);
            }
        }
        globals.declare(inputs, "TARGETSTAGE", target_stage.to_owned());
        globals
    }

    fn declare(&mut self, inputs: &LowerInputs<'_>, name: &str, value: String) {
        self.set(name, inputs.build_args.get(name).cloned().unwrap_or(value));
    }

    /// Adds a variable.
    pub(crate) fn set(&mut self, name: &str, value: String) {
        self.names.push(name.to_owned());
        self.values.insert(name.to_owned(), value);
    }

    /// The names of all, in the order in which they are declared.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// The value of `name`.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        self.values.get(name).cloned()
    }
}

fn parts(platform: &Platform) -> [(&'static str, String); 5] {
    [
        ("PLATFORM", platform.to_string()),
        ("OS", platform.os.clone()),
        ("OSVERSION", String::new()),
        ("ARCH", platform.architecture.clone()),
        ("VARIANT", platform.variant.clone().unwrap_or_default()),
    ]
}
