//! Why did a step run? Compares what its key was made of with the nearest earlier build of the same step.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use slipway_store::Store;

use super::note::{Note, PartKind, short};
use super::{BuildRecord, HitKind, StepRecord};
use crate::context::{FileState, Manifest};

/// All steps of a build with what became of them and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    pub build: String,
    /// In the order of the graph: what a step uses comes before it.
    pub steps: Vec<StepExplanation>,
    pub first_break: Option<Break>,
}

/// The first step that ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Break {
    pub step: String,
    /// How many other steps ran that use its result, directly or through others.
    pub n_followed: usize,
}

/// What became of one step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepExplanation {
    /// See [`StepRecord::number`].
    pub number: u32,
    pub step: String,
    pub stage: Option<String>,
    pub lines: Option<(usize, usize)>,
    pub outcome: Outcome,
    /// It only provides files.
    pub is_source: bool,
    /// What differs from the nearest earlier build of the step; for a hit, why it was not the same key.
    pub reasons: Vec<Reason>,
}

/// Whether a step ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Ran,
    /// Its result was there.
    Hit,
    /// Its inputs were made again and came out equal, so its result was there.
    EqualInputs,
    /// The build ended before.
    NotReached,
}

/// Why the result of an earlier build could not be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// No build is remembered that had this step.
    FirstTime,
    /// It was not to be used (`--no-cache`).
    NotWanted,
    /// Nothing differs; there was a result, and it is no longer in the store.
    ResultGone,
    /// Nothing differs; the step did not succeed then.
    FailedBefore,
    /// What the key of the earlier build was made of is not remembered.
    Forgotten,
    Changed {
        what: PartKind,
        name: String,
        before: Option<String>,
        after: Option<String>,
    },
    File {
        path: String,
        change: FileChange,
    },
    /// Files differ, and they are too many to be listed, or differ in extended attributes.
    Files {
        selection: String,
    },
    /// Another step, whose result this one uses, differs.
    Parent {
        step: String,
    },
}

/// How a file differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileChange {
    Appeared,
    Gone,
    /// It has the content that another file had, which is gone.
    Renamed {
        from: String,
    },
    Kind {
        before: String,
        after: String,
    },
    Content,
    Mode {
        before: String,
        after: String,
    },
    Owner {
        before: String,
        after: String,
    },
}

/// Explains `build`. `all` are the builds that `store` remembers, the newest first.
pub fn explain(store: &Store, build: &BuildRecord, all: &[BuildRecord]) -> Explanation {
    let is_same_file = |other: &&BuildRecord| {
        other.request.context == build.request.context
            && other.request.dockerfile == build.request.dockerfile
            && other.request.platforms == build.request.platforms
    };
    let earlier: Vec<&BuildRecord> = all
        .iter()
        .filter(|other| other.id != build.id && other.started_ns < build.started_ns)
        .filter(is_same_file)
        .collect();
    let explainer = Explainer { store, build, earlier };
    let steps: Vec<&StepRecord> = build.steps.iter().filter(|step| is_shown(step)).collect();
    Explanation {
        build: build.id.clone(),
        first_break: first_break(&steps),
        steps: steps.into_iter().map(|step| explainer.step(step)).collect(),
    }
}

/// Folders of the host and what slipway does beside the Dockerfile have no say of their own.
fn is_shown(step: &StepRecord) -> bool {
    step.vertex.is_some() && !step.name.starts_with("[internal]")
}

fn first_break(steps: &[&StepRecord]) -> Option<Break> {
    let first = steps.iter().find(|step| step.ran())?;
    let mut reached = BTreeSet::from([first.number]);
    let mut n_followed = 0;
    for step in steps {
        let uses_reached = step.vertex.iter().flat_map(|vertex| &vertex.inputs).any(|input| reached.contains(input));
        if uses_reached {
            reached.insert(step.number);
            n_followed += usize::from(step.ran());
        }
    }
    Some(Break { step: first.name.clone(), n_followed })
}

struct Explainer<'a> {
    store: &'a Store,
    build: &'a BuildRecord,
    /// Those of the same Dockerfile, the newest first.
    earlier: Vec<&'a BuildRecord>,
}

