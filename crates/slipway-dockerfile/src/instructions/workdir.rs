//! `WORKDIR path`: where later steps run; made if it is not there (`spec/dockerfile.md` section 3.9).

use slipway_graph::Op;
use slipway_graph::op::{FileAction, FileOp, MkdirAction};

use super::copy::{check_owner, owner_of};
use super::{flags, one_argument};
use crate::facts::Seen;
use crate::stage_builder::Step;
use crate::{Diagnostic, Instruction, paths};

#[derive(Clone, Debug)]
pub(crate) struct Workdir(String);

pub(super) fn check(instruction: &Instruction) -> Result<Workdir, Diagnostic> {
    flags::check_none(instruction)?;
    Ok(Workdir(one_argument(instruction)))
}

pub(super) fn lower(workdir: &Workdir, step: &mut Step<'_, '_>) -> Result<(), Diagnostic> {
    let path = step.expand(&workdir.0)?;
    step.see(Seen::Workdir { path: path.clone(), is_first: !step.stage.has_workdir });
    step.stage.has_workdir = true;
    let cwd = match path.as_str() {
        "" => step.stage.cwd().to_owned(),
        // Absolute paths are kept as written, `/a/../b/` and all: they show in the config.
        path if path.starts_with('/') => path.to_owned(),
        path => paths::join(step.stage.cwd(), path),
    };
    step.stage.config.config.working_dir = cwd.clone();
    let has_layer = cwd != "/";
    if has_layer {
        make(&cwd, step)?;
    }
    step.record(format!("WORKDIR {cwd}"), has_layer);
    Ok(())
}

fn make(path: &str, step: &mut Step<'_, '_>) -> Result<(), Diagnostic> {
    let user = step.stage.config.config.user.clone();
    let owner = (!user.is_empty()).then(|| owner_of(&user));
    if let Some(owner) = &owner {
        check_owner(owner, step.stage.vertex, step)?;
    }
    let mkdir = MkdirAction { path: paths::clean(path), mode: 0o755, owner, mtime: step.build.epoch.seconds };
    let op = Op::File(FileOp { actions: vec![FileAction::Mkdir(mkdir)] });
    let text = step.text("");
    let name = step.stage.next_name(&text);
    // The cache is never bypassed for folders.
    step.stage.vertex = step.add(op, vec![step.stage.vertex], name, false);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::lower::tests::{Case, graph};

    #[test]
    fn relative_paths_pile_up_and_absolute_ones_are_kept_as_written() {
        let case = Case::new("FROM scratch\nWORKDIR a\nWORKDIR a\nWORKDIR $UNSET\nWORKDIR /x/../b/\nWORKDIR /\n");
        assert_eq!(case.history(), ["WORKDIR /a", "WORKDIR /a/a", "WORKDIR /a/a", "WORKDIR /x/../b/", "WORKDIR /"]);
        let empty: Vec<bool> = case.config().history.iter().map(|h| h.empty_layer).collect();
        assert_eq!(empty, [false, false, false, false, true]);
        assert_eq!(case.config().config.working_dir, "/");
    }

    #[test]
    fn a_new_folder_belongs_to_the_user() {
        assert_eq!(
            graph("FROM scratch\nUSER 1:root\nWORKDIR /n\n"),
            "0 scratch\n1 file(0) [1/1] WORKDIR /n\n  mkdir /n 755 owner=1:0\n"
        );
    }
}
