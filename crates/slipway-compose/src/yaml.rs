//! Answers one question: which trees does a YAML text hold?
//!
//! Anchors are copied to where they are named, merge keys (`<<`) are carried out, `!reset` and `!override` are taken
//! note of. What copies make is bounded, so a small text cannot become a large tree.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};

use crate::fault::{ComposeError, Fault};
use crate::scalar;
use crate::tree::{Map, Mark, Node, Path, Value};

/// How many values the aliases of a file may stand for.
const MAX_COPIED: usize = 400_000;
/// How deep values may lie in each other.
const MAX_DEPTH: usize = 200;

/// One document of a file.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) root: Node,
    /// What earlier files say at these places goes.
    pub(crate) resets: Vec<Path>,
}

/// The documents of the text of file number `file`; empty ones are left out.
pub(crate) fn parse(text: &str, path: &str, file: usize) -> Result<Vec<Document>, Fault> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder { path, file, open: Vec::new(), anchors: HashMap::new(), n_copied: 0, roots: Vec::new() };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| syntax_fault(&error, text, file))?;
        builder.take(event, span)?;
    }
    let documents = builder.roots.into_iter().map(|mut root| {
        let mut resets = Vec::new();
        take_resets(&mut root, &Path::default(), &mut resets);
        Document { root, resets }
    });
    Ok(documents.filter(|document| !document.root.is_null()).collect())
}

/// The first document of the YAML text of some other file than a Compose file; null if it has none.
pub fn parse_yaml(text: &str, path: &str) -> Result<Node, ComposeError> {
    let told = |fault: Fault| ComposeError { reason: fault.reason, place: None, hint: fault.hint };
    let documents = parse(text, path, 0).map_err(told)?;
    Ok(documents.into_iter().next().map_or_else(Node::null, |document| document.root))
}

/// A mistake in the words of the reference's parser.
fn syntax_fault(error: &ScanError, text: &str, file: usize) -> Fault {
    let line = error.marker().line().max(1);
    // What was being read when the mistake was found says less than the lines that are shown.
    let reason = match error.info().strip_prefix("while ") {
        Some(rest) => rest.split_once(", ").map_or(rest, |(_, reason)| reason),
        None => error.info(),
    };
    let mark = Some(Mark { file, line });
    match reason {
        "found unknown anchor" => {
            let line = text.lines().nth(line - 1).unwrap_or_default();
            let is_end = |c: char| c.is_whitespace() || matches!(c, ',' | ']' | '}');
            let behind = line.chars().skip(error.marker().col()).collect::<String>();
            let name = behind.trim_start_matches('*').split(is_end).next().unwrap_or_default().to_owned();
            Fault::new(format!("yaml: unknown anchor '{name}' referenced")).at(mark)
        }
        reason if reason.starts_with("tabs disallowed") => {
            Fault::new(format!("yaml: line {line}: found character that cannot start any token"))
                .at(mark)
                .hint("YAML is indented with blanks, not with tabs")
        }
        reason => Fault::new(format!("yaml: line {line}: {reason}")).at(mark),
    }
}

/// Removes what is tagged `!reset`, and lists its places and those of what is tagged `!override`.
fn take_resets(node: &mut Node, path: &Path, resets: &mut Vec<Path>) {
    if node.replaces {
        resets.push(path.clone());
        return;
    }
    match &mut node.value {
        Value::Map(map) => map.retain(|key, entry| {
            let path = path.entry(key);
            take_resets(entry, &path, resets);
            let is_reset = entry.value == Value::Reset;
            if is_reset {
                resets.push(path);
            }
            !is_reset
        }),
        Value::List(items) => items.retain_mut(|item| {
            take_resets(item, &path.item(), resets);
            item.value != Value::Reset
        }),
        _ => {}
    }
}

/// A list or mapping whose end has not been seen.
#[derive(Debug)]
struct Open {
    anchor: usize,
    tag: Option<Tag>,
    mark: Mark,
    contents: Contents,
}

#[derive(Debug)]
enum Contents {
    List(Vec<Node>),
    Map {
        own: Map,
        /// From `<<`; the entries that the mapping has itself win.
        merged: Map,
        key: Option<Key>,
    },
}

#[derive(Debug)]
struct Key {
    text: String,
    mark: Mark,
    is_merge: bool,
}

