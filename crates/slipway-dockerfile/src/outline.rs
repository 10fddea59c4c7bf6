//! What can be given to a build of a target: args, secrets, ssh agents (`spec/dockerfile.md` section 9.3).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use slipway_graph::LineRange;

use crate::facts::{ArgValue, Fact, Facts, Seen};
use crate::{Args, Dockerfile, Keyword};

/// The parameters of a target, each list in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// The name of the stage, lower case.
    pub name: Option<String>,
    pub description: Option<String>,
    pub args: Vec<OutlineArg>,
    pub secrets: Vec<OutlineMount>,
    pub ssh: Vec<OutlineMount>,
}

/// A build arg that the target, or a stage that it needs, makes use of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutlineArg {
    pub name: String,
    /// What it is in this build; empty if it has no value.
    pub value: String,
    pub description: Option<String>,
    pub lines: LineRange,
}

/// A secret or an ssh agent by id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutlineMount {
    pub id: String,
    pub is_required: bool,
    pub lines: LineRange,
}

/// The outline of the target that was lowered.
pub fn outline(dockerfile: &Dockerfile, facts: &Facts) -> Outline {
    let Some(target) = facts.target else { return Outline::default() };
    let mut outline = Outline::default();
    (outline.name, outline.description) = name_and_description(dockerfile, target);
    let by_stage = ByStage::of(facts);
    let mut visited = HashSet::new();
    let (mut secrets, mut ssh) = (HashSet::new(), HashSet::new());
    for stage in visiting_order(facts, target) {
        let args = by_stage.args_of(stage).into_iter().filter(|arg| visited.insert(arg.name.clone()));
        outline.args.extend(args);
        for fact in by_stage.facts_of(stage) {
            let (mounts, known, id, is_required) = match &fact.seen {
                Seen::Secret { id, is_required } => (&mut outline.secrets, &mut secrets, id, *is_required),
                Seen::Ssh { id, is_required } => (&mut outline.ssh, &mut ssh, id, *is_required),
                _ => continue,
            };
            if known.insert(id.as_str()) {
                mounts.push(OutlineMount { id: id.clone(), is_required, lines: fact.place.lines });
            }
        }
    }
    outline.args.sort_by_key(|arg| arg.lines.first);
    outline.secrets.sort_by_key(|mount| mount.lines.first);
    outline.ssh.sort_by_key(|mount| mount.lines.first);
    outline
}

fn name_and_description(dockerfile: &Dockerfile, target: usize) -> (Option<String>, Option<String>) {
    let mut stages = dockerfile.instructions.iter().filter(|instruction| instruction.keyword == Keyword::From);
    let Some(from) = stages.nth(target) else { return (None, None) };
    let name = match &from.args {
        Args::Words(words) => words.get(2).map(|word| word.text.to_lowercase()),
        _ => None,
    };
    let description = name.as_deref().and_then(|name| from.description_of(name));
    (name, description)
}

/// The target, then what it is based on, then what it takes files from, each once.
fn visiting_order(facts: &Facts, target: usize) -> Vec<usize> {
    let mut order = Vec::new();
    let mut seen = HashSet::new();
    let mut open = vec![target];
    while let Some(stage) = open.pop() {
        if !seen.insert(stage) {
            continue;
        }
        order.push(stage);
        let links = &facts.stages[stage];
        open.extend(links.needs.iter().rev());
        open.extend(links.base);
    }
    order
}

/// The facts of a file, so that those of a stage are found without a walk over all.
struct ByStage<'f> {
    stages: HashMap<usize, Vec<&'f Fact>>,
    /// What is declared in front of the first stage, and the variables in its default.
    globals: Vec<(&'f Fact, &'f ArgValue, &'f [String])>,
    /// The last of the globals of each name.
    last_globals: HashMap<&'f str, usize>,
}

