//! Which files of this machine do services watch, and what is done when one of them changes? (`develop.watch`)

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use slipway_dockerfile::IgnoreRules;

use super::document::{Build, Hook, Service, Trigger};
use super::{Model, PlanError};
use crate::containers::control::Program;
use crate::watch::Sources;

/// What editors and version control write beside the files that matter.
const EPHEMERAL: [&str; 6] = ["**/.git", "**/*~", "**/.*.sw?", "**/.#*", "**/4913", "**/.DS_Store"];

/// Files that a service watches.
pub(in super::super) struct Watched {
    pub(in super::super) service: String,
    /// A file, or the folder that targets are relative to.
    path: PathBuf,
    pub(in super::super) sources: Sources,
    /// What a build of the service reads: what it leaves out is not watched either.
    context: Option<(PathBuf, Sources)>,
    /// If there are any, only files that one of them matches.
    included: Option<IgnoreRules>,
    pub(in super::super) action: Action,
    /// All files are put into the container in the beginning.
    pub(in super::super) starts_in_step: bool,
}

/// What is done.
pub(in super::super) enum Action {
    Rebuild,
    Restart,
    /// Files are put into the container; the path is that of the file or folder there.
    Sync {
        target: String,
        then: Then,
    },
}

/// What follows.
pub(in super::super) enum Then {
    Nothing,
    Restart,
    Exec(Box<Program>),
}

impl Model {
    /// What these services watch. If none of them says anything about that, those that are built watch what their builds
    /// read.
    pub(in super::super) fn watched(&self, services: &BTreeSet<String>) -> Result<Vec<Watched>, PlanError> {
        let mut watched = Vec::new();
        for name in services {
            let service = self.service(name)?;
            for trigger in &service.develop.watch {
                watched.push(of_trigger(name, service, trigger)?);
            }
        }
        if watched.is_empty() {
            let built = services.iter().filter_map(|name| Some((name, self.document.services.get(name)?)));
            watched.extend(built.filter_map(|(name, service)| of_build(name, service.build.as_ref()?)));
        }
        match watched.is_empty() {
            true => Err(PlanError::NothingWatched),
            false => Ok(watched),
        }
    }

    /// These services, and those of `all` that are built from one of them.
    pub(in super::super) fn with_users(&self, services: &mut BTreeSet<String>, all: &BTreeSet<String>) {
        loop {
            let is_user = |name: &&String| {
                let build = self.document.services.get(*name).and_then(|service| service.build.as_ref());
                let contexts = build.into_iter().flat_map(|build| build.additional_contexts.values());
                let mut bases = contexts.filter_map(|context| context.strip_prefix("service:"));
                !services.contains(*name) && bases.any(|base| services.contains(base))
            };
            let users: Vec<String> = all.iter().filter(is_user).cloned().collect();
            if users.is_empty() {
                return;
            }
            services.extend(users);
        }
    }
}

fn of_trigger(name: &str, service: &Service, trigger: &Trigger) -> Result<Watched, PlanError> {
    let refused = |reason: String| PlanError::Service { service: name.to_owned(), reason };
    let target = || trigger.target.clone().ok_or_else(|| refused("a target is needed to sync".to_owned()));
    let action = match trigger.action.as_str() {
        "rebuild" if service.build.is_none() => {
            let (service, action) = (name.to_owned(), trigger.action.clone());
            return Err(PlanError::NoContext { service, action });
        }
        "rebuild" => Action::Rebuild,
        "restart" => Action::Restart,
        "sync" => Action::Sync { target: target()?, then: Then::Nothing },
        "sync+restart" => Action::Sync { target: target()?, then: Then::Restart },
        "sync+exec" => Action::Sync { target: target()?, then: Then::Exec(Box::new(program(&trigger.exec))) },
        other => return Err(refused(format!("the action `{other}` is not known here"))),
    };
    let ignored = EPHEMERAL.iter().map(|pattern| (*pattern).to_owned()).chain(trigger.ignore.iter().cloned());
    let path = PathBuf::from(&trigger.path);
    let included = match trigger.include.is_empty() {
        true => None,
        false => {
            let rules = IgnoreRules::from_patterns(trigger.include.iter().map(String::as_str));
            Some(rules.map_err(|error| refused(format!("develop.watch.include: {error}")))?)
        }
    };
    Ok(Watched {
        service: name.to_owned(),
        sources: Sources::of_path(&path, ignored.collect()),
        context: service.build.as_ref().and_then(|build| Some((PathBuf::from(&build.context), sources_of(build)?))),
        path,
        included,
        action,
        starts_in_step: trigger.initial_sync,
    })
}

