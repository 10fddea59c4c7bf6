//! What `bake --watch` looks at: the files of each target, which targets are made from others, and the definition itself.

use std::path::PathBuf;

use slipway_graph::request::BuildRequest;

use super::definition_files::{self, DEFAULT_NAMES};
use super::remote::Remote;
use super::{BuildSettings, definition, flags, select, told};
use crate::cli::bake::BakeArgs;
use crate::report::CommandError;
use crate::surroundings::ThisMachine;
use crate::watch::{Plan, Sources, WatchedTarget};

/// The plan for what `args` ask for, as the definition is now.
pub(super) fn plan(args: &BakeArgs) -> Result<Plan, CommandError> {
    if args.targets.first().is_some_and(|first| Remote::of_argument(first).is_some()) {
        return Err(told("--watch needs a definition in a file of this machine"));
    }
    let files = definition_files::find(&args.files)?;
    let mut names: Vec<PathBuf> = files.iter().map(|file| PathBuf::from(&file.name)).collect();
    if args.files.is_empty() {
        // One that is written later is read, too.
        names.extend(DEFAULT_NAMES.map(PathBuf::from));
    }
    names.push(PathBuf::from(".env"));
    let call = args.call().map_err(told)?;
    let definition = definition::read(files, &args.variables, definition::WORKING_DIR)?;
    let selection = select(&definition, &args.targets, &args.overrides(call.as_ref())).map_err(told)?;
    let is_selected = |name: &String| {
        selection.groups.values().any(|group| group.targets.iter().flatten().any(|member| member == name))
    };
    let targets = selection.targets.iter().map(|(name, target)| {
        let flags = flags::of_target(target, BuildSettings::of(args, call.as_ref()));
        let request = BuildRequest::from_flags(&flags, &ThisMachine).map_err(|error| told(&error))?;
        let uses = target.contexts.values().filter_map(|context| context.strip_prefix("target:")).map(str::to_owned);
        Ok(WatchedTarget {
            name: name.clone(),
            sources: Sources::of_request(&request),
            uses: uses.collect(),
            is_selected: is_selected(name),
        })
    });
    Ok(Plan { targets: targets.collect::<Result<_, CommandError>>()?, definition: Sources::of_files(names) })
}
