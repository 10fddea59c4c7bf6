//! Answers one question: what do the definition files say together? (`spec/bake.md` sections 3, 5 and 18)
//!
//! Compose files make one project, and bake files one definition, which is put on top of the project's builds.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;

use slipway_bake::{BakeError, Definition, Diagnostics, Inputs, SourceFile, check_syntax};
use slipway_compose::{ComposeError, Omit, Project};
use slipway_graph::LineRange;
use slipway_oci::Platform;

use super::told;
use crate::commands::compose::{ThisDisk, add_env_file};
use crate::env_vars;
use crate::report::{CommandError, excerpt, hint_line};

/// The context of a command that names none.
pub(super) const WORKING_DIR: &str = "cwd://";

/// Reads all files; `typed` are the values of `--var`.
pub(super) fn read(
    files: Vec<SourceFile>,
    typed: &[String],
    command_context: &str,
) -> Result<Definition, CommandError> {
    let variables = typed.iter().map(|text| variable(text)).collect::<Result<Vec<_>, _>>()?;
    let environment = compose_environment(&variables)?;
    let (mut compose, mut bake) = (Vec::new(), Vec::new());
    for file in files {
        match language(&file, &environment)? {
            Language::Compose => compose.push(slipway_compose::SourceFile { path: file.name, text: file.text }),
            Language::Bake => bake.push(with_extension(file)),
        }
    }
    let own = evaluated_with(&bake, &variables, command_context).map_err(|error| shown(&error, &bake))?;
    if compose.is_empty() {
        return Ok(own);
    }
    let failed = |error: ComposeError| shown_of_compose(&error, "failed to parse compose file: ");
    let project = project(&compose, &environment, false).map_err(failed)?;
    let text = project.to_bake_input().map_err(failed)?;
    let builds = [SourceFile { name: "compose.json".to_owned(), text }];
    // What is wrong there is wrong in no line of it: nobody has written it.
    let builds = evaluated_with(&builds, &[], command_context).map_err(|error| match error {
        BakeError::Definition(Diagnostics(list)) => {
            let detail = list.first().map(|diagnostic| diagnostic.detail.as_str()).unwrap_or_default();
            let detail = detail.strip_prefix("Unsuitable value: ").unwrap_or(detail);
            told(format!("failed to parse compose file: {detail}"))
        }
        other => told(other),
    })?;
    Ok(own.on_top_of(builds))
}

/// What bake files alone say.
pub(super) fn evaluated(files: &[SourceFile]) -> Result<Definition, CommandError> {
    evaluated_with(files, &[], WORKING_DIR).map_err(|error| shown(&error, files))
}

fn evaluated_with(
    files: &[SourceFile],
    variables: &[(String, String)],
    command_context: &str,
) -> Result<Definition, BakeError> {
    let home = env_vars::HOME.get().unwrap_or_default();
    let inputs = Inputs {
        variables,
        environment: &variable_of_environment,
        command_context,
        local_platform: &Platform::host().to_string(),
        home: &home,
        now_seconds: jiff::Timestamp::now().as_second(),
        random: &random_bytes,
    };
    Definition::read(files, &inputs)
}

/// A value of `--var`.
fn variable(text: &str) -> Result<(String, String), CommandError> {
    match text.split_once('=') {
        Some(("", _)) => Err(told(format!("invalid variable {text:?}, key is empty"))),
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err(told(format!("invalid variable {text:?}, expected key=value"))),
    }
}

/// A variable of the environment, as far as definitions may see them.
pub(super) fn variable_of_environment(name: &str) -> Option<String> {
    if is_environment_hidden() { None } else { env_vars::named_by_user(name) }
}

fn is_environment_hidden() -> bool {
    env_vars::BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP.is_true()
}

fn random_bytes() -> [u8; 16] {
    let mut bytes = [0; 16];
    let read = File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut bytes));
    read.expect("every Linux has /dev/urandom");
    bytes
}