impl Explainer<'_> {
    fn step(&self, step: &StepRecord) -> StepExplanation {
        let outcome = match step.hit {
            Some(HitKind::Definition | HitKind::NotNeeded) => Outcome::Hit,
            Some(HitKind::Identity | HitKind::Content) => Outcome::EqualInputs,
            None if step.started_ns.is_some() => Outcome::Ran,
            None => Outcome::NotReached,
        };
        StepExplanation {
            number: step.number,
            step: step.name.clone(),
            stage: step.stage().map(str::to_owned),
            lines: step.lines,
            outcome,
            is_source: step.vertex.as_ref().is_some_and(|vertex| vertex.is_source),
            reasons: self.reasons(step, outcome),
        }
    }

    fn reasons(&self, step: &StepRecord, outcome: Outcome) -> Vec<Reason> {
        let Some(vertex) = step.vertex.as_ref().filter(|_| outcome != Outcome::NotReached) else { return Vec::new() };
        let ran = outcome == Outcome::Ran;
        if ran && vertex.ignores_cache {
            return vec![Reason::NotWanted];
        }
        let nearest = self.earlier.iter().find_map(|build| same_step(build, self.build, step));
        let Some((nearest, then)) = nearest.and_then(|nearest| Some((nearest, nearest.vertex.as_ref()?))) else {
            return if ran { vec![Reason::FirstTime] } else { Vec::new() };
        };
        if then.key == vertex.key {
            return match (ran, nearest.error.is_some() || nearest.is_canceled) {
                (false, _) => Vec::new(),
                (true, true) => vec![Reason::FailedBefore],
                (true, false) => vec![Reason::ResultGone],
            };
        }
        let note = |key| self.store.build_note(key).ok().flatten().and_then(|bytes| Note::from_bytes(&bytes));
        let (Some(before), Some(after)) = (note(&then.key), note(&vertex.key)) else { return vec![Reason::Forgotten] };
        self.differences(step, &before, &after)
    }

    fn differences(&self, step: &StepRecord, before: &Note, after: &Note) -> Vec<Reason> {
        let mut reasons = Vec::new();
        let names: BTreeSet<_> = before.0.keys().chain(after.0.keys()).collect();
        for name in names {
            let (then, now) = (before.0.get(name), after.0.get(name));
            let (what, name) = name;
            match what {
                _ if then == now => {}
                PartKind::Files => {}
                PartKind::Parent => reasons.extend(self.parent(step, name)),
                _ => reasons.push(Reason::Changed {
                    what: *what,
                    name: name.clone(),
                    before: then.map(|value| readable(*what, value)),
                    after: now.map(|value| readable(*what, value)),
                }),
            }
        }
        reasons.extend(self.files(before, after));
        // Several mounts or sources may be of one step.
        let mut seen = Vec::new();
        reasons.retain(|reason| {
            !seen.contains(reason) && {
                seen.push(reason.clone());
                true
            }
        });
        // A parent that came out equal is no reason if there is a better one.
        let is_equal = |reason: &Reason| matches!(reason, Reason::Parent { step } if self.came_out_equal(step));
        if !reasons.iter().all(is_equal) {
            reasons.retain(|reason| !is_equal(reason));
        }
        reasons
    }

    fn parent(&self, step: &StepRecord, place: &str) -> Option<Reason> {
        let inputs = &step.vertex.as_ref()?.inputs;
        let input = inputs.get(place.parse::<usize>().ok()?)?;
        Some(Reason::Parent { step: self.build.step(*input)?.name.clone() })
    }

    fn came_out_equal(&self, name: &str) -> bool {
        let step = self.build.steps.iter().find(|step| step.name == name);
        step.is_some_and(|step| matches!(step.hit, Some(HitKind::Identity | HitKind::Content)))
    }

    /// Selections are compared by name; those whose source was renamed, in their order.
    fn files(&self, before: &Note, after: &Note) -> Vec<Reason> {
        let selections = |note: &Note, other: &Note| -> Vec<(String, String)> {
            let files = note.0.iter().filter(|((kind, _), _)| *kind == PartKind::Files);
            let differing = files.filter(|(name, value)| other.0.get(*name) != Some(*value));
            differing.map(|((_, name), value)| (name.clone(), value.clone())).collect()
        };
        let mut then = selections(before, after);
        let mut reasons = Vec::new();
        for (selection, now) in selections(after, before) {
            let place = then.iter().position(|(name, _)| *name == selection).or((!then.is_empty()).then_some(0));
            let Some((_, then)) = place.map(|place| then.remove(place)) else { continue };
            let changes = match (self.manifest(&then), self.manifest(&now)) {
                (Some(then), Some(now)) => compare(&then, &now),
                _ => Vec::new(),
            };
            match then == now {
                true => {}
                false if changes.is_empty() => reasons.push(Reason::Files { selection }),
                false => reasons.extend(changes),
            }
        }
        reasons
    }

    fn manifest(&self, digest: &str) -> Option<Manifest> {
        Manifest::from_bytes(&self.store.build_note(&digest.parse().ok()?).ok()??)
    }
}

