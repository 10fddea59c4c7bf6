//! How it looks: layers, their details and the image on the left, the tree on the right, keys below
//! (`spec/analyze.md` section 5.2).
//!
//! What became of a file is told by a sign in front of it as well as by its colour.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};
use slipway_analyze::{Change, Compared, Layer};

use crate::explorer::{Explorer, Side};
use crate::keys::Action;
use crate::rows::{Row, printable};
use crate::size;

/// A terminal narrower than this shows one side at a time.
const MIN_COLUMNS_FOR_BOTH: u16 = 80;
/// So many columns of the id stand for the first layer.
const FIRST_LAYER_ID: usize = 15;
const DETAIL_ROWS: u16 = 11;

/// What is shown while layers are still read: they stand where they will, and sizes come one by one. `titles` are the
/// commands, `sizes` what is known of what they hold.
pub fn loading(frame: &mut Frame<'_>, name: &str, titles: &[&str], sizes: &[Option<u64>]) {
    let n_read = sizes.iter().flatten().count();
    let mut lines = vec![heading("Layers", true), Line::raw("Cmp    Size  Command")];
    for (title, bytes) in titles.iter().zip(sizes) {
        let bytes = bytes.map_or_else(|| "…".to_owned(), size);
        lines.push(Line::raw(format!("   {bytes:>7}  {}", on_one_line(title))));
    }
    let [list, bottom] = Layout::vertical([Constraint::Min(0), Constraint::Length(1)]).areas(frame.area());
    frame.render_widget(Paragraph::new(lines), list);
    let told = format!("Reading {}: {n_read} of {} layers  ^C Quit", clean(name), titles.len());
    frame.render_widget(Paragraph::new(told), bottom);
}

pub(crate) fn screen(explorer: &mut Explorer<'_>, frame: &mut Frame<'_>) {
    let n_bottom = 1 + u16::from(explorer.filter.is_some());
    let [main, bottom] = Layout::vertical([Constraint::Min(0), Constraint::Length(n_bottom)]).areas(frame.area());
    match (main.width < MIN_COLUMNS_FOR_BOTH, explorer.side) {
        (true, Side::Layers) => left(explorer, frame, main),
        (true, Side::Tree) => tree(explorer, frame, main),
        (false, _) => {
            let share = explorer.settings.tree_width.clamp(0.1, 0.9);
            let tree_columns = (f64::from(main.width) * share) as u16;
            let areas =
                Layout::horizontal([Constraint::Min(0), Constraint::Length(1), Constraint::Length(tree_columns)]);
            let [left_area, _, tree_area] = areas.areas(main);
            left(explorer, frame, left_area);
            tree(explorer, frame, tree_area);
        }
    }
    last_lines(explorer, frame, bottom);
}

/// The layers, the chosen one's details, the image's.
fn left(explorer: &mut Explorer<'_>, frame: &mut Frame<'_>, area: Rect) {
    let n_layers = u16::try_from(explorer.image.layers.len()).unwrap_or(u16::MAX);
    let layer_rows = n_layers.saturating_add(2).min((area.height / 2).max(3));
    let rows = [Constraint::Length(layer_rows), Constraint::Length(DETAIL_ROWS), Constraint::Min(0)];
    let [layers_area, details_area, image_area] = Layout::vertical(rows).areas(area);
    layers(explorer, frame, layers_area);
    if explorer.shows_stages {
        return frame.render_widget(Paragraph::new(stages(explorer)), details_area.union(image_area));
    }
    frame.render_widget(Paragraph::new(details(explorer)).wrap(Wrap { trim: false }), details_area);
    frame.render_widget(Paragraph::new(image(explorer)), image_area);
}

