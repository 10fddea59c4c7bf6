//! What can be given to a build of a target: args, secrets, ssh agents (`spec/dockerfile.md` section 9.3).

use std::collections::HashSet;

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
    let order = visiting_order(facts, target);
    let mut visited = HashSet::new();
    for stage in order {
        let args = args_of(facts, stage).into_iter().filter(|arg| visited.insert(arg.name.clone()));
        outline.args.extend(args);
        for fact in facts.facts.iter().filter(|fact| fact.stage == stage) {
            let (mounts, id, is_required) = match &fact.seen {
                Seen::Secret { id, is_required } => (&mut outline.secrets, id, *is_required),
                Seen::Ssh { id, is_required } => (&mut outline.ssh, id, *is_required),
                _ => continue,
            };
            if mounts.iter().all(|mount| mount.id != *id) {
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
    let mut open = vec![target];
    while let Some(stage) = open.pop() {
        if order.contains(&stage) {
            continue;
        }
        order.push(stage);
        let links = &facts.stages[stage];
        open.extend(links.needs.iter().rev());
        open.extend(links.base);
    }
    order
}

/// The args that a stage declares, and those in front of the first stage that its `FROM` or another arg uses.
fn args_of(facts: &Facts, stage: usize) -> Vec<OutlineArg> {
    let of_stage = || facts.facts.iter().filter(|fact| fact.stage == stage);
    let mut used: Vec<&str> = Vec::new();
    let mut own: Vec<(&Fact, &ArgValue)> = Vec::new();
    for fact in of_stage() {
        match &fact.seen {
            Seen::FromVariables(names) => used.extend(names.iter().map(String::as_str)),
            Seen::Arg { name } => used.push(name),
            Seen::OwnArg(arg) => own.push((fact, arg)),
            _ => {}
        }
    }
    let globals: Vec<(&Fact, &ArgValue, &Vec<String>)> = facts
        .facts
        .iter()
        .filter_map(|fact| match &fact.seen {
            Seen::GlobalArg { arg, uses } => Some((fact, arg, uses)),
            _ => None,
        })
        .collect();
    let is_own = |name: &str| own.iter().any(|(_, arg)| arg.name == name);
    let mut at = 0;
    while let Some(name) = used.get(at).copied() {
        at += 1;
        let global = globals.iter().rev().find(|(_, arg, _)| arg.name == name && !is_own(name));
        for name in global.into_iter().flat_map(|(_, _, uses)| uses.iter()) {
            if !used.contains(&name.as_str()) {
                used.push(name);
            }
        }
    }
    let globals = globals.iter().map(|(fact, arg, _)| (*fact, *arg)).filter(|(_, arg)| !is_own(&arg.name));
    let mut args: Vec<OutlineArg> = Vec::new();
    for (fact, arg) in globals.chain(own.iter().copied()).filter(|(_, arg)| used.contains(&arg.name.as_str())) {
        let ArgValue { name, value, description } = arg.clone();
        // The last declaration of a name is the one that counts.
        args.retain(|known| known.name != name);
        args.push(OutlineArg { name, value, description, lines: fact.place.lines });
    }
    args
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
