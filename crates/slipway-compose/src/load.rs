//! The way from files to one tree: read, fill in variables, extend, include, merge, check, write out short forms
//! (`spec/compose.md` section 3).

mod extends;
mod include;

use std::collections::{BTreeMap, BTreeSet};

use crate::check;
use crate::dotenv::{self, Variables};
use crate::fault::{Fault, SourceFile};
use crate::interpolate::{Filler, variables_of};
use crate::merge::{make_unique, merge};
use crate::paths::Base;
use crate::short_forms;
use crate::tree::{Mark, Node, Path, Value};
use crate::variable::Variable;
use crate::yaml;

/// How a project's further files are reached. All paths are absolute.
pub trait Files {
    /// The text of a file, or why there is none, in the words of the system: `no such file or directory`.
    fn read(&self, path: &str) -> Result<String, String>;
    fn is_file(&self, path: &str) -> bool;
    fn is_folder(&self, path: &str) -> bool;
}

/// What is left out of reading a project.
#[derive(Clone, Copy, Debug, Default)]
pub struct Omit {
    /// `--no-interpolate`
    pub interpolation: bool,
    /// `--no-normalize`
    pub normalization: bool,
    /// `--no-path-resolution`
    pub path_resolution: bool,
    /// `--no-consistency`
    pub consistency: bool,
    /// Files of variables of services: `build` has no use for them.
    pub environment_files: bool,
    /// All that is neither a build nor a secret: `bake` has no use for it, and no opinion on it.
    pub beyond_builds: bool,
}

/// Reads files into trees and remembers their texts, which messages show.
pub(crate) struct Loader<'a> {
    pub(crate) files: &'a dyn Files,
    pub(crate) home: &'a str,
    pub(crate) omit: Omit,
    pub(crate) sources: Vec<SourceFile>,
    pub(crate) warnings: Vec<String>,
    pub(crate) variables: BTreeMap<String, Variable>,
    /// How many more files may be read: what includes and extends others could go on for long.
    n_left: usize,
    warned_of_version: BTreeSet<String>,
}

/// How many files one project may have.
const MAX_FILES: usize = 2000;

/// What is known where a file is read.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    /// The folder that relative paths start from.
    pub(crate) folder: &'a str,
    pub(crate) environment: &'a Variables,
    /// The files that include each other up to here.
    pub(crate) included: &'a [String],
}

impl<'a> Loader<'a> {
    pub(crate) fn new(files: &'a dyn Files, home: &'a str, omit: Omit) -> Loader<'a> {
        Loader {
            files,
            home,
            omit,
            sources: Vec::new(),
            warnings: Vec::new(),
            variables: BTreeMap::new(),
            n_left: MAX_FILES,
            warned_of_version: BTreeSet::new(),
        }
    }

    /// Several files, merged in order, with all that they include and extend.
    pub(crate) fn load(&mut self, files: &[SourceFile], context: Context<'_>) -> Result<Node, Fault> {
        let mut model = Node::from(crate::tree::Map::new());
        for file in files {
            for document in self.parse(file)? {
                model = self.add_document(model, document, &file.path, context)?;
            }
        }
        if !self.omit.beyond_builds {
            crate::validate::check_resources(&model)?;
        }
        short_forms::set_default_contexts(&mut model);
        if !self.omit.path_resolution {
            Base { folder: context.folder, home: self.home }.resolve(&mut model);
        }
        take_values_of_services(&mut model, context.environment);
        Ok(model)
    }

    fn parse(&mut self, file: &SourceFile) -> Result<Vec<yaml::Document>, Fault> {
        let Some(n_left) = self.n_left.checked_sub(1) else {
            return Err(Fault::new(format!("more than {MAX_FILES} files belong to this project")));
        };
        self.n_left = n_left;
        self.sources.push(file.clone());
        yaml::parse(&file.text, &file.path, self.sources.len() - 1)
    }

    pub(crate) fn read(&mut self, path: &str) -> Result<SourceFile, Fault> {
        let text = self.files.read(path).map_err(|why| Fault::new(format!("open {path}: {why}")))?;
        Ok(SourceFile { path: path.to_owned(), text })
    }

    fn add_document(
        &mut self,
        mut model: Node,
        document: yaml::Document,
        path: &str,
        context: Context<'_>,
    ) -> Result<Node, Fault> {
        let yaml::Document { mut root, resets } = document;
        if root.map().is_none() {
            return Err(Fault::new("top-level object must be a mapping").at(root.mark));
        }
        self.fill(&mut root, context.environment)?;
        self.extend_services(&mut root, path, &resets, context)?;
        reset(&mut model, &Path::default(), &resets);
        self.include_files(&mut root, path, context)?;
        model = merge(model, root, &Path::default())?;
        make_unique(&mut model, &Path::default())?;
        if !self.omit.beyond_builds {
            check::check_project(&model).map_err(|fault| fault.within(&format!("validating {path}")))?;
        }
        self.drop_version(&mut model, path);
        short_forms::write_out(&mut model, self.omit.interpolation)?;
        // Ranges of ports have become several, some of which an earlier file may have as well.
        make_unique(&mut model, &Path::default())?;
        Ok(model)
    }

    fn fill(&mut self, root: &mut Node, environment: &Variables) -> Result<(), Fault> {
        // The name of the project is not asked about.
        for (_, section) in root.map().into_iter().flatten().filter(|(key, _)| *key != "name") {
            variables_of(section, &mut self.variables);
        }
        if self.omit.interpolation {
            return Ok(());
        }
        let lookup = |name: &str| environment.get(name).cloned();
        let mut filler = Filler { lookup: &lookup, warnings: Vec::new() };
        let result = filler.fill_project(root);
        self.warnings.append(&mut filler.warnings);
        result
    }

    fn drop_version(&mut self, model: &mut Node, path: &str) {
        let had_version = model.map_mut().is_some_and(|map| map.remove("version").is_some());
        if had_version && self.warned_of_version.insert(path.to_owned()) {
            self.warnings.push(format!(
                "{path}: the attribute `version` is obsolete, it will be ignored, please remove it to avoid potential \
                 confusion"
            ));
        }
    }

    /// The variables of files, each of which sees those before it and `environment`, which wins.
    pub(crate) fn read_variables(&mut self, paths: &[String], environment: &Variables) -> Result<Variables, Fault> {
        let mut found = Variables::new();
        for path in paths {
            let file = self.read(path)?;
            let lookup = |name: &str| environment.get(name).cloned();
            let parsed = dotenv::parse(&file.text, &lookup, &found).map_err(|error| {
                let line = error.line;
                self.sources.push(file.clone());
                let mark = Mark { file: self.sources.len() - 1, line };
                Fault::new(format!("failed to read {path}: {error}")).at(Some(mark))
            })?;
            found.extend(parsed);
        }
        found.extend(environment.clone());
        Ok(found)
    }
}

/// Takes out of `node` what is at these places.
fn reset(node: &mut Node, path: &Path, places: &[Path]) {
    if let Value::Map(map) = &mut node.value {
        map.retain(|key, _| !places.contains(&path.entry(key)));
        for (key, entry) in map {
            reset(entry, &path.entry(key), places);
        }
    }
}

/// Gives variables of services that have no value the one that is known here: an included file has its own `.env`.
fn take_values_of_services(model: &mut Node, environment: &Variables) {
    let Some(services) = model.map_mut().and_then(|map| map.get_mut("services")).and_then(Node::map_mut) else {
        return;
    };
    for service in services.values_mut().filter_map(Node::map_mut) {
        if let Some(own) = service.get_mut("environment") {
            crate::normalize::take_values(own, environment);
        }
    }
}