fn of_build(name: &str, build: &Build) -> Option<Watched> {
    Some(Watched {
        service: name.to_owned(),
        path: PathBuf::from(&build.context),
        sources: sources_of(build)?,
        context: None,
        included: None,
        action: Action::Rebuild,
        starts_in_step: false,
    })
}

/// The files of this machine that a build reads.
fn sources_of(build: &Build) -> Option<Sources> {
    let context = Path::new(&build.context);
    if !context.is_dir() {
        return None;
    }
    let dockerfile = build.dockerfile.as_ref().filter(|_| build.dockerfile_inline.is_none());
    let dockerfile = dockerfile.map(|name| context.join(name));
    let sources = Sources::of_context(context, dockerfile.as_deref());
    let further = build.additional_contexts.values().map(Path::new).filter(|path| path.is_dir());
    Some(further.fold(sources, |sources, path| sources.and_context(path)))
}

fn program(hook: &Hook) -> Program {
    let env = hook.environment.iter().map(|(name, value)| format!("{name}={}", value.as_deref().unwrap_or_default()));
    Program {
        args: hook.command.clone().unwrap_or_default(),
        env: env.collect(),
        cwd: hook.working_dir.clone().filter(|folder| !folder.is_empty()),
        user: hook.user.clone().filter(|user| !user.is_empty()),
        is_privileged: hook.privileged,
    }
}

impl Watched {
    /// Whether a change of `path` matters.
    pub(in super::super) fn has(&self, path: &Path) -> bool {
        let is_left_out =
            self.context.as_ref().is_some_and(|(folder, sources)| path.starts_with(folder) && !sources.has(path));
        let is_included = self.included.as_ref().is_none_or(|included| {
            let below = path.strip_prefix(&self.path).unwrap_or(path);
            included.verdict_from_root(below.as_os_str().as_encoded_bytes()).is_excluded()
        });
        self.sources.has(path) && !is_left_out && is_included
    }

    /// Where `path` is in a container in which the watched file or folder is `target`.
    pub(in super::super) fn place_in(&self, target: &str, path: &Path) -> PathBuf {
        match path.strip_prefix(&self.path) {
            Ok(below) if !below.as_os_str().is_empty() => Path::new(target).join(below),
            _ => PathBuf::from(target),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_included_and_not_ignored_matters() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir_all(root.join("src")).unwrap();
        std::fs::write(root.join(".dockerignore"), "*.tmp\n").unwrap();
        let build = Build { context: root.display().to_string(), ..Build::default() };
        let service = Service { build: Some(build), ..Service::default() };
        let trigger = Trigger {
            path: root.display().to_string(),
            action: "sync".to_owned(),
            target: Some("/app".to_owned()),
            ignore: vec!["node_modules/".to_owned()],
            include: vec!["src".to_owned(), "*.tmp".to_owned()],
            ..Trigger::default()
        };
        let watched = of_trigger("web", &service, &trigger).unwrap();
        let matters = |path: &str| watched.has(&root.join(path));
        assert!(matters("src/a.js") && matters("src/deep/b"));
        for path in ["node_modules/x", "other", "x.tmp", "src/.a.swp", "src/a~"] {
            assert!(!matters(path), "{path}");
        }
        assert_eq!(watched.place_in("/app", &root.join("src/a")), Path::new("/app/src/a"));
        assert_eq!(watched.place_in("/app", root), Path::new("/app"));
        let restart = Trigger { action: "rebuild".to_owned(), ..trigger };
        assert!(of_trigger("web", &Service::default(), &restart).is_err());
    }
}
