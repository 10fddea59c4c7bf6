//! `dive config`: the settings that are in force, as a settings file that would ask for them (`spec/analyze.md`
//! sections 1 and 5.3).

use std::fmt::Write as _;

use slipway_explorer::Hidden;

use super::settings::Settings;

/// All settings, each with what it decides and the variable that sets it.
pub(super) fn of(settings: &Settings) -> String {
    let mut text = ConfigText::default();
    let engine = settings.source.as_deref().unwrap_or_default();
    text.value(
        "where an image is looked for: docker, podman, docker-archive, oci-layout, registry; everywhere if empty",
        "container-engine",
        quoted(engine),
    );
    text.value("go on where an archive breaks off", "ignore-errors", settings.ignores_errors.to_string());
    text.value("evaluate the rules", "ci", settings.evaluates.to_string());
    text.value("file with the values of the rules", "ci-config", quoted(&settings.ci_config.display().to_string()));
    text.begin("rules");
    let rules = &settings.rules;
    for (what, name, value) in [
        ("lowest share of the image that is needed, from 0 to 1", "lowest-efficiency", &rules.lowest_efficiency),
        ("most bytes that may be wasted", "highest-wasted-bytes", &rules.highest_wasted_bytes),
        (
            "highest share of what is not of the first layer that may be wasted, from 0 to 1",
            "highest-user-wasted-percent",
            &rules.highest_user_wasted_percent,
        ),
    ] {
        text.value(what, name, quoted(value));
    }
    text.end();
    text.value(
        "where the export for programs is written",
        "json-path",
        quoted(settings.json.as_deref().unwrap_or_default()),
    );
    let screens = &settings.screens;
    text.begin("keybinding");
    screens.keys.spelled().for_each(|(name, keys)| text.value("", name, quoted(keys)));
    text.end();
    text.begin("diff");
    text.value("what is not shown at first: added, removed, modified, unmodified", "hide", hidden(screens.hidden));
    text.end();
    text.begin("filetree");
    text.value("fold folders at first", "collapse-dir", screens.folds_folders.to_string());
    text.value("share of the width that the files have, from 0 to 1", "pane-width", screens.tree_width.to_string());
    text.value("show permissions, owners and sizes", "show-attributes", screens.shows_attributes.to_string());
    text.end();
    text.begin("layer");
    text.value(
        "show what all layers up to the chosen one change",
        "show-aggregated-changes",
        screens.shows_aggregated.to_string(),
    );
    text.end();
    text.0
}

#[derive(Default)]
struct ConfigText(String, Option<&'static str>);

impl ConfigText {
    fn begin(&mut self, section: &'static str) {
        let _ = writeln!(self.0, "\n{section}:");
        self.1 = Some(section);
    }

    fn end(&mut self) {
        self.1 = None;
    }

    fn value(&mut self, what: &str, name: &str, value: String) {
        let path = self.1.map_or_else(|| name.to_owned(), |section| format!("{section}.{name}"));
        let variable = format!("DIVE_{}", path.to_uppercase().replace(['.', '-'], "_"));
        let indent = if self.1.is_some() { "  " } else { "" };
        if !(self.0.is_empty() || self.0.ends_with(":\n")) {
            self.0.push('\n');
        }
        let blank = if what.is_empty() { "" } else { " " };
        let _ = writeln!(self.0, "{indent}# {what}{blank}(env: {variable})\n{indent}{name}: {value}");
    }
}

/// As YAML.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn hidden(hidden: Hidden) -> String {
    let all = [
        (hidden.added, "added"),
        (hidden.removed, "removed"),
        (hidden.modified, "modified"),
        (hidden.unmodified, "unmodified"),
    ];
    let names: Vec<&str> = all.iter().filter(|(is_hidden, _)| *is_hidden).map(|(_, name)| *name).collect();
    format!("[{}]", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_below_what_they_decide() {
        let mut text = ConfigText::default();
        text.value("go on", "ignore-errors", "true".to_owned());
        text.begin("keybinding");
        text.value("", "toggle-view", quoted("it's"));
        text.value("", "up", quoted("k"));
        text.end();
        text.value("x", "ci", "false".to_owned());
        let expected = "\
# go on (env: DIVE_IGNORE_ERRORS)
ignore-errors: true

keybinding:
  # (env: DIVE_KEYBINDING_TOGGLE_VIEW)
  toggle-view: 'it''s'

  # (env: DIVE_KEYBINDING_UP)
  up: 'k'

# x (env: DIVE_CI)
ci: false
";
        assert_eq!(text.0, expected);
        assert_eq!(hidden(Hidden { added: true, modified: true, ..Hidden::default() }), "[added, modified]");
    }
}
