//! `slipway lint`: what is doubtful in Dockerfiles, and rewriting what can safely be rewritten.

mod settings;
mod shellcheck;

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use similar::TextDiff;
use slipway_lint::{Edit, Options, Severity, ShellFinding, all_rules, fixed, lint};

use crate::cli::lint::LintArgs;
use crate::env_vars;
use crate::lint_report::{Linted, render};
use crate::report::CommandError;

use settings::{Settings, SettingsError};

/// Names of Dockerfiles, apart from `NAME.Dockerfile` and `Dockerfile.NAME`.
const NAMES: [&str; 2] = ["Dockerfile", "Containerfile"];

/// After so many rounds of fixes the file is taken as it is: each round mends what the one before made room for.
const MAX_ROUNDS: usize = 10;

/// Files that cannot be looked at.
#[derive(Debug, thiserror::Error)]
enum LintError {
    #[error("cannot read `{}`", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write `{}`", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("there is no Dockerfile here (name one: slipway lint FILE)")]
    NoFile,
    #[error("no Dockerfile lies below `{}`", path.display())]
    NoFileBelow { path: PathBuf },
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

/// Prints what is found in the files; fails if anything is bad enough.
pub(crate) fn run(args: &LintArgs) -> Result<(), CommandError> {
    let refused = |error: LintError| CommandError::Options(error.into());
    if args.rules {
        return print(&rule_list());
    }
    let settings = Settings::of(args).map_err(|error| refused(error.into()))?;
    settings.remarks.iter().for_each(|text| remark(text));
    let mut files = Vec::new();
    for path in paths(&args.files).map_err(refused)? {
        files.push(Input::read(&path).map_err(refused)?);
    }
    if args.fix {
        fix(&mut files, &settings.options, args.dry_run).map_err(refused)?;
    }
    let shell_findings = match args.no_shellcheck {
        true => vec![Vec::new(); files.len()],
        false => shell_findings(&files),
    };
    let linted = files.into_iter().zip(shell_findings).map(|(file, shell_findings)| {
        let options = Options { shell_findings, ..settings.options.clone() };
        let linted = file.linted(&options);
        Linted { name: args.file_path_in_report.clone().unwrap_or(linted.name), ..linted }
    });
    let linted: Vec<Linted> = linted.collect();
    print(&render(settings.format, &linted))?;
    let threshold = settings.threshold;
    let is_bad = |file: &Linted| file.findings.iter().any(|finding| finding.severity >= threshold);
    if !settings.never_fails && threshold != Severity::Ignore && linted.iter().any(is_bad) {
        return Err(CommandError::Findings);
    }
    Ok(())
}

/// What ShellCheck says, by file; without it the files are judged by the rules alone.
fn shell_findings(files: &[Input]) -> Vec<Vec<ShellFinding>> {
    let texts: Vec<&[u8]> = files.iter().map(|file| file.text.as_slice()).collect();
    let search_path = env_vars::PATH.get_os().unwrap_or_default();
    shellcheck::check(&texts, &search_path).unwrap_or_else(|error| {
        remark(&format!("scripts are not checked: {}", slipway_engine::chain(&error)));
        vec![Vec::new(); files.len()]
    })
}

fn remark(text: &str) {
    // Nobody is left to be told that the terminal is gone.
    let _ = writeln!(io::stderr(), "warning: {text}");
}

fn print(text: &str) -> Result<(), CommandError> {
    io::stdout().write_all(text.as_bytes()).map_err(|error| CommandError::Options(error.into()))
}

fn rule_list() -> String {
    let line =
        |rule: &&slipway_lint::Rule| format!("{:<34} {:<8} {}\n", rule.id, rule.severity.to_string(), rule.summary);
    all_rules().iter().map(line).collect()
}

/// The files to look at: those that were named, and those in folders that were named.
fn paths(named: &[String]) -> Result<Vec<PathBuf>, LintError> {
    if named.is_empty() {
        let found = NAMES.map(PathBuf::from).into_iter().find(|path| path.is_file());
        return Ok(vec![found.ok_or(LintError::NoFile)?]);
    }
    let mut paths = Vec::new();
    for path in named.iter().map(PathBuf::from) {
        if !path.is_dir() {
            paths.push(path);
            continue;
        }
        let n_before = paths.len();
        look_below(&path, &mut paths)?;
        if paths.len() == n_before {
            return Err(LintError::NoFileBelow { path });
        }
    }
    Ok(paths)
}

/// Adds the Dockerfiles below `folder`, in the order of their names. Hidden folders and links are not followed.
fn look_below(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<(), LintError> {
    let failed = |source| LintError::Read { path: folder.to_owned(), source };
    let mut entries: Vec<fs::DirEntry> = fs::read_dir(folder).and_then(Iterator::collect).map_err(failed)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() && !name.starts_with('.') && name != "node_modules" {
            look_below(&entry.path(), paths)?;
        }
        let is_dockerfile = NAMES.iter().any(|known| {
            name == *known || name.starts_with(&format!("{known}.")) || name.ends_with(&format!(".{known}"))
        });
        if kind.is_file() && is_dockerfile && !name.ends_with(".dockerignore") {
            paths.push(entry.path());
        }
    }
    Ok(())
}

/// A file as it was read.
struct Input {
    /// `None` is standard input.
    path: Option<PathBuf>,
    text: Vec<u8>,
}

impl Input {
    fn read(path: &Path) -> Result<Input, LintError> {
        let failed = |source| LintError::Read { path: path.to_owned(), source };
        if path.as_os_str() == "-" {
            let mut text = Vec::new();
            io::stdin().read_to_end(&mut text).map_err(failed)?;
            return Ok(Input { path: None, text });
        }
        Ok(Input { path: Some(path.to_owned()), text: fs::read(path).map_err(failed)? })
    }

