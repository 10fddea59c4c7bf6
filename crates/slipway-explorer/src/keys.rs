//! Which key does what: the defaults, and what the settings say instead (`spec/analyze.md` section 5.3).

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What a key can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Quit,
    ToggleView,
    ToggleStages,
    FilterFiles,
    CloseFilterFiles,
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    CompareAll,
    CompareLayer,
    ToggleCollapse,
    ToggleCollapseAll,
    ToggleAdded,
    ToggleRemoved,
    ToggleModified,
    ToggleUnmodified,
    ToggleAttributes,
    ToggleSortOrder,
    ToggleWrap,
    ExtractFile,
}

/// Where an action is understood: some keys mean different things in different places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Everywhere,
    Lists,
    Layers,
    Tree,
}

/// The name of an action in settings, its keys, and where it is understood.
const ACTIONS: [(Action, &str, &str, Place); 23] = [
    (Action::Quit, "quit", "ctrl+c,q", Place::Everywhere),
    (Action::ToggleView, "toggle-view", "tab", Place::Everywhere),
    (Action::ToggleStages, "toggle-stages", "s", Place::Everywhere),
    (Action::FilterFiles, "filter-files", "ctrl+f,ctrl+slash", Place::Everywhere),
    (Action::CloseFilterFiles, "close-filter-files", "esc", Place::Everywhere),
    (Action::Up, "up", "up,k", Place::Lists),
    (Action::Down, "down", "down,j", Place::Lists),
    (Action::Left, "left", "left,h", Place::Lists),
    (Action::Right, "right", "right,l", Place::Lists),
    (Action::PageUp, "page-up", "pgup,u", Place::Lists),
    (Action::PageDown, "page-down", "pgdn,d", Place::Lists),
    (Action::CompareAll, "compare-all", "ctrl+a", Place::Layers),
    (Action::CompareLayer, "compare-layer", "ctrl+l", Place::Layers),
    (Action::ToggleCollapse, "toggle-collapse-dir", "space", Place::Tree),
    (Action::ToggleCollapseAll, "toggle-collapse-all-dir", "ctrl+space", Place::Tree),
    (Action::ToggleAdded, "toggle-added-files", "ctrl+a,1", Place::Tree),
    (Action::ToggleRemoved, "toggle-removed-files", "ctrl+r,2", Place::Tree),
    (Action::ToggleModified, "toggle-modified-files", "ctrl+m,3", Place::Tree),
    (Action::ToggleUnmodified, "toggle-unmodified-files", "ctrl+u,4", Place::Tree),
    (Action::ToggleAttributes, "toggle-filetree-attributes", "ctrl+b", Place::Tree),
    (Action::ToggleSortOrder, "toggle-sort-order", "ctrl+o", Place::Tree),
    (Action::ToggleWrap, "toggle-wrap-tree", "ctrl+p", Place::Tree),
    (Action::ExtractFile, "extract-file", "ctrl+e", Place::Tree),
];

/// A key as settings spell it, which is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("keybinding.{action}: `{key}` is no key (try `ctrl+f`, `space`, `pgup` or a letter)")]
pub struct BadKey {
    action: &'static str,
    key: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    code: KeyCode,
    with_control: bool,
    /// As it was spelled first.
    label: String,
}

/// Keys and what they do.
#[derive(Clone, Debug)]
pub struct KeyBindings(Vec<Binding>);

#[derive(Clone, Debug)]
struct Binding {
    action: Action,
    /// In settings.
    name: &'static str,
    spelled: String,
    place: Place,
    keys: Vec<Key>,
}

impl KeyBindings {
    /// The defaults, but for the actions for which `setting` has a list of keys, separated by commas.
    ///
    /// # Errors
    /// A key that does not exist.
    pub fn of(setting: impl Fn(&str) -> Option<String>) -> Result<KeyBindings, BadKey> {
        let bindings = ACTIONS.iter().map(|&(action, name, default, place)| {
            let spelled = setting(name).unwrap_or_else(|| default.to_owned());
            let keys = spelled.split(',').map(str::trim).filter(|key| !key.is_empty());
            let keys = keys.map(|key| Key::parse(key).ok_or_else(|| BadKey { action: name, key: key.to_owned() }));
            let keys = keys.collect::<Result<_, _>>()?;
            Ok(Binding { action, name, spelled, place, keys })
        });
        bindings.collect::<Result<_, _>>().map(KeyBindings)
    }

    /// The names of all actions in settings, and their keys as spelled there.
    pub fn spelled(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|binding| (binding.name, binding.spelled.as_str()))
    }

    /// What `event` means in a place.
    pub(crate) fn action(&self, event: KeyEvent, is_tree: bool) -> Option<Action> {
        let here = |place: Place| match place {
            Place::Everywhere | Place::Lists => true,
            Place::Layers => !is_tree,
            Place::Tree => is_tree,
        };
        let is_meant = |binding: &&Binding| here(binding.place) && binding.keys.iter().any(|key| key.is(event));
        self.0.iter().find(is_meant).map(|binding| binding.action)
    }

    /// The first key of an action, for people.
    pub(crate) fn label(&self, action: Action) -> &str {
        let binding = self.0.iter().find(|binding| binding.action == action);
        binding.and_then(|binding| binding.keys.first()).map_or("", |key| &key.label)
    }
}