fn layers(explorer: &mut Explorer<'_>, frame: &mut Frame<'_>, area: Rect) {
    let is_here = explorer.side == Side::Layers;
    let mut lines = vec![heading("Layers", is_here), Line::raw("Cmp    Size  Command")];
    let n_rows = usize::from(area.height).saturating_sub(lines.len()).max(1);
    if is_here {
        explorer.page_rows = n_rows;
    }
    let top = explorer.layer.saturating_sub(n_rows - 1);
    for (index, layer) in explorer.image.layers.iter().enumerate().skip(top).take(n_rows) {
        let style = if index == explorer.layer { chosen(is_here) } else { Style::default() };
        let text = format!(" {} {:>7}  {}", mark(explorer, index), size(layer.size_bytes), title(layer, index));
        lines.push(Line::styled(text, style));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

/// Which part a layer has in the comparison: what is shown, or what that is compared with.
fn mark(explorer: &Explorer<'_>, index: usize) -> char {
    let is_first_of_all = index == 0 && explorer.layer > 0;
    let is_below = match explorer.compared {
        Compared::Layer => index < explorer.layer,
        Compared::Aggregated => is_first_of_all,
    };
    let is_shown = match explorer.compared {
        Compared::Layer => index == explorer.layer,
        Compared::Aggregated => index <= explorer.layer,
    };
    match (is_below, is_shown) {
        (true, _) => '│',
        (false, true) => '█',
        (false, false) => ' ',
    }
}

fn title(layer: &Layer, index: usize) -> String {
    if index == 0 {
        return format!("FROM {}", layer.id.chars().take(FIRST_LAYER_ID).collect::<String>());
    }
    on_one_line(&layer.command)
}

fn details(explorer: &Explorer<'_>) -> Vec<Line<'static>> {
    let mut lines = vec![heading("Layer Details", false)];
    let Some(layer) = explorer.image.layers.get(explorer.layer) else { return lines };
    let tags = &explorer.subject.tags;
    let tags = if tags.is_empty() { "(none)".to_owned() } else { tags.join(", ") };
    for (label, value) in [
        ("Tags:", tags),
        ("Id:", layer.id.clone()),
        ("Size:", size(layer.size_bytes)),
        ("Digest:", layer.digest.clone()),
    ] {
        lines.push(field(label, &clean(&value)));
    }
    let made_by = layer.origin.as_ref().map_or_else(|| "not known".to_owned(), |origin| clean(&origin.to_string()));
    lines.push(field("Made by:", &made_by));
    lines.push(field("Command:", ""));
    lines.push(Line::raw(on_one_line(&layer.command)));
    lines
}

/// Which stage the bytes come from.
fn stages(explorer: &Explorer<'_>) -> Vec<Line<'static>> {
    let titles = Line::styled("   Visible      Stored  From", Style::new().add_modifier(Modifier::BOLD));
    let mut lines = vec![heading("Where the bytes come from", false), titles];
    for share in &explorer.shares {
        let from = share.from.as_ref().map_or_else(|| "not known".to_owned(), |from| clean(&from.to_string()));
        lines.push(Line::raw(format!("{:>10}  {:>10}  {from}", size(share.visible_bytes), size(share.stored_bytes))));
        lines.extend(share.places.iter().map(|place| Line::raw(format!("{:24}{}", "", clean(&place.to_string())))));
    }
    lines
}

fn image(explorer: &Explorer<'_>) -> Vec<Line<'static>> {
    let image = explorer.image;
    let mut lines = vec![
        heading("Image Details", false),
        field("Image name:", &clean(&explorer.subject.name)),
        field("Total Image size:", &size(image.size_bytes())),
        field("Potential wasted space:", &size(image.efficiency.wasted_bytes())),
        field("Image efficiency score:", &format!("{} %", (image.efficiency.score * 100.0) as i64)),
        Line::default(),
        Line::styled("Count   Total Space  Path", Style::new().add_modifier(Modifier::BOLD)),
    ];
    lines.extend(image.efficiency.inefficient.iter().map(|path| {
        Line::raw(format!("{:>5}  {:>12}  {}", path.n_visits, size(path.size_bytes), printable(&path.path)))
    }));
    lines
}

fn tree(explorer: &mut Explorer<'_>, frame: &mut Frame<'_>, area: Rect) {
    let is_here = explorer.side == Side::Tree;
    let name = match explorer.compared {
        Compared::Layer => "Current Layer Contents",
        Compared::Aggregated => "Aggregated Layer Contents",
    };
    let [head, body] = Layout::vertical([Constraint::Length(2), Constraint::Min(0)]).areas(area);
    let columns = match explorer.settings.shows_attributes {
        true => format!("  {:<10} {:>11} {:>10} Filetree", "Permission", "UID:GID", "Size"),
        false => "  Filetree".to_owned(),
    };
    frame.render_widget(Paragraph::new(vec![heading(name, is_here), Line::raw(columns)]), head);
    let n_rows = usize::from(body.height).max(1);
    if is_here {
        explorer.page_rows = n_rows;
    }
    // The chosen line is always on the screen.
    explorer.top_row = explorer.top_row.min(explorer.row).max((explorer.row + 1).saturating_sub(n_rows));
    if explorer.rows.is_empty() {
        frame.render_widget(Paragraph::new("  (nothing is left to show)"), body);
        return;
    }
    let shown = explorer.rows.iter().enumerate().skip(explorer.top_row).take(n_rows);
    let lines: Vec<Line<'_>> = shown.map(|(index, row)| tree_line(explorer, index, row)).collect();
    let paragraph = Paragraph::new(lines);
    frame.render_widget(if explorer.wraps { paragraph.wrap(Wrap { trim: false }) } else { paragraph }, body);
}

fn tree_line<'a>(explorer: &Explorer<'_>, index: usize, row: &'a Row) -> Line<'a> {
    let (sign, color) = match row.change {
        Change::Unmodified => (' ', None),
        Change::Added => ('+', Some(Color::Green)),
        Change::Removed => ('-', Some(Color::Red)),
        Change::Modified => ('~', Some(Color::Yellow)),
    };
    let color = color.filter(|_| explorer.settings.has_colors);
    let own = color.map_or(Style::default(), |color| Style::new().fg(color));
    let style = if index == explorer.row { own.patch(chosen(explorer.side == Side::Tree)) } else { own };
    let attributes = if explorer.settings.shows_attributes { row.attributes.as_str() } else { "" };
    let spans =
        [Span::raw(format!("{sign} {attributes}")), Span::raw(row.branches.as_str()), Span::raw(row.name.as_str())];
    Line::from_iter(spans).style(style)
}

/// The filter, if there is one, and the keys or the last message.
fn last_lines(explorer: &Explorer<'_>, frame: &mut Frame<'_>, area: Rect) {
    let mut lines = Vec::new();
    if let Some(filter) = &explorer.filter {
        let cursor = if explorer.is_typing { "█" } else { "" };
        lines.push(Line::raw(format!("Path filter: {filter}{cursor}")));
    }
    lines.push(match explorer.message.as_str() {
        "" => keys(explorer),
        message => Line::raw(message.to_owned()),
    });
    frame.render_widget(Paragraph::new(lines), area);
}

fn keys(explorer: &Explorer<'_>) -> Line<'static> {
    let hidden = explorer.settings.hidden;
    let everywhere = [
        (Action::Quit, "Quit", false),
        (Action::ToggleView, "Switch view", false),
        (Action::FilterFiles, "Filter", explorer.filter.is_some()),
    ];
    let here: &[(Action, &str, bool)] = match explorer.side {
        Side::Layers => &[
            (Action::CompareLayer, "Show layer changes", explorer.compared == Compared::Layer),
            (Action::CompareAll, "Show aggregated changes", explorer.compared == Compared::Aggregated),
            (Action::ToggleStages, "Stages", explorer.shows_stages),
        ],
        Side::Tree => &[
            (Action::ToggleCollapse, "Collapse dir", false),
            (Action::ToggleCollapseAll, "Collapse all dir", explorer.settings.folds_folders),
            (Action::ToggleAdded, "Added", !hidden.added),
            (Action::ToggleRemoved, "Removed", !hidden.removed),
            (Action::ToggleModified, "Modified", !hidden.modified),
            (Action::ToggleUnmodified, "Unmodified", !hidden.unmodified),
            (Action::ToggleAttributes, "Attributes", explorer.settings.shows_attributes),
            (Action::ToggleSortOrder, "Order", false),
            (Action::ToggleWrap, "Wrap", explorer.wraps),
            (Action::ExtractFile, "Extract", false),
        ],
    };
    let mut spans = Vec::new();
    for (action, name, is_on) in everywhere.iter().chain(here) {
        let style = if *is_on { Style::new().add_modifier(Modifier::REVERSED) } else { Style::default() };
        let key = explorer.settings.keys.label(*action).to_owned();
        spans.push(Span::styled(key, Style::new().add_modifier(Modifier::BOLD)));
        spans.push(Span::raw(" "));
        spans.push(Span::styled((*name).to_owned(), style));
        spans.push(Span::raw("  "));
    }
    Line::from(spans)
}

fn heading(text: &str, is_here: bool) -> Line<'static> {
    let mark = if is_here { "┃● " } else { "│ " };
    Line::styled(format!("{mark}{text}"), Style::new().add_modifier(Modifier::BOLD))
}

fn field(label: &str, value: &str) -> Line<'static> {
    Line::from_iter([
        Span::styled(label.to_owned(), Style::new().add_modifier(Modifier::BOLD)),
        Span::raw(format!(" {value}")),
    ])
}

fn chosen(is_here: bool) -> Style {
    Style::new().add_modifier(if is_here { Modifier::REVERSED } else { Modifier::UNDERLINED })
}

fn on_one_line(command: &str) -> String {
    clean(&command.trim().replace('\n', "↵"))
}

fn clean(text: &str) -> String {
    printable(text.as_bytes())
}
