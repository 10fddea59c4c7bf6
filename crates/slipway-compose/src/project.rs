//! A project: what several Compose files say together, for these profiles and these services.

use std::collections::{BTreeMap, BTreeSet};

use ring::digest::{SHA256, digest};

use crate::attributes::{PROJECT, SERVICE};
use crate::check::check_project;
use crate::dotenv::{self, Variables};
use crate::fault::{ComposeError, Fault, SourceFile};
use crate::interpolate::Filler;
use crate::load::{Context, Files, Loader, Omit};
use crate::normalize::normalize;
use crate::shown::{self, Entry, Format, Shown};
use crate::tree::{Map, Node, Path, Value};
use crate::validate::check_consistency;
use crate::variable::Variable;
use crate::{json_text, short_forms, yaml, yaml_text};

/// All that a project is made of; nothing else has a say in it.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// Merged in order.
    pub files: &'a [SourceFile],
    /// The folder of the project: an absolute path.
    pub folder: &'a str,
    /// Variables of the process and of `.env` files.
    pub environment: &'a Variables,
    /// What `--project-name` or `COMPOSE_PROJECT_NAME` say.
    pub name: Option<&'a str>,
    pub profiles: &'a [String],
    /// What `~` stands for.
    pub home: &'a str,
    pub further_files: &'a dyn Files,
    pub omit: Omit,
}

/// What files say, all defaults filled in.
#[derive(Clone, Debug)]
pub struct Project {
    pub name: String,
    /// The folder of the project.
    pub folder: String,
    model: Node,
    /// Services that are there, but not turned on by a profile.
    disabled: Map,
    /// With those that its name adds.
    pub environment: Variables,
    pub variables: BTreeMap<String, Variable>,
    pub warnings: Vec<String>,
    omit: Omit,
    sources: Vec<SourceFile>,
}

impl Project {
    /// Reads a project.
    pub fn read(inputs: &Inputs<'_>) -> Result<Project, ComposeError> {
        let mut loader = Loader::new(inputs.further_files, inputs.home, inputs.omit);
        read(inputs, &mut loader).map_err(|fault| told(fault, &loader.sources))
    }

    pub(crate) fn told(&self, fault: Fault) -> ComposeError {
        told(fault, &self.sources)
    }

    /// Services and their attributes, in their long forms.
    pub fn services(&self) -> &Map {
        map_of(&self.model, "services")
    }

    /// Services that no active profile turns on.
    pub fn disabled_services(&self) -> &Map {
        &self.disabled
    }

    /// A section at the top: `volumes`, `networks`, `secrets`, `configs`, `models`.
    pub fn resources(&self, section: &str) -> &Map {
        map_of(&self.model, section)
    }

    /// The image that a service runs.
    pub fn image_of(&self, service: &str, separator: &str) -> String {
        let image = self.services().get(service).and_then(|service| service.text_of("image"));
        let image = image.filter(|image| !image.is_empty()).map(str::to_owned);
        image.unwrap_or_else(|| format!("{}{separator}{service}", self.name))
    }

