//! `--print`: the targets as JSON that is a definition itself (`spec/bake.md` section 13).

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use crate::attribute::Fields;
use crate::selection::Selection;
use crate::target::Target;

/// A text as JSON, with `<`, `>` and `&` escaped.
pub(crate) fn quoted(text: &str) -> String {
    escaped(&Json::from(text).to_string())
}

/// Only texts have these characters, so the whole document can be gone over at once.
pub(crate) fn escaped(json: &str) -> String {
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

impl Selection {
    /// The document, with a line end.
    pub fn to_json(&self) -> String {
        let targets = self.targets.iter().map(|(name, target)| (name.clone(), target.to_json()));
        self.document(targets.collect())
    }

    /// The document with targets that were asked something instead of built: each of them, the name of the method, and
    /// the answer.
    pub fn answers_to_json(&self, answers: Vec<(String, &'static str, Json)>) -> String {
        let targets = answers.into_iter().map(|(name, method, answer)| {
            let build = self.targets.get(&name).map_or(Json::Null, Target::to_json);
            let object = [("build".to_owned(), build), (method.to_owned(), answer)];
            (name, Json::from(Map::from_iter(object)))
        });
        self.document(targets.collect())
    }

    fn document(&self, targets: Map<String, Json>) -> String {
        let groups = self.groups.iter().map(|(name, group)| {
            let mut object = Map::new();
            add_text(&mut object, "description", Some(&group.description).filter(|text| !text.is_empty()));
            object.insert("targets".to_owned(), group.targets.clone().into());
            (name.clone(), Json::from(object))
        });
        let mut document = Map::new();
        document.insert("group".to_owned(), Json::from(groups.collect::<Map<_, _>>()));
        document.insert("target".to_owned(), Json::from(targets));
        format!("{}\n", escaped(&format!("{:#}", Json::from(document))))
    }
}

impl Target {
    fn to_json(&self) -> Json {
        let mut object = Map::new();
        let object = &mut object;
        add_text(object, "description", Some(&self.description).filter(|text| !text.is_empty()));
        let annotations: Vec<String> = self.annotations.iter().map(|text| for_template(text)).collect();
        add_list(object, "annotations", &annotations);
        add_entries(object, "attest", &self.attest);
        add_text(object, "context", self.context.as_ref());
        add_map(object, "contexts", &self.contexts, str::to_owned);
        add_text(object, "dockerfile", self.dockerfile.as_ref());
        let inline = self.dockerfile_inline.as_deref().map(for_template);
        add_text(object, "dockerfile-inline", inline.as_ref());
        add_map(object, "args", &self.args, for_template);
        add_map(object, "labels", &self.labels, for_template);
        add_list(object, "tags", self.tags.as_deref().unwrap_or_default());
        add_entries(object, "cache-from", &self.cache_from);
        add_entries(object, "cache-to", self.cache_to.as_deref().unwrap_or_default());
        add_text(object, "target", self.stage.as_ref());
        add_secrets(object, &self.secrets);
        add_ssh(object, &self.ssh);
        add_list(object, "platforms", self.platforms.as_deref().unwrap_or_default());
        add_entries(object, "output", self.outputs.as_deref().unwrap_or_default());
        object.extend(self.pull.map(|pull| ("pull".to_owned(), pull.into())));
        object.extend(self.no_cache.map(|no_cache| ("no-cache".to_owned(), no_cache.into())));
        add_text(object, "network", self.network.as_ref());
        add_list(object, "no-cache-filter", &self.no_cache_filter);
        add_text(object, "shm-size", self.shm_size.as_ref());
        add_list(object, "ulimits", &self.ulimits);
        add_text(object, "call", self.call.as_ref());
        add_list(object, "entitlements", &self.entitlements);
        add_map(object, "extra-hosts", &self.extra_hosts, for_template);
        Json::from(std::mem::take(object))
    }
}

/// A text that evaluates to `text` when the document is read as a definition.
fn for_template(text: &str) -> String {
    text.replace("${", "$${").replace("%{", "%%{")
}

fn add_text(object: &mut Map<String, Json>, name: &str, text: Option<&String>) {
    object.extend(text.map(|text| (name.to_owned(), text.clone().into())));
}

fn add_list(object: &mut Map<String, Json>, name: &str, list: &[String]) {
    if !list.is_empty() {
        object.insert(name.to_owned(), list.into());
    }
}

fn add_map(object: &mut Map<String, Json>, name: &str, map: &BTreeMap<String, String>, show: impl Fn(&str) -> String) {
    if !map.is_empty() {
        let entries = map.iter().map(|(key, value)| (key.clone(), Json::from(show(value))));
        object.insert(name.to_owned(), Json::from(entries.collect::<Map<_, _>>()));
    }
}

fn add_entries(object: &mut Map<String, Json>, name: &str, entries: &[Fields]) {
    if entries.is_empty() {
        return;
    }
    let entries = entries.iter().map(|fields| {
        let field = |(name, value): (&String, &String)| {
            let is_flag = name == "disabled" && value == "true";
            (name.clone(), if is_flag { true.into() } else { Json::from(value.clone()) })
        };
        Json::from(fields.iter().map(field).collect::<Map<_, _>>())
    });
    object.insert(name.to_owned(), entries.collect());
}

fn add_secrets(object: &mut Map<String, Json>, secrets: &[Fields]) {
    if secrets.is_empty() {
        return;
    }
    let in_order = |secret: &Fields| {
        let fields = ["id", "src", "env"].into_iter().filter_map(|name| Some((name, secret.get(name)?)));
        Json::from(fields.map(|(name, value)| (name.to_owned(), value.clone().into())).collect::<Map<_, _>>())
    };
    object.insert("secret".to_owned(), secrets.iter().map(in_order).collect());
}

fn add_ssh(object: &mut Map<String, Json>, keys: &[Fields]) {
    if keys.is_empty() {
        return;
    }
    let entry = |key: &Fields| {
        let mut entry = Map::new();
        add_text(&mut entry, "id", key.get("id"));
        if let Some(paths) = key.get("paths") {
            entry.insert("paths".to_owned(), paths.split(',').collect());
        }
        Json::from(entry)
    };
    object.insert("ssh".to_owned(), keys.iter().map(entry).collect());
}
