//! `--set PATTERN.KEY[+]=VALUE` (`spec/bake.md` section 11).

use crate::attribute::{Fields, Kind, from_text, parse_bool};
use crate::definition::{BakeError, Definition};
use crate::glob;
use crate::target::{Target, put};

/// One change, as it was typed.
#[derive(Clone, Debug)]
pub struct Override {
    pattern: String,
    key: String,
    subkey: Option<String>,
    /// `None` takes the value from the environment.
    value: Option<String>,
    is_appended: bool,
}

fn problem<T>(text: String) -> Result<T, BakeError> {
    Err(BakeError::Other(text))
}

impl Override {
    /// Reads one `--set`; `environment` gives the value of build arguments without one.
    pub fn parse(text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<Override, BakeError> {
        let (left, value) = match text.split_once('=') {
            Some((left, value)) => (left, Some(value.to_owned())),
            None => (text, None),
        };
        let (path, is_appended) = match left.strip_suffix('+') {
            Some(path) if value.is_some() => (path, true),
            _ => (left, false),
        };
        let mut parts = path.splitn(3, '.');
        let pattern = parts.next().unwrap_or_default().to_owned();
        let Some(key) = parts.next() else {
            return problem(format!("invalid override key {path}, expected target.name"));
        };
        let subkey = parts.next().map(str::to_owned);
        if value.is_none() && key != "args" {
            return problem(format!("invalid override {text}, expected target.name=value"));
        }
        let value = value.or_else(|| environment(subkey.as_deref()?));
        Ok(Override { pattern, key: key.to_owned(), subkey, value, is_appended })
    }

    /// Refuses a pattern that matches no target.
    pub(crate) fn check(&self, definition: &Definition) -> Result<(), BakeError> {
        if !glob::is_valid(&self.pattern) {
            return problem(format!("could not match targets with '{}': syntax error in pattern", self.pattern));
        }
        match definition.targets.keys().any(|name| self.applies_to(name)) {
            true => Ok(()),
            false => problem(format!("could not find any target matching '{}'", self.pattern)),
        }
    }

    pub(crate) fn applies_to(&self, name: &str) -> bool {
        glob::matches(&self.pattern, name)
    }

    fn value(&self) -> &str {
        self.value.as_deref().unwrap_or_default()
    }

    fn bool(&self) -> Result<bool, BakeError> {
        let problem = |_| BakeError::Other(format!("invalid value {} for boolean key {}", self.value(), self.key));
        parse_bool(self.value()).map_err(problem)
    }

    fn subkey(&self) -> Result<&str, BakeError> {
        let key = &self.key;
        match (&self.subkey, key.as_str()) {
            (Some(subkey), _) => Ok(subkey),
            (None, "labels") => problem("invalid format for labels, expecting labels.<name>=<value>".to_owned()),
            (None, _) => problem(format!("invalid key {}.{key}, {key} requires name", self.pattern)),
        }
    }

    /// Changes attributes that hold one value; lists come later, all values at once: see [`settle`].
    pub(crate) fn apply(&self, target: &mut Target) -> Result<(), BakeError> {
        let text = || Some(self.value().to_owned());
        match self.key.as_str() {
            "context" => target.context = text(),
            "dockerfile" => target.dockerfile = text(),
            "target" => target.stage = text(),
            "call" => target.call = text(),
            "shm-size" => target.shm_size = text(),
            "network" => target.network = text(),
            "pull" => target.pull = Some(self.bool()?),
            "no-cache" => target.no_cache = Some(self.bool()?),
            "args" => {
                let name = self.subkey()?.to_owned();
                if let Some(value) = &self.value {
                    target.args.insert(name, value.clone());
                }
            }
            "labels" => drop(target.labels.insert(self.subkey()?.to_owned(), self.value().to_owned())),
            "contexts" => drop(target.contexts.insert(self.subkey()?.to_owned(), self.value().to_owned())),
            "extra-hosts" => drop(target.extra_hosts.insert(self.subkey()?.to_owned(), self.value().to_owned())),
            "push" | "load" => drop(self.bool()?),
            "secret" => self.replace_secret(target)?,
            key if LISTS.contains(&key) => {}
            key => return problem(format!("unknown key: {key}")),
        }
        Ok(())
    }

    fn replace_secret(&self, target: &mut Target) -> Result<(), BakeError> {
        let id = self.subkey()?;
        let Some(declared) = target.secrets.iter_mut().find(|secret| secret.get("id").is_some_and(|own| own == id))
        else {
            return problem(format!("secret {id:?} must be declared before it can be overridden"));
        };
        let given = from_text(self.value(), Kind::Secret).map_err(BakeError::Other)?;
        let mut given = given.into_iter().next().unwrap_or_default();
        if let Some(other) = given.get("id").filter(|other| *other != id) {
            return problem(format!("secret override id {other:?} does not match declared secret {id:?}"));
        }
        given.insert("id".to_owned(), id.to_owned());
        *declared = given;
        Ok(())
    }
}

/// Attributes that take several values.
const LISTS: [&str; 12] = [
    "tags",
    "platform",
    "cache-from",
    "cache-to",
    "output",
    "secrets",
    "ssh",
    "annotations",
    "attest",
    "entitlements",
    "no-cache-filter",
    "ulimits",
];

/// Changes the lists of the target `name`: all values of one key together, in their order; the last operator decides
/// whether they are added. Then come `load` and `push`, which look at the outputs.
pub(crate) fn settle(target: &mut Target, overrides: &[Override], name: &str) -> Result<(), BakeError> {
    let of_key =
        |key: &'static str| overrides.iter().filter(move |change| change.key == key && change.applies_to(name));
    for key in LISTS {
        let values: Vec<&str> = of_key(key).map(Override::value).collect();
        let Some(last) = of_key(key).next_back() else { continue };
        let values = values.into_iter().filter(|value| !value.is_empty());
        let texts: Vec<String> = values.clone().map(str::to_owned).collect();
        let entries = |kind: Kind| -> Result<Vec<Fields>, BakeError> {
            let parsed = values.clone().map(|value| from_text(value, kind)).collect::<Result<Vec<_>, _>>();
            let prefix = match kind {
                Kind::Attest => "invalid value for attest: ",
                Kind::Output | Kind::Secret => "invalid value for outputs: ",
                _ => "",
            };
            Ok(parsed.map_err(|reason| BakeError::Other(format!("{prefix}{reason}")))?.concat())
        };
        let adds = last.is_appended;
        match key {
            "tags" => replace(target.tags.get_or_insert_default(), texts, adds),
            "platform" => replace(target.platforms.get_or_insert_default(), texts, adds),
            "cache-from" => replace(&mut target.cache_from, entries(Kind::Cache)?, adds),
            "cache-to" => replace(target.cache_to.get_or_insert_default(), entries(Kind::Cache)?, adds),
            "output" => replace(target.outputs.get_or_insert_default(), entries(Kind::Output)?, adds),
            "secrets" => replace(&mut target.secrets, entries(Kind::Secret)?, adds),
            "ssh" => replace(&mut target.ssh, entries(Kind::Ssh)?, adds),
            "annotations" => target.annotations.extend(texts),
            "entitlements" => target.entitlements.extend(texts),
            "no-cache-filter" => replace(&mut target.no_cache_filter, texts, adds),
            "ulimits" => replace(&mut target.ulimits, texts, adds),
            _ => entries(Kind::Attest)?.into_iter().for_each(|entry| put(&mut target.attest, entry, "type")),
        }
    }
    if let Some(load) = of_key("load").next_back()
        && load.bool()?
    {
        load_result(target);
    }
    if let Some(push) = of_key("push").next_back() {
        push_result(target, push.bool()?);
    }
    Ok(())
}

fn replace<T>(list: &mut Vec<T>, values: Vec<T>, adds: bool) {
    if !adds {
        list.clear();
    }
    list.extend(values);
}

fn kind_of(output: &Fields) -> &str {
    output.get("type").map_or("", String::as_str)
}

/// Adds an output to the local store, unless there is one or the result goes elsewhere.
fn load_result(target: &mut Target) {
    let outputs = target.outputs.get_or_insert_default();
    let is_loaded = outputs.iter().any(|output| kind_of(output) == "docker" && !output.contains_key("dest"));
    let goes_elsewhere =
        outputs.iter().any(|output| !matches!(kind_of(output), "docker" | "image" | "registry" | "oci"));
    if !is_loaded && !goes_elsewhere {
        outputs.push(Fields::from([("type".to_owned(), "docker".to_owned())]));
    }
}

fn push_result(target: &mut Target, pushes: bool) {
    let outputs = target.outputs.get_or_insert_default();
    if !pushes {
        // In the order that the reference leaves: the last one takes the place of one that goes.
        while let Some(index) = outputs.iter().position(|output| kind_of(output) == "registry") {
            outputs.swap_remove(index);
        }
        let images = outputs.iter_mut().filter(|output| kind_of(output) == "image");
        images.for_each(|output| drop(output.insert("push".to_owned(), "false".to_owned())));
        return;
    }
    let all_are_docker = outputs.iter().all(|output| kind_of(output) == "docker");
    let images = outputs.iter_mut().filter(|output| kind_of(output) == "image");
    images.for_each(|output| drop(output.insert("push".to_owned(), "true".to_owned())));
    if all_are_docker {
        let image = [("type".to_owned(), "image".to_owned()), ("push".to_owned(), "true".to_owned())];
        outputs.push(Fields::from(image));
    }
}