    /// The profiles that services name, sorted.
    pub fn profiles(&self) -> Vec<&str> {
        let all = self.services().values().chain(self.disabled.values());
        let profiles = all.flat_map(|service| service.get("profiles").map(Node::texts).unwrap_or_default());
        profiles.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Only these services, and those that they depend on; all if none is named. Naming a service turns it on.
    pub fn select(&mut self, names: &[String]) -> Result<(), ComposeError> {
        if names.is_empty() {
            return Ok(());
        }
        self.turn_on_all(names)?;
        let mut selected: BTreeSet<String> = BTreeSet::new();
        let mut left: Vec<String> = names.to_vec();
        while let Some(name) = left.pop() {
            let Some(service) = self.services().get(&name) else { continue };
            if selected.insert(name) {
                let depends_on = service.get("depends_on").and_then(Node::map).into_iter().flatten();
                left.extend(depends_on.map(|(other, _)| other.clone()));
            }
        }
        if let Some(services) = self.model.map_mut().and_then(|map| map.get_mut("services")).and_then(Node::map_mut) {
            services.retain(|name, _| selected.contains(name));
        }
        Ok(())
    }

    /// Turns these services on, whatever their profiles.
    pub fn turn_on_all(&mut self, names: &[String]) -> Result<(), ComposeError> {
        names.iter().try_for_each(|name| self.turn_on(name))
    }

    fn turn_on(&mut self, name: &str) -> Result<(), ComposeError> {
        if self.services().contains_key(name) {
            return Ok(());
        }
        let Some(service) = self.disabled.remove(name) else {
            let names: Vec<String> = self.services().keys().map(|name| format!("`{name}`")).collect();
            let fault = Fault::new(format!("no such service: {name}"));
            let fault = if names.is_empty() { fault } else { fault.hint(format!("services: {}", names.join(", "))) };
            return Err(self.told(fault));
        };
        if let Some(services) = self.model.map_mut().and_then(|map| map.get_mut("services")).and_then(Node::map_mut) {
            services.insert(name.to_owned(), service);
        }
        Ok(())
    }

    /// Checks that everything that is referred to is there.
    pub fn check(&self) -> Result<(), ComposeError> {
        check_consistency(&self.model, &self.disabled).map_err(|fault| self.told(fault))
    }

    /// Takes out networks, volumes, secrets, configs and models that no service uses.
    pub fn drop_unused(&mut self) {
        let mut used: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for service in self.services().values() {
            for section in ["networks", "models"] {
                let names =
                    service.get(section).and_then(Node::map).into_iter().flatten().map(|(name, _)| name.clone());
                used.entry(section).or_default().extend(names);
            }
            let sources = |node: Option<&Node>| -> Vec<String> {
                let items = node.and_then(Node::list).unwrap_or_default();
                items.iter().filter_map(|item| item.text_of("source").map(str::to_owned)).collect()
            };
            for section in ["volumes", "secrets", "configs"] {
                used.entry(section).or_default().extend(sources(service.get(section)));
            }
            let of_build = service.get("build").and_then(|build| build.get("secrets"));
            used.entry("secrets").or_default().extend(sources(of_build));
        }
        let Some(map) = self.model.map_mut() else { return };
        for (section, names) in used {
            if let Some(entries) = map.get_mut(section).and_then(Node::map_mut) {
                entries.retain(|name, _| names.contains(name));
            }
        }
        if !map.contains_key("services") || map_is_empty(map.get("services")) {
            for section in ["networks", "volumes", "secrets", "configs", "models"] {
                map.remove(section);
            }
        }
    }

    /// Gives a service another image.
    pub fn set_image(&mut self, service: &str, image: &str) {
        let services = self.model.map_mut().and_then(|map| map.get_mut("services")).and_then(Node::map_mut);
        if let Some(service) = services.and_then(|services| services.get_mut(service)).and_then(Node::map_mut) {
            service.insert("image".to_owned(), image.into());
        }
    }

    /// A project that says which images the services of this one have, and nothing else.
    pub fn images_alone(&self) -> Project {
        let image_alone = |service: &Node| {
            let image = service.get("image").cloned().map(|image| ("image".to_owned(), image));
            Node::from(image.into_iter().collect::<Map>())
        };
        let services: Map =
            self.services().iter().map(|(name, service)| (name.clone(), image_alone(service))).collect();
        let model = Node::from(Map::from([("services".to_owned(), services.into())]));
        // As it is: there is nothing to add to it.
        Project { model, omit: Omit { interpolation: true, ..self.omit }, ..self.clone() }
    }

    /// The project as `compose config` shows it; `$` is doubled, so that reading it again gives the same.
    pub fn to_yaml(&self) -> Result<String, ComposeError> {
        Ok(self.escaped(yaml_text::write(&self.shown(Format::Yaml)?)))
    }

    /// The same as JSON.
    pub fn to_json(&self) -> Result<String, ComposeError> {
        Ok(self.escaped(json_text::write(&self.shown(Format::Json)?)))
    }

    /// What is understood, as JSON in the same form, for those who carry it out: nothing is doubled.
    pub fn to_model(&self) -> Result<String, ComposeError> {
        Ok(json_text::write(&self.shown(Format::Json)?))
    }

    fn escaped(&self, text: String) -> String {
        if self.omit.interpolation { text } else { text.replace('$', "$$") }
    }

    fn shown(&self, format: Format) -> Result<Shown, ComposeError> {
        if self.omit.interpolation {
            return Ok(shown::raw(&self.model));
        }
        let map = self.model.map().cloned().unwrap_or_default();
        let shown = shown::object(&map, &PROJECT, "").map_err(|fault| self.told(fault))?;
        let Shown::Map(mut entries) = shown else { return Ok(shown) };
        if !entries.iter().any(|entry| entry.key == "services") {
            let services = Entry { key: "services".to_owned(), value: Shown::Map(Vec::new()), format: Format::Both };
            entries.insert(usize::from(!entries.is_empty()), services);
        }
        if format == Format::Json {
            // The top of the file is the only place where JSON has extensions.
            entries.sort_by(|a, b| a.key.cmp(&b.key));
            for entry in entries.iter_mut().filter(|entry| entry.format == Format::Yaml) {
                entry.format = Format::Both;
            }
        }
        Ok(Shown::Map(entries))
    }

    /// What tells one state of a service from another: a digest of all that a container is made of.
    pub fn hash_of(&self, service: &str) -> Result<Option<String>, ComposeError> {
        let Some(service) = self.services().get(service).and_then(Node::map) else { return Ok(None) };
        let mut map = service.clone();
        for name in ["build", "pull_policy", "scale", "depends_on", "profiles"] {
            map.remove(name);
        }
        if let Some(deploy) = map.get_mut("deploy").and_then(Node::map_mut) {
            deploy.remove("replicas");
        }
        let shown = shown::object(&map, &SERVICE, "").map_err(|fault| self.told(fault))?;
        let hash = digest(&SHA256, json_text::compact(&shown).as_bytes());
        Ok(Some(hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()))
    }
}

fn told(fault: Fault, sources: &[SourceFile]) -> ComposeError {
    let place = fault.mark.and_then(|mark| sources.get(mark.file).map(|file| (file.clone(), mark.line)));
    ComposeError { reason: fault.reason, place, hint: fault.hint }
}

fn map_of<'a>(model: &'a Node, section: &str) -> &'a Map {
    static EMPTY: Map = Map::new();
    model.get(section).and_then(Node::map).unwrap_or(&EMPTY)
}

