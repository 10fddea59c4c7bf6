//! `COPY --from` of more than what was built.

use super::Family;
use crate::source::{Source, Step, Words};
use crate::{Findings, Rule, Severity};
use slipway_dockerfile::Keyword;

const ROOT: Rule = Rule::new(
    "DL3067",
    Severity::Warning,
    "COPY --from of a whole file system",
    "Name the files that are needed: this takes the compiler, the caches and the sources along",
);
const FOLDER: Rule = Rule::new(
    "WholeBuildFolderCopied",
    Severity::Warning,
    "COPY --from of the folder in which another stage builds",
    "Name what was built (/app/dist, /app/target/release/app): sources, caches and build packages lie beside it",
);

pub(crate) const FAMILY: Family = Family { check, rules: &[&ROOT, &FOLDER] };

/// Where these are used, the sources are what runs in the end.
const SOURCES_ARE_PROGRAMS: [&str; 11] =
    ["bundle", "bin/rails", "composer", "php", "pip", "pip3", "pipenv", "poetry", "python", "python3", "uv"];

fn check(source: &Source<'_>, findings: &mut Findings<'_>) {
    for (index, step) in source.steps().filter(|(_, step)| step.is(Keyword::Copy)) {
        let (Some(from), Some((sources, target))) = (step.flag("from"), step.paths()) else { continue };
        let is_whole = sources.iter().any(|path| matches!(*path, "/" | "/." | "/*"));
        if is_whole && matches!(target, "/" | "/.") {
            findings.add_at(&ROOT, step);
        }
        let Some(stage) = source.stage_called(from, index).map(|stage| source.chain(stage)) else { continue };
        let steps: Vec<&Step<'_>> = stage.iter().rev().flat_map(|index| &source.stages[*index].steps).collect();
        let folder = built_folder(&steps);
        let takes = |path: &&&str| folder.as_deref().is_some_and(|folder| clean(path) == folder);
        if let (Some(path), true) = (sources.iter().find(takes), source.ships(index)) {
            let message = format!("`{path}` is the folder in which `{from}` builds: its sources come along");
            findings.add(&FOLDER, step.lines, message);
        }
    }
}

/// The folder into which the whole context is copied and where commands run after that.
fn built_folder(steps: &[&Step<'_>]) -> Option<String> {
    let (mut workdir, mut copied) = (String::from("/"), None);
    for step in steps {
        match step.instruction.keyword {
            Keyword::Workdir => {
                let words = step.instruction.words();
                workdir = joined(&workdir, words.first().copied().unwrap_or_default());
            }
            Keyword::Copy | Keyword::Add if step.flag("from").is_none() => {
                let (sources, target) = step.paths()?;
                if sources.iter().any(|path| matches!(*path, "." | "./" | "/")) {
                    copied = Some(joined(&workdir, target));
                }
            }
            _ => {}
        }
    }
    let mut commands = steps.iter().flat_map(|step| &step.commands).peekable();
    let builds = commands.peek().is_some() && !commands.any(|command| command.is_program(&SOURCES_ARE_PROGRAMS));
    copied.filter(|folder| builds && folder != "/" && !folder.contains('$'))
}

fn joined(folder: &str, path: &str) -> String {
    let path = path.trim_start_matches("./");
    match path {
        "." | "" => clean(folder).to_owned(),
        path if path.starts_with(['/', '$']) => clean(path).to_owned(),
        path => format!("{}/{}", folder.trim_end_matches('/'), clean(path)),
    }
}

fn clean(path: &str) -> &str {
    let path = path.strip_suffix("/.").unwrap_or(path);
    if path.len() > 1 { path.trim_end_matches('/') } else { path }
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_hits, check_silent};

    const BUILD: &str = "FROM a:1 AS build\nWORKDIR /app\nCOPY . .\nRUN make\nFROM b:1\n";

    #[test]
    fn folders() {
        let with = |line: &str| format!("{BUILD}{line}\n");
        let hits = ["COPY --from=build /app /app", "COPY --from=build /app/ .", "COPY --from=0 /app/. /srv"].map(with);
        check_hits("WholeBuildFolderCopied", &hits.each_ref().map(String::as_str));
        let silent = ["COPY --from=build /app/dist /app", "COPY --from=x:1 /app /app", "COPY app /app"].map(with);
        check_silent("WholeBuildFolderCopied", &silent.each_ref().map(String::as_str));
        check_silent(
            "WholeBuildFolderCopied",
            &[
                "FROM a:1 AS b\nWORKDIR /out\nRUN x\nFROM c:1\nCOPY --from=b /out /out\n",
                "FROM a:1 AS b\nWORKDIR /x\nCOPY . .\nRUN bundle install\nFROM c:1\nCOPY --from=b /x /x\n",
            ],
        );
    }

    #[test]
    fn file_systems() {
        check_hits(
            "DL3067",
            &[
                "FROM a:1 AS b\nFROM c:1\nCOPY --from=b / /\n",
                "FROM a:1 AS b\nFROM scratch\nCOPY --from=b \"/\" \"/\"\n",
            ],
        );
        check_silent(
            "DL3067",
            &[
                "COPY / /\n",
                "FROM a:1 AS b\nFROM c:1\nCOPY --from=b /x /\n",
                "FROM a:1 AS b\nFROM c:1\nCOPY --from=b / /x\n",
            ],
        );
    }
}
