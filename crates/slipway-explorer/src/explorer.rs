//! What somebody looks at, and what keys make of it.

use std::collections::BTreeSet;

use ratatui::Frame;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use regex::{Regex, RegexBuilder};
use slipway_analyze::{Analysis, Compared, Difference, Share, shares};

use crate::draw;
use crate::keys::{Action, KeyBindings};
use crate::rows::{Hidden, Order, Row, View, rows};

/// An expression that needs more than this is refused rather than compiled.
const MAX_FILTER_BYTES: usize = 1 << 20;

/// What the image is called.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    pub name: String,
    pub tags: Vec<String>,
}

/// How it all looks at first.
#[derive(Clone, Debug)]
pub struct Settings {
    pub keys: KeyBindings,
    pub hidden: Hidden,
    pub folds_folders: bool,
    pub shows_attributes: bool,
    pub shows_aggregated: bool,
    /// The share of the width that the tree has, from 0 to 1.
    pub tree_width: f64,
    pub has_colors: bool,
}

/// What only somebody outside can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    Quit,
    /// Write a file of the layer down.
    Extract {
        layer: usize,
        path: Vec<u8>,
    },
}

/// Which side keys go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Layers,
    Tree,
}

/// Where somebody is in an image.
pub struct Explorer<'a> {
    pub(crate) image: &'a Analysis,
    pub(crate) subject: Subject,
    pub(crate) settings: Settings,
    pub(crate) side: Side,
    pub(crate) layer: usize,
    pub(crate) compared: Compared,
    pub(crate) order: Order,
    pub(crate) wraps: bool,
    /// The line of the tree that is chosen, and the first one that is on the screen.
    pub(crate) row: usize,
    pub(crate) top_row: usize,
    pub(crate) rows: Vec<Row>,
    /// What is typed as a filter; `None` if there is no such line.
    pub(crate) filter: Option<String>,
    /// Whether letters go into the filter.
    pub(crate) is_typing: bool,
    /// What became of the last wish, or why the filter is none.
    pub(crate) message: String,
    /// Where the bytes come from.
    pub(crate) shares: Vec<Share>,
    /// Whether that is shown in the place of details.
    pub(crate) shows_stages: bool,
    /// So many lines of a list were on the last picture.
    pub(crate) page_rows: usize,
    tree: Difference,
    pattern: Option<Regex>,
    exceptions: BTreeSet<Vec<u8>>,
}