impl<'f> ByStage<'f> {
    fn of(facts: &'f Facts) -> ByStage<'f> {
        let mut by_stage = ByStage { stages: HashMap::new(), globals: Vec::new(), last_globals: HashMap::new() };
        for fact in &facts.facts {
            by_stage.stages.entry(fact.stage).or_default().push(fact);
            if let Seen::GlobalArg { arg, uses } = &fact.seen {
                by_stage.last_globals.insert(&arg.name, by_stage.globals.len());
                by_stage.globals.push((fact, arg, uses));
            }
        }
        by_stage
    }

    fn facts_of(&self, stage: usize) -> impl Iterator<Item = &'f Fact> {
        self.stages.get(&stage).into_iter().flatten().copied()
    }

    /// The args that a stage declares, and those in front of the first stage that its `FROM` or another arg uses.
    fn args_of(&self, stage: usize) -> Vec<OutlineArg> {
        let mut open: Vec<&str> = Vec::new();
        let mut own: Vec<(&Fact, &ArgValue)> = Vec::new();
        for fact in self.facts_of(stage) {
            match &fact.seen {
                Seen::FromVariables(names) => open.extend(names.iter().map(String::as_str)),
                Seen::Arg { name } => open.push(name),
                Seen::OwnArg(arg) => own.push((fact, arg)),
                _ => {}
            }
        }
        let own_names: HashSet<&str> = own.iter().map(|(_, arg)| arg.name.as_str()).collect();
        let (mut used, mut found) = (HashSet::new(), BTreeSet::new());
        while let Some(name) = open.pop() {
            if !used.insert(name) || own_names.contains(name) {
                continue;
            }
            let Some(last) = self.last_globals.get(name) else { continue };
            found.insert(*last);
            open.extend(self.globals[*last].2.iter().map(String::as_str));
        }
        let globals = found.into_iter().map(|at| (self.globals[at].0, self.globals[at].1));
        // The last declaration of a name is the one that counts.
        let mut args: BTreeMap<usize, OutlineArg> = BTreeMap::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        for (at, (fact, arg)) in globals.chain(own.iter().copied()).enumerate() {
            if let Some(earlier) = places.insert(&arg.name, at) {
                args.remove(&earlier);
            }
            let ArgValue { name, value, description } = arg.clone();
            args.insert(at, OutlineArg { name, value, description, lines: fact.place.lines });
        }
        args.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lower::tests::Case;
    use crate::parse;

    fn of(case: &Case, text: &str) -> Outline {
        outline(&parse(text.as_bytes()).0, &case.facts().0)
    }

    #[test]
    fn only_what_the_target_reaches_is_listed() {
        let text = "# V is a version\nARG V=1\nARG W=$V X\nARG UNUSED=1\nFROM scratch$X AS base\n# A helps\nARG A=x B\n\
                    RUN --mount=type=secret,id=s,required --mount=type=ssh x\nFROM scratch AS other\nARG O=1\n\
                    RUN --mount=type=secret,id=o x\n# final is it\nFROM scratch AS Final\nARG W TARGETARCH\n\
                    COPY --from=base / /\n";
        let outline = of(&Case::new(text).arg("B", "2").arg("X", ""), text);
        assert_eq!((outline.name.as_deref(), outline.description.as_deref()), (Some("final"), Some("is it")));
        let args: Vec<_> = outline.args.iter().map(|a| format!("{} {}={}", a.lines.first, a.name, a.value)).collect();
        assert_eq!(args, ["2 V=1", "3 W=1", "3 X=", "7 A=x", "7 B=2"]);
        assert_eq!(outline.args[0].description.as_deref(), Some("is a version"));
        assert_eq!(outline.args[3].description.as_deref(), Some("helps"));
        let secret = OutlineMount { id: "s".to_owned(), is_required: true, lines: LineRange { first: 8, last: 8 } };
        assert_eq!(outline.secrets, [secret]);
        assert_eq!(outline.ssh.iter().map(|mount| mount.id.as_str()).collect::<Vec<_>>(), ["default"]);
    }
}