fn map_is_empty(node: Option<&Node>) -> bool {
    node.and_then(Node::map).is_none_or(Map::is_empty)
}

fn read(inputs: &Inputs<'_>, loader: &mut Loader<'_>) -> Result<Project, Fault> {
    let name = project_name(inputs, loader)?;
    let mut environment = inputs.environment.clone();
    environment.entry("COMPOSE_PROJECT_NAME".to_owned()).or_insert_with(|| name.clone());
    let context = Context { folder: inputs.folder, environment: &environment, included: &[] };
    let mut model = loader.load(inputs.files, context)?;
    if inputs.omit.beyond_builds {
        keep_builds(&mut model);
    }
    if map_is_empty(Some(&model)) {
        return Err(Fault::new("empty compose file").at(None));
    }
    if inputs.omit.beyond_builds {
        check_project(&model)?;
    }
    if let Some(map) = model.map_mut() {
        map.insert("name".to_owned(), name.clone().into());
    }
    if !inputs.omit.normalization {
        normalize(&mut model, &name, &environment);
    }
    let disabled = if inputs.omit.interpolation { Map::new() } else { turn_off(&mut model, inputs.profiles) };
    if !inputs.omit.environment_files && !inputs.omit.interpolation {
        read_service_files(&mut model, &environment, loader)?;
    }
    Ok(Project {
        name,
        folder: inputs.folder.to_owned(),
        model,
        disabled,
        environment,
        variables: std::mem::take(&mut loader.variables),
        warnings: std::mem::take(&mut loader.warnings),
        omit: inputs.omit,
        sources: loader.sources.clone(),
    })
}

/// Leaves of a project what says how images are built.
fn keep_builds(model: &mut Node) {
    let Some(map) = model.map_mut() else { return };
    map.retain(|name, _| matches!(name.as_str(), "services" | "secrets"));
    let services = map.get_mut("services").and_then(Node::map_mut).into_iter().flatten();
    for (_, service) in services {
        match &mut service.value {
            Value::Map(attributes) => {
                attributes.retain(|name, _| matches!(name.as_str(), "image" | "build" | "environment" | "env_file"))
            }
            Value::Null => service.value = Value::Map(Map::new()),
            _ => {}
        }
    }
}

/// What stays of a text that is to name a project.
pub fn normalized_name(text: &str) -> String {
    let is_allowed = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    let name: String = text.to_lowercase().chars().filter(is_allowed).collect();
    name.trim_start_matches(['_', '-']).to_owned()
}

/// From the command line, a file, or the folder, in this order.
fn project_name(inputs: &Inputs<'_>, loader: &mut Loader<'_>) -> Result<String, Fault> {
    if let Some(name) = inputs.name.filter(|name| !name.is_empty()) {
        if normalized_name(name) != name {
            return Err(Fault::new(format!(
                "invalid project name {name:?}: must consist only of lowercase alphanumeric characters, hyphens, and \
                 underscores as well as start with a letter or number"
            )));
        }
        return Ok(name.to_owned());
    }
    let mut name = String::new();
    for (index, file) in inputs.files.iter().enumerate() {
        loader.sources = inputs.files.to_vec();
        for document in yaml::parse(&file.text, &file.path, index)? {
            if let Some(own) = document.root.text_of("name").filter(|own| !own.is_empty()) {
                name = own.to_owned();
            }
        }
    }
    loader.sources.clear();
    if !name.is_empty() && !inputs.omit.interpolation {
        let lookup = |name: &str| inputs.environment.get(name).cloned();
        // What it has to say is said again when the whole file is filled in.
        let mut filler = Filler { lookup: &lookup, warnings: Vec::new() };
        name = filler.fill_text(&name, &Path::of(&["name"]))?;
    }
    name = normalized_name(&name);
    if name.is_empty() {
        name = normalized_name(inputs.folder.rsplit('/').next().unwrap_or_default());
    }
    match name.is_empty() {
        true => {
            Err(Fault::new("project name must not be empty")
                .hint("give it one: `--project-name`, or `name:` in the file"))
        }
        false => Ok(name),
    }
}