impl<'a> Explorer<'a> {
    /// At the first layer.
    pub fn new(image: &'a Analysis, subject: Subject, settings: Settings) -> Explorer<'a> {
        let compared = if settings.shows_aggregated { Compared::Aggregated } else { Compared::Layer };
        let mut explorer = Explorer {
            image,
            subject,
            settings,
            side: Side::Layers,
            layer: 0,
            compared,
            order: Order::Name,
            wraps: false,
            row: 0,
            top_row: 0,
            rows: Vec::new(),
            filter: None,
            is_typing: false,
            message: String::new(),
            shares: shares(image),
            shows_stages: false,
            page_rows: 10,
            tree: Difference::default(),
            pattern: None,
            exceptions: BTreeSet::new(),
        };
        explorer.look_at_layer();
        explorer
    }

    /// Draws all of it.
    pub fn draw(&mut self, frame: &mut Frame<'_>) {
        draw::screen(self, frame);
    }

    /// Says something at the bottom, until the next key.
    pub fn tell(&mut self, message: String) {
        self.message = message;
    }

    /// Does what a key asks for, as far as that can be done here.
    pub fn press(&mut self, event: KeyEvent) -> Option<Wish> {
        self.message.clear();
        if self.is_typing && self.type_into_filter(event) {
            return None;
        }
        let action = self.settings.keys.action(event, self.side == Side::Tree)?;
        match (action, self.side) {
            (Action::Quit, _) => return Some(Wish::Quit),
            (Action::ExtractFile, _) => return self.extraction(),
            (Action::ToggleView, Side::Layers) => self.side = Side::Tree,
            (Action::ToggleView, Side::Tree) => self.side = Side::Layers,
            (Action::ToggleStages, _) => self.shows_stages = !self.shows_stages,
            (Action::FilterFiles, _) => {
                self.filter.get_or_insert_default();
                self.is_typing = true;
            }
            (Action::CloseFilterFiles, _) => self.close_filter(),
            (Action::CompareAll, _) => self.compare(Compared::Aggregated),
            (Action::CompareLayer, _) => self.compare(Compared::Layer),
            (Action::Up, Side::Layers) => self.go_to_layer(self.layer.saturating_sub(1)),
            (Action::Down, Side::Layers) => self.go_to_layer(self.layer + 1),
            (Action::PageUp, Side::Layers) => self.go_to_layer(self.layer.saturating_sub(self.page_rows)),
            (Action::PageDown, Side::Layers) => self.go_to_layer(self.layer + self.page_rows),
            (Action::Up, Side::Tree) => self.go_to_row(self.row.saturating_sub(1)),
            (Action::Down, Side::Tree) => self.go_to_row(self.row + 1),
            (Action::PageUp, Side::Tree) => self.go_to_row(self.row.saturating_sub(self.page_rows)),
            (Action::PageDown, Side::Tree) => self.go_to_row(self.row + self.page_rows),
            (Action::Left | Action::Right, Side::Layers) => {}
            (Action::Left, Side::Tree) => self.leave_folder(),
            (Action::Right, Side::Tree) => self.fold(Some(false)),
            (Action::ToggleCollapse, _) => self.fold(None),
            (Action::ToggleCollapseAll, _) => {
                self.settings.folds_folders = !self.settings.folds_folders;
                self.exceptions.clear();
                self.list_rows();
            }
            (Action::ToggleAdded, _) => self.toggle(|explorer| &mut explorer.settings.hidden.added),
            (Action::ToggleRemoved, _) => self.toggle(|explorer| &mut explorer.settings.hidden.removed),
            (Action::ToggleModified, _) => self.toggle(|explorer| &mut explorer.settings.hidden.modified),
            (Action::ToggleUnmodified, _) => self.toggle(|explorer| &mut explorer.settings.hidden.unmodified),
            (Action::ToggleAttributes, _) => self.settings.shows_attributes = !self.settings.shows_attributes,
            (Action::ToggleWrap, _) => self.wraps = !self.wraps,
            (Action::ToggleSortOrder, _) => {
                self.order = if self.order == Order::Name { Order::Size } else { Order::Name };
                self.list_rows();
            }
        }
        None
    }

    fn toggle(&mut self, of: impl FnOnce(&mut Self) -> &mut bool) {
        let is_hidden = of(self);
        *is_hidden = !*is_hidden;
        self.list_rows();
    }

    /// Whether the key was for the filter.
    fn type_into_filter(&mut self, event: KeyEvent) -> bool {
        let Some(filter) = &mut self.filter else { return false };
        match event.code {
            KeyCode::Char(character) if !event.modifiers.contains(KeyModifiers::CONTROL) => filter.push(character),
            KeyCode::Backspace => drop(filter.pop()),
            KeyCode::Enter => {
                self.is_typing = false;
                self.side = Side::Tree;
                return true;
            }
            _ => return false,
        }
        let text = filter.clone();
        match RegexBuilder::new(&text).size_limit(MAX_FILTER_BYTES).build() {
            Ok(pattern) => self.pattern = (!text.is_empty()).then_some(pattern),
            // What was understood last stays, until the expression is complete.
            Err(_) => "not yet a regular expression".clone_into(&mut self.message),
        }
        self.list_rows();
        true
    }

    fn close_filter(&mut self) {
        (self.filter, self.pattern, self.is_typing) = (None, None, false);
        self.list_rows();
    }

    fn compare(&mut self, compared: Compared) {
        self.compared = compared;
        self.look_at_layer();
    }

    fn go_to_layer(&mut self, layer: usize) {
        let layer = layer.min(self.image.layers.len().saturating_sub(1));
        if layer != self.layer {
            self.layer = layer;
            self.look_at_layer();
        }
    }

    fn go_to_row(&mut self, row: usize) {
        self.row = row.min(self.rows.len().saturating_sub(1));
    }

    fn look_at_layer(&mut self) {
        self.tree = Difference::at(&self.image.layers, self.layer, self.compared);
        self.list_rows();
    }

    /// Makes the lines of the tree anew. The chosen one stays the same file, if it is still there.
    fn list_rows(&mut self) {
        let chosen = self.rows.get(self.row).map(|row| row.path.clone());
        let view = View {
            hidden: self.settings.hidden,
            order: self.order,
            filter: self.pattern.as_ref(),
            exceptions: &self.exceptions,
            is_folded_by_default: self.settings.folds_folders,
        };
        self.rows = rows(&self.tree, &view);
        let again = chosen.and_then(|path| self.rows.iter().position(|row| row.path == path));
        self.go_to_row(again.unwrap_or(self.row));
    }

    /// Folds the chosen folder or, with `Some(false)`, unfolds it.
    fn fold(&mut self, wanted: Option<bool>) {
        let Some(row) = self.rows.get(self.row).filter(|row| row.has_children) else { return };
        let path = row.path.clone();
        let is_exception = self.exceptions.contains(&path);
        let is_folded = is_exception != self.settings.folds_folders;
        if wanted == Some(is_folded) {
            return;
        }
        match is_exception {
            true => drop(self.exceptions.take(&path)),
            false => drop(self.exceptions.insert(path)),
        }
        self.list_rows();
    }

    /// Folds the chosen folder; where that cannot be, goes to the one around it.
    fn leave_folder(&mut self) {
        let Some(row) = self.rows.get(self.row) else { return };
        let is_folded = self.exceptions.contains(&row.path) != self.settings.folds_folders;
        if row.has_children && !is_folded {
            return self.fold(Some(true));
        }
        let Some(end) = row.path.iter().rposition(|byte| *byte == b'/') else { return };
        let folder = &row.path[..end];
        if let Some(place) = self.rows.iter().position(|row| row.path == folder) {
            self.row = place;
        }
    }

    /// The layer that the chosen file is from, as far as this layer sees it.
    fn extraction(&mut self) -> Option<Wish> {
        let path = self.rows.get(self.row).filter(|row| !row.is_dir)?.path.clone();
        let has_file = |layer: &slipway_analyze::Layer| {
            let node = path.split(|byte| *byte == b'/').try_fold(&layer.root, |node, name| node.children.get(name));
            node.is_some_and(|node| node.entry.is_some())
        };
        let layer = self.image.layers.get(..=self.layer)?.iter().rposition(has_file)?;
        Some(Wish::Extract { layer, path })
    }
}