impl Key {
    fn parse(spelled: &str) -> Option<Key> {
        let lower = spelled.to_lowercase();
        let (with_control, name) = match lower.strip_prefix("ctrl+") {
            Some(name) => (true, name),
            None => (false, lower.as_str()),
        };
        let code = match name {
            "tab" => KeyCode::Tab,
            "esc" | "escape" => KeyCode::Esc,
            "enter" | "return" => KeyCode::Enter,
            "space" => KeyCode::Char(' '),
            "slash" => KeyCode::Char('/'),
            "backspace" => KeyCode::Backspace,
            "up" => KeyCode::Up,
            "down" => KeyCode::Down,
            "left" => KeyCode::Left,
            "right" => KeyCode::Right,
            "pgup" | "pageup" => KeyCode::PageUp,
            "pgdn" | "pgdown" | "pagedown" => KeyCode::PageDown,
            "home" => KeyCode::Home,
            "end" => KeyCode::End,
            _ => {
                let mut characters = name.chars();
                let only = characters.next().filter(|_| characters.next().is_none())?;
                KeyCode::Char(only)
            }
        };
        let label = match with_control {
            true => format!("^{}", if code == KeyCode::Char(' ') { "Space".to_owned() } else { name.to_uppercase() }),
            false => {
                let mut characters = name.chars();
                let first = characters.next().map(|first| first.to_uppercase().to_string());
                first.unwrap_or_default() + characters.as_str()
            }
        };
        Some(Key { code, with_control, label })
    }

    /// Whether `event` is this key. Terminals send one byte for `ctrl+m` and Enter, and another for `ctrl+/`.
    fn is(&self, event: KeyEvent) -> bool {
        let with_control = event.modifiers.contains(KeyModifiers::CONTROL);
        let code = match event.code {
            KeyCode::Char(character) => KeyCode::Char(character.to_ascii_lowercase()),
            code => code,
        };
        let is_same = self.code == code && self.with_control == with_control;
        let is_enter = self.with_control && self.code == KeyCode::Char('m') && code == KeyCode::Enter;
        let is_slash =
            self.with_control && self.code == KeyCode::Char('/') && with_control && code == KeyCode::Char('7');
        is_same || is_enter || is_slash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(code: KeyCode, modifiers: KeyModifiers) -> KeyEvent {
        KeyEvent::new(code, modifiers)
    }

    #[test]
    fn keys_mean_what_the_table_says() {
        let keys = KeyBindings::of(|_| None).unwrap();
        let control = |letter| event(KeyCode::Char(letter), KeyModifiers::CONTROL);
        let plain = |code| event(code, KeyModifiers::NONE);
        for (event, is_tree, expected) in [
            (control('c'), false, Some(Action::Quit)),
            (control('a'), false, Some(Action::CompareAll)),
            (control('a'), true, Some(Action::ToggleAdded)),
            (control('7'), true, Some(Action::FilterFiles)),
            (control(' '), true, Some(Action::ToggleCollapseAll)),
            (plain(KeyCode::Enter), true, Some(Action::ToggleModified)),
            (plain(KeyCode::Enter), false, None),
            (plain(KeyCode::Char('4')), true, Some(Action::ToggleUnmodified)),
            (plain(KeyCode::Char('c')), false, None),
            (plain(KeyCode::PageDown), false, Some(Action::PageDown)),
        ] {
            assert_eq!(keys.action(event, is_tree), expected, "{event:?}");
        }
        assert_eq!([keys.label(Action::Quit), keys.label(Action::ToggleView)], ["^C", "Tab"]);
        assert_eq!(keys.label(Action::ToggleCollapseAll), "^Space");
    }

    #[test]
    fn settings_take_the_place_of_defaults() {
        let keys = KeyBindings::of(|name| (name == "quit").then(|| "x, ctrl+q".to_owned())).unwrap();
        let x = event(KeyCode::Char('x'), KeyModifiers::NONE);
        assert_eq!(keys.action(x, false), Some(Action::Quit));
        assert_eq!(keys.action(event(KeyCode::Char('c'), KeyModifiers::CONTROL), false), None);
        let error = KeyBindings::of(|name| (name == "up").then(|| "hyper+u".to_owned())).unwrap_err();
        assert_eq!(error.to_string(), "keybinding.up: `hyper+u` is no key (try `ctrl+f`, `space`, `pgup` or a letter)");
        assert!(KeyBindings::of(|_| Some("ä".to_owned())).is_ok());
    }
}