/// Takes out services that have profiles of which none is active.
fn turn_off(model: &mut Node, active: &[String]) -> Map {
    let mut disabled = Map::new();
    let Some(services) = model.map_mut().and_then(|map| map.get_mut("services")).and_then(Node::map_mut) else {
        return disabled;
    };
    let all = std::mem::take(services);
    for (name, service) in all {
        let profiles = service.get("profiles").map(Node::texts).unwrap_or_default();
        let is_active = |profile: &str| active.iter().any(|one| one == profile || one == "*");
        match profiles.is_empty() || profiles.iter().any(|profile| is_active(profile)) {
            true => services.insert(name, service),
            false => disabled.insert(name, service),
        };
    }
    disabled
}

/// Puts the variables of `env_file`, whose values see those of `environment`, below these, and the labels of
/// `label_file` below `labels`.
fn read_service_files(model: &mut Node, environment: &Variables, loader: &mut Loader<'_>) -> Result<(), Fault> {
    let Some(services) = model.map_mut().and_then(|map| map.get_mut("services")).and_then(Node::map_mut) else {
        return Ok(());
    };
    for service in services.values_mut().filter_map(Node::map_mut) {
        let env_files = service.get("env_file").cloned();
        let own = service.get("environment").map(short_forms::variables).unwrap_or_default();
        let mut seen = environment.clone();
        seen.extend(
            own.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.clone(), value.value.spelled())),
        );
        let mut variables = Map::new();
        for file in env_files.as_ref().and_then(Node::list).unwrap_or_default() {
            add_env_file(file, &mut variables, &seen, loader).map_err(|fault| fault.at(file.mark))?;
        }
        if !variables.is_empty() {
            for (name, value) in own {
                let value = match value.is_null() {
                    true => environment.get(&name).map_or(value, |known| Node::from(known.as_str())),
                    false => value,
                };
                variables.insert(name, value);
            }
            service.insert("environment".to_owned(), variables.into());
        }
        let label_files = service.get("label_file").cloned();
        let mut labels = Map::new();
        for file in label_files.as_ref().map(Node::texts).unwrap_or_default() {
            let text = loader.read(file)?.text;
            let parsed = dotenv::parse(&text, &|_| None, &Variables::new());
            let parsed = parsed.map_err(|error| Fault::new(format!("failed to read {file}: {error}")))?;
            labels.extend(parsed.into_iter().map(|(name, value)| (name, value.into())));
        }
        if !labels.is_empty() {
            labels.extend(service.get("labels").map(short_forms::variables).unwrap_or_default());
            service.insert("labels".to_owned(), labels.into());
        }
    }
    Ok(())
}

fn add_env_file(
    file: &Node,
    variables: &mut Map,
    environment: &Variables,
    loader: &mut Loader<'_>,
) -> Result<(), Fault> {
    let path = file.text_of("path").unwrap_or_default();
    let is_required = file.get("required") != Some(&Node::from(false));
    if !loader.files.is_file(path) {
        return match is_required {
            true => Err(Fault::new(format!("env file {path} not found: stat {path}: no such file or directory"))
                .hint("`required: false` allows it to be missing")),
            false => Ok(()),
        };
    }
    let text = loader.read(path)?.text;
    let parsed = match file.text_of("format").unwrap_or_default() {
        "" => {
            let lookup = |name: &str| environment.get(name).cloned();
            let before = variables.iter().map(|(name, value)| (name.clone(), value.value.spelled())).collect();
            dotenv::parse(&text, &lookup, &before)
                .map_err(|error| Fault::new(format!("failed to read {path}: {error}")))?
        }
        "raw" => dotenv::parse_raw(&text),
        format => return Err(Fault::new(format!("unsupported env_file format {format:?}"))),
    };
    variables.extend(parsed.into_iter().map(|(name, value)| (name, value.into())));
    Ok(())
}
