//! `slipway compose build`: the images of a project's services, all in one solve.

use std::ffi::OsString;
use std::io::{self, Write};

use slipway_bake::SourceFile;
use slipway_compose::{BuildOptions, Omit, granted_entitlements};

use super::location::Location;
use super::{read, shown, write_out};
use crate::cli::compose::{ComposeArgs, ServiceBuildArgs};
use crate::commands::bake::{self, BuildSettings, NameUse};
use crate::env_vars;
use crate::report::CommandError;

/// Builds the services that `args` name, or prints what would be built.
pub(super) fn run(
    args: &ServiceBuildArgs,
    all: &ComposeArgs,
    location: &Location,
    is_debug: bool,
    words: &[OsString],
) -> Result<(), CommandError> {
    let mut project = read(location, Omit { environment_files: true, ..Omit::default() })?;
    project.turn_on_all(&args.services).map_err(|error| shown(&error))?;
    project.check().map_err(|error| shown(&error))?;
    let default_platform = env_vars::named_by_user("DOCKER_DEFAULT_PLATFORM").filter(|platform| !platform.is_empty());
    let options = BuildOptions {
        build_args: &args.build_args,
        no_cache: args.no_cache,
        pull: args.pull,
        push: args.push,
        checks: args.check,
        builds_dependencies: args.with_dependencies,
        ssh: args.ssh.as_deref(),
        separator: if all.compatibility { "_" } else { "-" },
        default_platform: default_platform.as_deref(),
    };
    let Some(definition) = project.to_bake(&args.services, &options).map_err(|error| shown(&error))? else {
        // Nobody is left to be told that the terminal is gone.
        let _ = writeln!(io::stderr(), "WARNING: No services to build");
        return Ok(());
    };
    if args.print {
        return write_out(&format!("{definition}\n"));
    }
    let progress = args.progress.as_deref().or(all.progress.as_deref()).unwrap_or("auto");
    let settings = BuildSettings {
        progress: if progress == "json" { "rawjson" } else { progress },
        is_quiet: args.quiet,
        allow: &granted_entitlements(&project),
        metadata_file: None,
        run_tty: false,
        names: NameUse::default(),
        call_fields: "",
        summary: false,
    };
    let file = SourceFile { name: "compose.json".to_owned(), text: definition };
    bake::build_definition(file, settings, is_debug, words)
}
