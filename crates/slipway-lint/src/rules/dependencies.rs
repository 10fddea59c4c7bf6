//! When dependencies are fetched, and where what was fetched is kept.

use super::Family;
use crate::shell::Command;
use crate::source::{Source, Step};
use crate::{Findings, Rule, Severity};
use slipway_dockerfile::Keyword;

const ORDER: Rule = Rule::new(
    "SourceBeforeDependencies",
    Severity::Warning,
    "the whole source is copied before dependencies are fetched",
    "Copy the manifest and the lock file, fetch, then copy the rest: now each change of a source file fetches everything again",
);
const CACHE: Rule = Rule::new(
    "MissingCacheMount",
    Severity::Style,
    "dependencies are fetched without a cache mount",
    "Add RUN --mount=type=cache,target=…: what was fetched or compiled once is there the next time the step runs",
);

pub(crate) const FAMILY: Family = Family { check, rules: &[&ORDER, &CACHE] };

/// Something that fetches dependencies.
struct Fetcher {
    programs: &'static [&'static str],
    /// Its first argument; empty matches a bare call.
    verbs: &'static [&'static str],
    /// Where a cache would go.
    cache: &'static str,
    /// Compiles as well: then the source has to be there.
    needs_source: bool,
}

const FETCHERS: [Fetcher; 16] = [
    Fetcher { programs: &["npm"], verbs: &["ci", "install", "i"], cache: "/root/.npm", needs_source: false },
    Fetcher {
        programs: &["yarn"],
        verbs: &["install", ""],
        cache: "/usr/local/share/.cache/yarn",
        needs_source: false,
    },
    Fetcher {
        programs: &["pnpm"],
        verbs: &["install", "i", "fetch"],
        cache: "/root/.local/share/pnpm/store",
        needs_source: false,
    },
    Fetcher { programs: &["pip", "pip3"], verbs: &["install"], cache: "/root/.cache/pip", needs_source: false },
    Fetcher { programs: &["poetry"], verbs: &["install"], cache: "/root/.cache/pypoetry", needs_source: false },
    Fetcher { programs: &["uv"], verbs: &["sync"], cache: "/root/.cache/uv", needs_source: false },
    Fetcher { programs: &["bundle"], verbs: &["install"], cache: "/usr/local/bundle/cache", needs_source: false },
    Fetcher { programs: &["composer"], verbs: &["install"], cache: "/root/.composer/cache", needs_source: false },
    Fetcher { programs: &["go"], verbs: &["mod"], cache: "/go/pkg/mod", needs_source: false },
    Fetcher { programs: &["cargo"], verbs: &["fetch"], cache: "/usr/local/cargo/registry", needs_source: false },
    Fetcher { programs: &["dotnet"], verbs: &["restore"], cache: "/root/.nuget/packages", needs_source: false },
    Fetcher {
        programs: &["go"],
        verbs: &["build", "install", "test"],
        cache: "/root/.cache/go-build",
        needs_source: true,
    },
    Fetcher {
        programs: &["cargo"],
        verbs: &["build", "install", "test"],
        cache: "/usr/local/cargo/registry",
        needs_source: true,
    },
    Fetcher {
        programs: &["mvn", "./mvnw"],
        verbs: &["package", "install", "verify", "dependency:go-offline", "dependency:resolve", "clean"],
        cache: "/root/.m2",
        needs_source: true,
    },
    Fetcher {
        programs: &["gradle", "./gradlew"],
        verbs: &["build", "assemble", "bootJar", "dependencies"],
        cache: "/root/.gradle",
        needs_source: true,
    },
    Fetcher { programs: &["dotnet"], verbs: &["publish", "build"], cache: "/root/.nuget/packages", needs_source: true },
];

fn check(source: &Source<'_>, findings: &mut Findings<'_>) {
    for index in 0..source.stages.len() {
        let steps: Vec<&Step<'_>> = source.stages[index].steps.iter().collect();
        let whole = steps.iter().position(|step| copies_all(step));
        for (at, step) in steps.iter().enumerate() {
            let Some(fetcher) = step.commands.iter().find_map(fetcher) else { continue };
            let is_late = whole.is_some_and(|whole| whole < at);
            // Fetched once before: then this one only picks up the rest.
            let was_fetched =
                steps[..at].iter().any(|earlier| earlier.commands.iter().any(|c| self::fetcher(c).is_some()));
            if is_late && !was_fetched && !fetcher.needs_source {
                findings.add_at(&ORDER, step);
            }
            if !step.has_cache_mount() {
                let message = format!("{} (its place is {})", CACHE.summary, fetcher.cache);
                findings.add(&CACHE, step.lines, message);
            }
        }
    }
}

fn copies_all(step: &Step<'_>) -> bool {
    let is_copy = (step.is(Keyword::Copy) || step.is(Keyword::Add)) && step.flag("from").is_none();
    is_copy && step.paths().is_some_and(|(sources, _)| sources.iter().any(|path| matches!(*path, "." | "./" | "/")))
}

fn fetcher(command: &Command) -> Option<&'static Fetcher> {
    let operands = command.operands(&["--prefix", "-f", "--file", "-C", "--manifest-path"]);
    let verb = operands.first().map_or("", |word| word.text.as_str());
    // A package that is named is none of the project's manifest; the manifest is what `-r` and `-e` name.
    let names_package = matches!(command.program(), "npm" | "pip" | "pip3")
        && operands.len() > 1
        && !command.has_flag(&["r", "requirement", "e", "editable"]);
    FETCHERS.iter().find(|fetcher| {
        fetcher.programs.contains(&command.program()) && fetcher.verbs.contains(&verb) && !names_package
    })
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_hits, check_silent};

    #[test]
    fn order() {
        check_hits(
            "SourceBeforeDependencies",
            &[
                "COPY . .\nRUN npm ci\n",
                "COPY . /x\nRUN pip install -r requirements.txt\n",
                "COPY ./ ./\nRUN go mod download\n",
            ],
        );
        check_silent(
            "SourceBeforeDependencies",
            &[
                "COPY package*.json ./\nRUN npm ci\nCOPY . .\nRUN npm run build\n",
                "COPY . .\nRUN make\n",
                "COPY . .\nRUN pip install wheel==1\n",
                "COPY package.json .\nRUN npm ci\nCOPY . .\nRUN npm ci --offline\n",
                "COPY . .\nRUN cargo build\n",
            ],
        );
    }

    #[test]
    fn caches() {
        check_hits("MissingCacheMount", &["RUN npm ci\n", "RUN go build .\n"]);
        check_silent("MissingCacheMount", &["RUN --mount=type=cache,target=/root/.npm npm ci\n", "RUN echo\n"]);
    }
}
