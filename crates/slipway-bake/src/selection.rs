//! Which targets are meant, and what each of them is in the end (`spec/bake.md` sections 13 and 15.3).

use std::collections::{BTreeMap, BTreeSet};

use crate::attribute::Fields;
use crate::definition::{BakeError, Definition, Group};
use crate::glob;
use crate::overrides::Override;
use crate::target::Target;

/// What is to be built.
#[derive(Debug)]
pub struct Selection {
    pub groups: BTreeMap<String, Group>,
    pub targets: BTreeMap<String, Target>,
}

fn not_found(name: &str) -> BakeError {
    BakeError::Other(format!("failed to find target {name}"))
}

impl Definition {
    /// The targets that `names` ask for, with those that they are linked to. `source_date_epoch` becomes an argument
    /// of all that do not set it.
    pub fn select(
        &self,
        names: &[String],
        overrides: &[Override],
        source_date_epoch: Option<&str>,
    ) -> Result<Selection, BakeError> {
        overrides.iter().try_for_each(|change| change.check(self))?;
        let requested = self.requested(names)?;
        let mut selection = Selection { groups: BTreeMap::new(), targets: BTreeMap::new() };
        for name in &requested {
            let mut members = Vec::new();
            self.add_members(name, &mut members, &mut selection.groups, &mut BTreeSet::new())?;
            for member in members {
                let target = self.resolved(&member, overrides)?;
                selection.targets.insert(member, target);
            }
        }
        let mut shown: BTreeSet<String> = requested.iter().cloned().collect();
        let mut is_null = false;
        if let Some(default) = self.groups.get("default").filter(|_| shown.remove("default")) {
            shown.extend(default.targets.iter().flatten().cloned());
            is_null = shown.is_empty() && default.targets.is_none();
        }
        let description = selection.groups.get("default").map(|group| group.description.clone()).unwrap_or_default();
        let default = Group { description, targets: (!is_null).then(|| shown.into_iter().collect()) };
        selection.groups.insert("default".to_owned(), default);
        self.add_linked(&mut selection, overrides)?;
        for target in selection.targets.values_mut() {
            target.check()?;
            if let Some(seconds) = source_date_epoch {
                target.args.entry("SOURCE_DATE_EPOCH".to_owned()).or_insert_with(|| seconds.to_owned());
            }
        }
        Ok(selection)
    }

    /// Names without patterns and repetitions.
    fn requested(&self, names: &[String]) -> Result<Vec<String>, BakeError> {
        let mut requested: Vec<String> = Vec::new();
        let names = names.iter().map(|name| name.replace('.', "_"));
        for name in names {
            if !glob::is_pattern(&name) {
                requested.push(name);
                continue;
            }
            let known = self.groups.keys().chain(self.targets.keys());
            let found: Vec<String> = known.filter(|known| glob::matches(&name, known)).cloned().collect();
            if found.is_empty() {
                return Err(BakeError::Other(format!("could not find any target matching {name:?}")));
            }
            requested.extend(found);
        }
        if requested.is_empty() {
            requested.push("default".to_owned());
        }
        let mut seen = BTreeSet::new();
        requested.retain(|name| seen.insert(name.clone()));
        Ok(requested)
    }

    /// Follows groups. Within a group its own name is that of a target.
    fn add_members(
        &self,
        name: &str,
        members: &mut Vec<String>,
        groups: &mut BTreeMap<String, Group>,
        open: &mut BTreeSet<String>,
    ) -> Result<(), BakeError> {
        let group = self.groups.get(name).filter(|_| !open.contains(name));
        let Some(group) = group else {
            if !self.targets.contains_key(name) {
                return Err(not_found(name));
            }
            if !members.iter().any(|member| member == name) {
                members.push(name.to_owned());
            }
            return Ok(());
        };
        if open.len() > crate::syntax::MAX_NESTING {
            return Err(BakeError::Other(format!("group {name} is nested too deeply")));
        }
        let is_known = groups.insert(name.to_owned(), group.clone()).is_some();
        // What was followed before has been added; only a group that is open must be looked into again.
        if is_known && open.is_empty() {
            return Ok(());
        }
        open.insert(name.to_owned());
        for member in group.targets.iter().flatten() {
            self.add_members(member, members, groups, open)?;
        }
        open.remove(name);
        Ok(())
    }

    /// Adds the targets that contexts point at. Their results go nowhere unless they were asked for, too.
    fn add_linked(&self, selection: &mut Selection, overrides: &[Override]) -> Result<(), BakeError> {
        let names: Vec<String> = selection.targets.keys().cloned().collect();
        names.iter().try_for_each(|name| self.follow_links(name, selection, overrides, &mut Vec::new()))
    }

    fn follow_links(
        &self,
        name: &str,
        selection: &mut Selection,
        overrides: &[Override],
        path: &mut Vec<String>,
    ) -> Result<(), BakeError> {
        if path.len() > crate::syntax::MAX_NESTING {
            return Err(BakeError::Other(format!("target {name} is linked through too many others")));
        }
        path.push(name.to_owned());
        let contexts = selection.targets[name].contexts.clone();
        for linked in contexts.values().filter_map(|context| context.strip_prefix("target:")) {
            if linked == name {
                return Err(BakeError::Other(format!("target {name} cannot link to itself")));
            }
            if path.iter().any(|earlier| earlier == linked) {
                return Err(BakeError::Other(format!("infinite loop from {name} to {linked}")));
            }
            if !selection.targets.contains_key(linked) {
                let mut target = self.resolved(linked, overrides)?;
                target.outputs = Some(vec![Fields::from([("type".to_owned(), "cacheonly".to_owned())])]);
                selection.targets.insert(linked.to_owned(), target);
            }
            self.follow_links(linked, selection, overrides, path)?;
            let (own, other) = (&selection.targets[name], &selection.targets[linked]);
            let (own_platforms, platforms) =
                (own.platforms.clone().unwrap_or_default(), other.platforms.clone().unwrap_or_default());
            let is_covered = own_platforms.iter().all(|platform| platforms.contains(platform));
            if own_platforms.len() > 1 && platforms.len() > 1 && !is_covered {
                return Err(BakeError::Other(format!(
                    "target {linked} can't be used by {name} because its platforms [{}] are not a subset of [{}]",
                    own_platforms.join(" "),
                    platforms.join(" ")
                )));
            }
            let entitlements = other.entitlements.clone();
            if let Some(target) = selection.targets.get_mut(name) {
                for entitlement in entitlements {
                    if !target.entitlements.contains(&entitlement) {
                        target.entitlements.push(entitlement);
                    }
                }
            }
        }
        path.pop();
        Ok(())
    }
}

impl Target {
    fn check(&self) -> Result<(), BakeError> {
        let problem = |text: &str| Err(BakeError::Other(text.to_owned()));
        if self.context.as_deref() == Some("-") {
            return problem("context from stdin not allowed in bake");
        }
        if self.dockerfile.as_deref() == Some("-") {
            return problem("dockerfile from stdin not allowed in bake");
        }
        for annotation in &self.annotations {
            if !annotation.contains('=') {
                return problem(&format!("invalid annotation {annotation:?}, expected key=value"));
            }
        }
        Ok(())
    }
}
