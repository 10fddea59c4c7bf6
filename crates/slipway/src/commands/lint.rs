//! `slipway lint`: what is doubtful in Dockerfiles, and rewriting what can safely be rewritten.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use similar::TextDiff;
use slipway_lint::{Edit, Options, Severity, all_rules, fixed, lint};

use crate::cli::lint::LintArgs;
use crate::lint_report::{Linted, render};
use crate::report::CommandError;

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
    #[error("no rule is called `{id}` (slipway lint --rules lists them)")]
    NoRule { id: String },
}

/// Prints what is found in the files; fails if anything is bad enough.
pub(crate) fn run(args: &LintArgs) -> Result<(), CommandError> {
    let refused = |error: LintError| CommandError::Options(error.into());
    if args.rules {
        return print(&rule_list());
    }
    let options = options(args).map_err(refused)?;
    let mut files = Vec::new();
    for path in paths(&args.files).map_err(refused)? {
        files.push(Input::read(&path).map_err(refused)?);
    }
    if args.fix {
        fix(&mut files, &options, args.dry_run).map_err(refused)?;
    }
    let linted: Vec<Linted> = files.into_iter().map(|file| file.linted(&options)).collect();
    print(&render(args.format, &linted))?;
    let threshold = args.failure_threshold.unwrap_or(Severity::Info);
    let is_bad = |file: &Linted| file.findings.iter().any(|finding| finding.severity >= threshold);
    if !args.no_fail && threshold != Severity::Ignore && linted.iter().any(is_bad) {
        return Err(CommandError::Findings);
    }
    Ok(())
}

fn print(text: &str) -> Result<(), CommandError> {
    io::stdout().write_all(text.as_bytes()).map_err(|error| CommandError::Options(error.into()))
}

fn rule_list() -> String {
    let line =
        |rule: &&slipway_lint::Rule| format!("{:<34} {:<8} {}\n", rule.id, rule.severity.to_string(), rule.summary);
    all_rules().iter().map(line).collect()
}

fn options(args: &LintArgs) -> Result<Options, LintError> {
    let mut severities = BTreeMap::new();
    let chosen = [
        (&args.styles, Severity::Style),
        (&args.infos, Severity::Info),
        (&args.warnings, Severity::Warning),
        (&args.errors, Severity::Error),
    ];
    for (ids, severity) in chosen {
        severities.extend(ids.iter().map(|id| (id.clone(), severity)));
    }
    for id in severities.keys().chain(&args.ignored) {
        let is_alias = || slipway_lint::ALIASES.contains(&id.as_str());
        if all_rules().iter().all(|rule| rule.id != id) && !is_alias() {
            return Err(LintError::NoRule { id: id.clone() });
        }
    }
    Ok(Options {
        ignored: args.ignored.iter().cloned().collect(),
        severities,
        trusted_registries: args.trusted_registries.clone(),
        label_schema: args.labels.iter().cloned().collect(),
        has_strict_labels: args.strict_labels,
        disables_comments: args.disable_ignore_pragma,
        has_ignore_file: None,
    })
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