struct Builder<'a> {
    path: &'a str,
    file: usize,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    n_copied: usize,
    roots: Vec<Node>,
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Fault> {
        let mark = Mark { file: self.file, line: span.start.line() };
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            // Anchors reach no further than their document.
            Event::DocumentStart(_) => {
                self.anchors.clear();
                Ok(())
            }
            Event::Alias(anchor) => {
                let node = self.copy_of(anchor, mark)?;
                self.add(node, false)
            }
            Event::Scalar(text, style, anchor, tag) => {
                // Behind a bracket the parser takes the sign of a block text for a letter.
                if style == ScalarStyle::Plain && text.starts_with(['|', '>']) {
                    let reason = format!("yaml: line {}: found character that cannot start any token", mark.line);
                    return Err(Fault::new(reason).at(Some(mark)).hint("block texts cannot stand within brackets"));
                }
                let is_plain = style == ScalarStyle::Plain && tag.is_none();
                let is_merge = is_plain && text == "<<";
                let value = match tag.as_deref() {
                    Some(tag) => tagged_scalar(&text, style, tag),
                    None if is_plain => scalar::resolve(&text),
                    None => Value::Text(text.into_owned()),
                };
                let replaces = tag.as_deref().is_some_and(is_override);
                let node = Node { value, mark: Some(mark), replaces };
                self.remember(anchor, &node);
                self.add(node, is_merge)
            }
            Event::SequenceStart(anchor, tag) => self.begin(anchor, tag.as_deref(), mark, Contents::List(Vec::new())),
            Event::MappingStart(anchor, tag) => {
                let contents = Contents::Map { own: Map::new(), merged: Map::new(), key: None };
                self.begin(anchor, tag.as_deref(), mark, contents)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
        }
    }

    fn begin(&mut self, anchor: usize, tag: Option<&Tag>, mark: Mark, contents: Contents) -> Result<(), Fault> {
        if self.open.len() == MAX_DEPTH {
            return Err(Fault::new("yaml: document is nested too deeply").at(Some(mark)));
        }
        self.open.push(Open { anchor, tag: tag.cloned(), mark, contents });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Fault> {
        let Open { anchor, tag, mark, contents } =
            self.open.pop().expect("because the parser ends only what it has begun");
        let value = match contents {
            Contents::List(items) => Value::List(items),
            Contents::Map { own, mut merged, .. } => {
                merged.extend(own);
                Value::Map(merged)
            }
        };
        let value = if tag.as_ref().is_some_and(is_reset) { Value::Reset } else { value };
        let node = Node { value, mark: Some(mark), replaces: tag.as_ref().is_some_and(is_override) };
        self.remember(anchor, &node);
        self.add(node, false)
    }

    fn remember(&mut self, anchor: usize, node: &Node) {
        // 0 is what the parser calls no anchor.
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
    }

    fn copy_of(&mut self, anchor: usize, mark: Mark) -> Result<Node, Fault> {
        let Some(node) = self.anchors.get(&anchor) else {
            return Err(Fault::new("yaml: anchor value contains itself").at(Some(mark)));
        };
        self.n_copied += count(node);
        if self.n_copied > MAX_COPIED {
            return Err(Fault::new("yaml: document contains excessive aliasing")
                .at(Some(mark))
                .hint(format!("aliases (`*name`) stand for more than {MAX_COPIED} values")));
        }
        if self.open.len() + depth(node) > MAX_DEPTH {
            return Err(Fault::new("yaml: document is nested too deeply").at(Some(mark)));
        }
        Ok(node.clone())
    }

    /// Puts a finished value where it belongs: it is an item, a key, the value of a key, or a whole document.
    fn add(&mut self, mut node: Node, is_merge: bool) -> Result<(), Fault> {
        let place = self.place();
        let Some(top) = self.open.last_mut() else {
            self.roots.push(node);
            return Ok(());
        };
        let (own, merged, key) = match &mut top.contents {
            Contents::List(items) => {
                items.push(node);
                return Ok(());
            }
            Contents::Map { own, merged, key } => (own, merged, key),
        };
        let Some(Key { text, mark, is_merge: merges }) = key.take() else {
            let mark = node.mark.unwrap_or(top.mark);
            let Value::Text(text) = node.value else { return Err(key_fault(&place, &node.value, mark)) };
            if let Some(first) = own.get(&text).and_then(|first| first.mark)
                && !is_merge
            {
                let reason = format!(
                    "failed to parse {}: line {}: mapping key {text:?} already defined at line {}",
                    self.path, mark.line, first.line
                );
                return Err(Fault::new(reason).at(Some(mark)));
            }
            *key = Some(Key { text, mark, is_merge });
            return Ok(());
        };
        if merges {
            let what = format!("failed to parse {}", self.path);
            return merge(node, merged).map_err(|fault| fault.within(&what).at(Some(mark)));
        }
        node.mark = Some(mark);
        own.insert(text, node);
        Ok(())
    }

    /// The keys on the way to the innermost open mapping.
    fn place(&self) -> String {
        let keys = self.open.iter().filter_map(|open| match &open.contents {
            Contents::Map { key: Some(key), .. } if !key.is_merge => Some(key.text.as_str()),
            Contents::Map { .. } => None,
            Contents::List(_) => Some("[]"),
        });
        keys.collect::<Vec<_>>().join(".")
    }
}

fn key_fault(place: &str, key: &Value, mark: Mark) -> Fault {
    let place = if place.is_empty() { "at top level".to_owned() } else { format!("in {place}") };
    Fault::new(format!("non-string key {place}: {}", key.spelled())).at(Some(mark)).hint("put quotes around the key")
}

