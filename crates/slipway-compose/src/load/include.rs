//! Whole projects as parts of another one: `include` (`spec/compose.md` section 3.4).

use super::{Context, Loader};
use crate::fault::Fault;
use crate::merge::merge;
use crate::paths;
use crate::tree::{Map, Node, Path, Value};

/// One entry of `include`.
struct Include {
    paths: Vec<String>,
    project_directory: Option<String>,
    env_files: Vec<String>,
}

impl Loader<'_> {
    /// Merges what the file `path` includes below what it says itself.
    pub(super) fn include_files(&mut self, root: &mut Node, path: &str, context: Context<'_>) -> Result<(), Fault> {
        let Some(list) = root.map_mut().and_then(|map| map.remove("include")) else { return Ok(()) };
        let mark = list.mark;
        let Value::List(entries) = &list.value else {
            if list.is_null() {
                return Ok(());
            }
            return Err(Fault::new(format!("`include` must be a list, got {}", list.value.spelled())).at(mark));
        };
        let mut chain = context.included.to_vec();
        chain.push(path.to_owned());
        for entry in entries {
            let include = self.read_entry(entry)?;
            let place = entry.mark.or(mark);
            let model = self.load_included(&include, &chain, context).map_err(|fault| fault.at(place))?;
            let own = std::mem::replace(root, Node::null());
            *root = merge(resources_of(model), own, &Path::default())?;
        }
        Ok(())
    }

    fn load_included(&mut self, include: &Include, chain: &[String], context: Context<'_>) -> Result<Node, Fault> {
        let absolute: Vec<String> = include.paths.iter().map(|path| paths::join(context.folder, path)).collect();
        let Some(first) = absolute.first() else { return Ok(Node::from(Map::new())) };
        if chain.contains(first) {
            let links: Vec<String> = chain[1..].iter().chain([first]).map(|link| format!(" include {link}")).collect();
            return Err(Fault::new(format!("include cycle detected:\n{}\n{}", chain[0], links.join("\n"))));
        }
        let folder = match &include.project_directory {
            Some(folder) => paths::join(context.folder, folder),
            None => paths::parent(first),
        };
        let env_files = if include.env_files.is_empty() {
            let default = paths::join(&folder, ".env");
            if self.files.is_file(&default) { vec![default] } else { Vec::new() }
        } else {
            include.env_files.iter().map(|file| paths::join(context.folder, file)).collect()
        };
        if let Some(folder) = env_files.iter().find(|path| self.files.is_folder(path)) {
            return Err(Fault::new(format!("{folder} is not a file")));
        }
        let environment = self.read_variables(&env_files, context.environment)?;
        let sources = absolute.iter().map(|path| self.read(path)).collect::<Result<Vec<_>, _>>()?;
        self.load(&sources, Context { folder: &folder, environment: &environment, included: chain })
    }
}

/// A project gives what it has, not its name.
fn resources_of(mut model: Node) -> Node {
    if let Some(map) = model.map_mut() {
        map.retain(|key, _| {
            matches!(key.as_str(), "services" | "volumes" | "networks" | "secrets" | "configs" | "models")
        });
    }
    model
}

impl Loader<'_> {
    /// The reference takes no notice of keys that it does not know.
    fn read_entry(&mut self, entry: &Node) -> Result<Include, Fault> {
        let texts = |node: Option<&Node>| match node.map(|node| &node.value) {
            Some(Value::Text(text)) => vec![text.clone()],
            Some(Value::List(items)) => items.iter().filter_map(Node::text).map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        match &entry.value {
            Value::Text(path) => {
                Ok(Include { paths: vec![path.clone()], project_directory: None, env_files: Vec::new() })
            }
            Value::Map(map) => {
                let is_known = |name: &str| matches!(name, "path" | "project_directory" | "env_file");
                for name in map.keys().filter(|name| !is_known(name) && !name.starts_with("x-")) {
                    self.warnings.push(format!("include: '{name}' is not known, and has no effect"));
                }
                let project_directory = map.get("project_directory").and_then(Node::text).map(str::to_owned);
                Ok(Include { paths: texts(map.get("path")), project_directory, env_files: texts(map.get("env_file")) })
            }
            _ => Err(Fault::new("`include` entries must be paths or mappings").at(entry.mark)),
        }
    }
}