/// The variables of Compose files: those of the environment, then those of `.env`; `--var` wins.
fn compose_environment(variables: &[(String, String)]) -> Result<BTreeMap<String, String>, CommandError> {
    let mut environment = if is_environment_hidden() { BTreeMap::new() } else { env_vars::all() };
    add_env_file(".env", &mut environment).map_err(told)?;
    environment.extend(variables.iter().cloned());
    Ok(environment)
}

#[derive(Clone, Copy)]
enum Language {
    Compose,
    Bake,
}

/// Where the name does not tell, a Compose file is what can be read as one.
fn language(file: &SourceFile, environment: &BTreeMap<String, String>) -> Result<Language, CommandError> {
    let name = file.name.to_lowercase();
    if name.ends_with(".json") || name.ends_with(".hcl") || file.text.is_empty() {
        return Ok(Language::Bake);
    }
    // The reference looks at the file without its name.
    let alone = [slipway_compose::SourceFile { path: String::new(), text: file.text.clone() }];
    let Err(mut not_compose) = project(&alone, environment, true) else { return Ok(Language::Compose) };
    if name.ends_with(".yml") || name.ends_with(".yaml") {
        if let Some((place, _)) = not_compose.place.as_mut().filter(|(place, _)| place.path.is_empty()) {
            place.path.clone_from(&file.name);
        }
        return Err(shown_of_compose(&not_compose, ""));
    }
    let file = [with_extension(file.clone())];
    check_syntax(&file[0]).map_err(|diagnostics| {
        let not_bake = diagnostics.headline(&file);
        told(format!("failed to parse {name}: parsing yaml: {not_compose}, parsing hcl: {not_bake}"))
    })?;
    Ok(Language::Bake)
}

/// A bake file with a name that tells what it is, which messages show.
fn with_extension(mut file: SourceFile) -> SourceFile {
    let name = file.name.to_lowercase();
    if !name.ends_with(".json") && !name.ends_with(".hcl") {
        file.name += if file.text.trim_start().starts_with('{') { ".json" } else { ".hcl" };
    }
    file
}

/// Paths stay relative to the working directory. One of several files may refer to what only another one has.
fn project(
    files: &[slipway_compose::SourceFile],
    environment: &BTreeMap<String, String>,
    is_part: bool,
) -> Result<Project, ComposeError> {
    let name = environment.get("COMPOSE_PROJECT_NAME").filter(|name| !name.is_empty());
    let inputs = slipway_compose::Inputs {
        files,
        folder: "",
        environment,
        name: Some(name.map_or("bake", String::as_str)),
        profiles: &["*".to_owned()],
        home: &env_vars::HOME.get().unwrap_or_default(),
        further_files: &ThisDisk,
        omit: Omit { normalization: true, consistency: is_part, beyond_builds: true, ..Omit::default() },
    };
    let project = Project::read(&inputs)?;
    if !is_part {
        project.check()?;
    }
    Ok(project)
}

/// The error with the lines of its file.
pub(super) fn shown(error: &BakeError, files: &[SourceFile]) -> CommandError {
    let BakeError::Definition(diagnostics) = error else { return told(error) };
    let block = diagnostics
        .place(files)
        .map(|(file, first, last)| excerpt(&file.name, &file.text, LineRange { first, last }, None));
    CommandError::Told(format!("{}ERROR: {}\n", block.unwrap_or_default(), diagnostics.headline(files)))
}

fn shown_of_compose(error: &ComposeError, before: &str) -> CommandError {
    let block = error
        .place
        .as_ref()
        .map(|(file, line)| excerpt(&file.path, &file.text, LineRange { first: *line, last: *line }, None));
    let hint = hint_line(error.hint.as_deref());
    CommandError::Told(format!("{}{hint}ERROR: {before}{}\n", block.unwrap_or_default(), error.reason))
}