    fn name(&self) -> String {
        self.path.as_ref().map_or("-".to_owned(), |path| path.display().to_string())
    }

    fn linted(self, options: &Options) -> Linted {
        let options = Options { has_ignore_file: self.has_ignore_file(), ..options.clone() };
        let (dockerfile, errors) = slipway_dockerfile::parse(&self.text);
        let findings = lint(&dockerfile, errors, &options);
        Linted { name: self.name(), text: dockerfile.text, findings }
    }

    /// Looks where a build with the file's folder or the current folder as its context would.
    fn has_ignore_file(&self) -> Option<bool> {
        let path = self.path.as_ref()?;
        let own = PathBuf::from(format!("{}.dockerignore", path.display()));
        let beside = path.with_file_name(".dockerignore");
        Some([own, beside, PathBuf::from(".dockerignore")].iter().any(|path| path.is_file()))
    }
}

/// Rewrites the files, and prints the difference. Text from standard input is shown, never written.
fn fix(files: &mut [Input], options: &Options, is_dry_run: bool) -> Result<(), LintError> {
    for file in files {
        // Bytes that are no text were replaced while parsing; writing them back would lose them.
        let Ok(before) = String::from_utf8(file.text.clone()) else { continue };
        let mut after = before.clone();
        for _ in 0..MAX_ROUNDS {
            let (dockerfile, errors) = slipway_dockerfile::parse(after.as_bytes());
            // A byte order mark moves all places.
            if dockerfile.text != after {
                break;
            }
            let edits: Vec<Edit> =
                lint(&dockerfile, errors, options).into_iter().flat_map(|found| found.edits).collect();
            if edits.is_empty() {
                break;
            }
            after = fixed(&after, &edits);
        }
        if after == before {
            continue;
        }
        let name = file.name();
        let diff = TextDiff::from_lines(&before, &after);
        let shown = diff.unified_diff().header(&name, &name).to_string();
        io::stdout()
            .write_all(shown.as_bytes())
            .map_err(|source| LintError::Write { path: "standard output".into(), source })?;
        if is_dry_run {
            continue;
        }
        if let Some(path) = &file.path {
            fs::write(path, &after).map_err(|source| LintError::Write { path: path.clone(), source })?;
        }
        file.text = after.into_bytes();
    }
    Ok(())
}