/// The step of `earlier` that is `step` of `build`: the same instruction in the same stage; failing that, the one in
/// its place, if `build` has it no more.
fn same_step<'a>(earlier: &'a BuildRecord, build: &BuildRecord, step: &StepRecord) -> Option<&'a StepRecord> {
    let was_reached = |then: &&StepRecord| then.started_ns.is_some() || then.hit.is_some();
    let is_in_stage = |other: &&StepRecord| is_shown(other) && other.stage() == step.stage();
    let is_same = |other: &&StepRecord| is_in_stage(other) && other.instruction() == step.instruction();
    let n_before = build.steps.iter().filter(is_same).position(|other| other.number == step.number)?;
    let same = earlier.steps.iter().filter(is_same).nth(n_before);
    let in_its_place = || {
        let place = build.steps.iter().filter(is_in_stage).position(|other| other.number == step.number)?;
        let then = earlier.steps.iter().filter(is_in_stage).nth(place)?;
        let is_still_there =
            build.steps.iter().filter(is_in_stage).any(|other| other.instruction() == then.instruction());
        let is_same_keyword = keyword(then) == keyword(step);
        (!is_still_there && is_same_keyword).then_some(then)
    };
    same.or_else(in_its_place).filter(was_reached)
}

fn keyword(step: &StepRecord) -> &str {
    step.instruction().split(' ').next().unwrap_or_default()
}

/// Digests are shortened.
fn readable(what: PartKind, value: &str) -> String {
    match (what, value.parse()) {
        (PartKind::Base | PartKind::Remote, Ok(digest)) => short(&digest),
        _ => value.to_owned(),
    }
}

fn compare(before: &Manifest, after: &Manifest) -> Vec<Reason> {
    let mut gone: BTreeMap<&String, &FileState> =
        before.0.iter().filter(|(path, _)| !after.0.contains_key(*path)).collect();
    let mut reasons = Vec::new();
    let mut add = |path: &str, change| reasons.push(Reason::File { path: path.to_owned(), change });
    for (path, now) in &after.0 {
        let Some(then) = before.0.get(path) else {
            let old_name = gone.iter().find(|(_, then)| then.kind == "file" && **then == now).map(|(old, _)| *old);
            match old_name {
                Some(old) => {
                    gone.remove(old);
                    add(path, FileChange::Renamed { from: old.clone() });
                }
                None => add(path, FileChange::Appeared),
            }
            continue;
        };
        let both = |part: fn(&FileState) -> &String| (part(then).clone(), part(now).clone());
        if then.kind != now.kind {
            let (before, after) = both(|state| &state.kind);
            add(path, FileChange::Kind { before, after });
            continue;
        }
        if then.content != now.content {
            add(path, FileChange::Content);
        }
        if then.mode != now.mode {
            let (before, after) = both(|state| &state.mode);
            add(path, FileChange::Mode { before, after });
        }
        if then.owner != now.owner {
            let (before, after) = both(|state| &state.owner);
            add(path, FileChange::Owner { before, after });
        }
    }
    gone.into_keys().for_each(|path| add(path, FileChange::Gone));
    reasons
}