/// Adds what `<<` names: a mapping or several; the first that has a key wins.
fn merge(node: Node, merged: &mut Map) -> Result<(), Fault> {
    match node.value {
        Value::Map(map) => {
            for (key, entry) in map {
                merged.entry(key).or_insert(entry);
            }
            Ok(())
        }
        Value::List(items) if items.iter().all(|item| item.map().is_some()) => {
            items.into_iter().try_for_each(|item| merge(item, merged))
        }
        _ => Err(Fault::new("yaml: map merge requires map or sequence of maps as the value")),
    }
}

fn count(node: &Node) -> usize {
    1 + match &node.value {
        Value::List(items) => items.iter().map(count).sum(),
        Value::Map(map) => map.values().map(count).sum(),
        _ => 0,
    }
}

fn depth(node: &Node) -> usize {
    match &node.value {
        Value::List(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Map(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn is_reset(tag: &Tag) -> bool {
    tag.handle == "!" && tag.suffix == "reset"
}

fn is_override(tag: &Tag) -> bool {
    tag.handle == "!" && tag.suffix == "override"
}

fn tagged_scalar(text: &str, style: ScalarStyle, tag: &Tag) -> Value {
    if is_reset(tag) {
        return Value::Reset;
    }
    let core = if tag.is_yaml_core_schema() { tag.suffix.as_str() } else { "" };
    match (core, scalar::resolve(text)) {
        ("null", _) => Value::Null,
        ("int", value @ (Value::Int(_) | Value::Large(_))) | ("bool", value @ Value::Bool(_)) => value,
        ("float", Value::Int(number)) => Value::Float(number as f64),
        ("float", value @ Value::Float(_)) => value,
        ("", value) if is_override(tag) && style == ScalarStyle::Plain => value,
        _ => Value::Text(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(text: &str) -> Node {
        parse(text, "compose.yaml", 0).unwrap().remove(0).root
    }

    fn reason(text: &str) -> String {
        parse(text, "compose.yaml", 0).unwrap_err().reason
    }

    #[test]
    fn own_entries_win_over_merged_ones_and_earlier_mappings_over_later_ones() {
        let tree = root("a: &a {x: 1, y: 1}\nb: &b {x: 2, z: 2}\nc: {<<: [*a, *b], y: 3}\n");
        let expected = root("{x: 1, y: 3, z: 2}");
        assert_eq!(tree.get("c"), Some(&expected));
    }

    #[test]
    fn places_to_reset_are_listed_and_taken_out() {
        let text = "services: {a: {build: !reset null, ports: !override [x], args: {A: !reset '', B: b}}}";
        let document = parse(text, "", 0).unwrap().remove(0);
        let places: Vec<String> = document.resets.iter().map(Path::to_string).collect();
        assert_eq!(places, ["services.a.args.A", "services.a.build", "services.a.ports"]);
        assert_eq!(document.root, root("services: {a: {ports: [x], args: {B: b}}}"));
    }

    #[test]
    fn a_bomb_is_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let before = level - 1;
            let names = vec![format!("*a{before}"); 9].join(", ");
            text += &format!("a{level}: &a{level} [{names}]\n");
        }
        assert_eq!(reason(&text), "yaml: document contains excessive aliasing");
        let nested = |n| "[".repeat(n) + &"]".repeat(n);
        assert_eq!(reason(&nested(201)), "yaml: document is nested too deeply");
        assert_eq!(reason(&nested(5000)), "yaml: line 1: recursion limit exceeded");
        assert_eq!(reason("a: &a [*a]"), "yaml: anchor value contains itself");
    }

    #[test]
    fn mistakes_have_their_line() {
        let fault = parse("a: 1\nb: 2\na: 3\n", "c.yaml", 0).unwrap_err();
        assert_eq!(fault.reason, "failed to parse c.yaml: line 3: mapping key \"a\" already defined at line 1");
        assert_eq!(fault.mark, Some(Mark { file: 0, line: 3 }));
        assert_eq!(reason("a: {1: x}"), "non-string key in a: 1");
        assert!(reason("a: [").starts_with("yaml: line "));
        assert_eq!(reason("a: &x 1\nb: [1, *nope, 2]\n"), "yaml: unknown anchor 'nope' referenced");
        assert_eq!(reason("a: {b: |\n  c\n}"), "yaml: line 1: found character that cannot start any token");
        assert_eq!(reason("a:\n\tb: 1\n"), "yaml: line 2: found character that cannot start any token");
        assert_eq!(
            reason("a: {<<: 1}"),
            "failed to parse compose.yaml: yaml: map merge requires map or sequence of maps as the value"
        );
    }

    #[test]
    fn documents_follow_each_other() {
        let documents = parse("a: 1\n---\n---\nb: 2\n", "", 0).unwrap();
        assert_eq!(documents.len(), 2);
    }
}
