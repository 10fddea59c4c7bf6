//! A service that begins as another one: `extends` (`spec/compose.md` section 3.4).

use super::{Context, Loader, reset};
use crate::fault::Fault;
use crate::merge::{make_unique, merge};
use crate::paths::{self, Base};
use crate::short_forms;
use crate::tree::{Map, Node, Path, Value};

/// Services that extend each other up to here: name and file.
type Chain = Vec<(String, String)>;

/// What a file says of services, and where it is.
struct Place<'p> {
    path: &'p str,
    /// What relative paths in the file's own `extends` start from.
    folder: &'p str,
    resets: &'p [Path],
}

impl Loader<'_> {
    /// Puts what they extend below all services of a file.
    pub(super) fn extend_services(
        &mut self,
        root: &mut Node,
        path: &str,
        resets: &[Path],
        context: Context<'_>,
    ) -> Result<(), Fault> {
        let Some(services) = root.map().and_then(|map| map.get("services")) else { return Ok(()) };
        let Some(map) = services.map() else {
            return Err(Fault::new("services must be a mapping").at(services.mark));
        };
        let place = Place { path, folder: context.folder, resets };
        let mut extended = Map::new();
        for (name, service) in map {
            if service.map().is_none() && !service.is_null() {
                return Err(Fault::new(format!("services.{name} must be a mapping")).at(service.mark));
            }
            let whole = self.extended(name, map, &place, context, &Chain::new())?;
            extended.insert(name.clone(), whole.at(service.mark));
        }
        if let Some(Value::Map(map)) = root.map_mut().and_then(|map| map.get_mut("services")).map(|s| &mut s.value) {
            *map = extended;
        }
        Ok(())
    }

    /// The service `name` of `services` with what it extends.
    fn extended(
        &mut self,
        name: &str,
        services: &Map,
        place: &Place<'_>,
        context: Context<'_>,
        chain: &Chain,
    ) -> Result<Node, Fault> {
        let service = services.get(name).cloned().unwrap_or_else(Node::null);
        let Some(extends) = service.get("extends").cloned() else { return Ok(service) };
        let mark = extends.mark;
        let (base_name, file) = reference(&extends, name)?;
        let chain = longer(chain, name, place.path).map_err(|fault| fault.at(mark))?;
        let service_path = Path::of(&["services", name]);
        let mut base = match file {
            None => {
                if !services.contains_key(&base_name) {
                    return Err(not_found(name, &base_name, services, place.path).at(mark));
                }
                self.extended(&base_name, services, place, context, &chain)?
            }
            Some(file) => {
                let base = self.base_of_file(name, &base_name, &file, place, context, &chain);
                base.map_err(|fault| fault.at(mark))?
            }
        };
        if base.is_null() {
            return Ok(service);
        }
        reset(&mut base, &service_path, place.resets);
        let mut own = service;
        if let Some(map) = own.map_mut() {
            map.remove("extends");
        }
        if let Some(map) = base.map_mut() {
            map.remove("extends");
        }
        merge(base, own, &service_path)
    }

    /// A service of another file, its paths relative to the folder of this one.
    fn base_of_file(
        &mut self,
        name: &str,
        base_name: &str,
        file: &str,
        place: &Place<'_>,
        context: Context<'_>,
        chain: &Chain,
    ) -> Result<Node, Fault> {
        let path = paths::join(place.folder, file);
        let source = self.read(&path)?;
        let folder = paths::parent(&path);
        let mut whole = Node::from(Map::new());
        let mut resets = Vec::new();
        for document in self.parse(&source)? {
            let mut root = document.root;
            self.fill(&mut root, context.environment)?;
            reset(&mut whole, &Path::default(), &document.resets);
            whole = merge(whole, root, &Path::default())?;
            make_unique(&mut whole, &Path::default())?;
            resets.extend(document.resets);
        }
        short_forms::write_out(&mut whole, self.omit.interpolation)?;
        let services = match whole.get("services") {
            None => return Err(Fault::new(format!("cannot extend service {name:?} in {path}: no services section"))),
            Some(services) => services.map().cloned().ok_or_else(|| {
                Fault::new(format!("cannot extend service {name:?} in {path}: services must be a mapping"))
            })?,
        };
        if !services.contains_key(base_name) {
            let fault = not_found(name, base_name, &services, place.path);
            let reason = format!("{} in {file}", fault.reason);
            return Err(Fault { reason, ..fault });
        }
        let inner = Place { path: &path, folder: &folder, resets: &resets };
        let mut base = self.extended(base_name, &services, &inner, context, chain)?;
        // Where paths are to stay as written they lead from the folder of the project to the file.
        let shown_folder = if self.omit.path_resolution { paths::parent(file) } else { folder };
        if let Some(map) = base.map_mut() {
            Base { folder: &shown_folder, home: self.home }.resolve_service(map);
        }
        Ok(base)
    }
}

/// The service that is extended, and its file.
fn reference(extends: &Node, name: &str) -> Result<(String, Option<String>), Fault> {
    match &extends.value {
        Value::Map(map) => {
            let Some(service) = map.get("service").and_then(Node::text) else {
                return Err(Fault::new(format!("extends.{name}.service is required")).at(extends.mark));
            };
            Ok((service.to_owned(), map.get("file").and_then(Node::text).map(str::to_owned)))
        }
        value => Ok((value.spelled(), None)),
    }
}

fn not_found(name: &str, base: &str, services: &Map, path: &str) -> Fault {
    let fault = Fault::new(format!("cannot extend service {name:?} in {path}: service {base:?} not found"));
    let names: Vec<String> = services.keys().map(|name| format!("`{name}`")).collect();
    fault.hint(format!("services there: {}", names.join(", ")))
}

fn longer(chain: &Chain, name: &str, path: &str) -> Result<Chain, Fault> {
    let link = (name.to_owned(), path.to_owned());
    let mut longer = chain.clone();
    longer.push(link.clone());
    if !chain.contains(&link) {
        return Ok(longer);
    }
    let lines: Vec<String> = longer
        .iter()
        .enumerate()
        .map(|(index, (name, path))| format!("  {}{name} in {path}", if index == 0 { "" } else { "extends " }))
        .collect();
    Err(Fault::new(format!("Circular reference:\n{}", lines.join("\n"))))
}
