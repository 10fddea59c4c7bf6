//! What builds a program, left in the image that runs it.

use super::Family;
use crate::shell::Command;
use crate::source::{Source, Step};
use crate::{Findings, Rule, Severity};
use slipway_dockerfile::{Args, Keyword};

const TOOLS: Rule = Rule::new(
    "BuildToolsInFinalStage",
    Severity::Warning,
    "the image is built in the stage that ships, so its build tools ship, too",
    "Build in a stage of its own (FROM … AS build) and COPY --from=build what was built into a small image",
);
const PACKAGES: Rule = Rule::new(
    "BuildPackagesInFinalStage",
    Severity::Warning,
    "packages that only a build needs are in the image",
    "Install them in the stage that builds, or remove them in the same RUN",
);
const DEVELOPMENT: Rule = Rule::new(
    "DevDependenciesInFinalStage",
    Severity::Warning,
    "dependencies for development are in the image",
    "Leave them out (npm ci --omit=dev, yarn --production, bundle config without, composer --no-dev, poetry --only main)",
);

pub(crate) const FAMILY: Family = Family { check, rules: &[&TOOLS, &PACKAGES, &DEVELOPMENT] };

/// Packages that compile things. Those whose name ends in `-dev` or `-devel` are as well.
const BUILD_PACKAGES: [&str; 22] = [
    "build-essential",
    "build-base",
    "gcc",
    "g++",
    "clang",
    "make",
    "cmake",
    "automake",
    "autoconf",
    "libtool",
    "pkg-config",
    "pkgconf",
    "bison",
    "flex",
    "ninja-build",
    "meson",
    "cargo",
    "rustc",
    "golang",
    "golang-go",
    "maven",
    "gradle",
];

fn check(source: &Source<'_>, findings: &mut Findings<'_>) {
    let last = source.stages.len() - 1;
    for index in source.chain(last) {
        for step in &source.stages[index].steps {
            if let Some(command) = step.commands.iter().find(|command| compiles(command)) {
                let words: Vec<&str> = command.words.iter().take(3).map(|word| word.text.as_str()).collect();
                findings.add(
                    &TOOLS,
                    step.lines,
                    format!("`{}` runs in the stage that ships, so its tools ship, too", words.join(" ")),
                );
            }
            if let Some(package) = step.commands.iter().find_map(build_package).filter(|_| !removes_packages(step)) {
                findings.add(
                    &PACKAGES,
                    step.lines,
                    format!("`{package}` is only needed to build and stays in the image"),
                );
            }
            if step.commands.iter().any(brings_development) && !is_for_production(source, last, step) {
                findings.add_at(&DEVELOPMENT, step);
            }
        }
    }
}

/// Whether a command turns sources into programs.
fn compiles(command: &Command) -> bool {
    let operands = command.operands(&[]);
    let first = operands.first().map_or("", |word| &word.text);
    let second = operands.get(1).map_or("", |word| &word.text);
    match command.program() {
        "go" | "cargo" | "swift" | "zig" | "stack" | "cabal" => matches!(first, "build" | "install"),
        "mvn" | "mvnw" | "./mvnw" => {
            operands.iter().any(|word| matches!(word.text.as_str(), "package" | "install" | "verify" | "compile"))
        }
        "gradle" | "gradlew" | "./gradlew" => {
            operands.iter().any(|word| matches!(word.text.as_str(), "build" | "assemble" | "bootJar" | "jar"))
        }
        "dotnet" => matches!(first, "publish" | "build"),
        "npm" | "pnpm" | "yarn" | "bun" => {
            (first == "run" && second == "build") || (first == "build" && command.program() != "npm")
        }
        "gcc" | "g++" | "cc" | "c++" | "clang" | "clang++" | "rustc" | "javac" | "ghc" | "make" | "cmake" | "ninja"
        | "meson" => !command.has_flag(&["version"]),
        _ => false,
    }
}

fn build_package(command: &Command) -> Option<&str> {
    let operands = command.operands(&["-t", "--virtual", "--repository", "-X"]);
    let (verb, packages) = operands.split_first()?;
    let is_install = match command.program() {
        "apt-get" | "apt" | "yum" | "dnf" | "microdnf" | "zypper" => matches!(verb.text.as_str(), "install" | "in"),
        "apk" => verb.text == "add",
        _ => false,
    };
    let name = |text: &'_ str| text.split(['=', '<', '>', '~']).next().map(str::len).unwrap_or(text.len());
    packages
        .iter()
        .filter(|_| is_install)
        .map(|word| &word.text[..name(&word.text)])
        .find(|name| BUILD_PACKAGES.contains(name) || name.ends_with("-dev") || name.ends_with("-devel"))
}

fn removes_packages(step: &Step<'_>) -> bool {
    step.commands.iter().any(|command| {
        let verb = command.operands(&[]).first().map_or("", |word| word.text.as_str());
        matches!(
            (command.program(), verb),
            ("apk", "del")
                | ("apt-get" | "apt", "purge" | "remove" | "autoremove")
                | ("yum" | "dnf" | "microdnf", "remove" | "erase" | "autoremove")
                | ("zypper", "remove" | "rm")
        )
    })
}

fn brings_development(command: &Command) -> bool {
    let verb = command.operands(&["--prefix"]).first().map_or("", |word| word.text.as_str());
    let names = command.operands(&["--prefix"]).len() > 1;
    match (command.program(), verb) {
        ("npm", "ci" | "install" | "i") => !names && !command.has_flag(&["omit", "production", "only", "g", "global"]),
        ("pnpm", "install" | "i") => !command.has_flag(&["prod", "P", "production"]),
        ("yarn", "install" | "") => !command.has_flag(&["production", "prod"]) && !command.has_flag(&["version"]),
        ("composer", "install") => !command.has_flag(&["no-dev"]),
        ("poetry", "install") => !command.has_flag(&["no-dev", "only", "without"]),
        ("pip" | "pip3", "install") => command
            .arguments()
            .iter()
            .any(|word| word.text.ends_with(".txt") && ["dev", "test"].iter().any(|part| word.text.contains(part))),
        _ => false,
    }
}

/// Whether something says that it is for production: a variable, on the line or in the image, or a later `prune`.
fn is_for_production(source: &Source<'_>, last: usize, step: &Step<'_>) -> bool {
    let is_production = |name: &str, value: &str| {
        matches!(
            (name, crate::source::unquoted(value)),
            ("NODE_ENV", "production") | ("NPM_CONFIG_PRODUCTION" | "NPM_CONFIG_OMIT", _) | ("COMPOSER_NO_DEV", "1")
        )
    };
    let on_line = step
        .commands
        .iter()
        .flat_map(|command| &command.assignments)
        .any(|word| word.text.split_once('=').is_some_and(|(name, value)| is_production(name, value)));
    let steps: Vec<&Step<'_>> = source.chain(last).into_iter().flat_map(|index| &source.stages[index].steps).collect();
    let in_env = steps.iter().any(|step| match &step.instruction.args {
        Args::Pairs { pairs, .. } if step.is(Keyword::Env) => {
            pairs.iter().any(|(key, value)| is_production(&key.text, &value.text))
        }
        _ => false,
    });
    let prunes = steps.iter().flat_map(|step| &step.commands).any(|command| command.argument("prune").is_some());
    on_line || in_env || prunes
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_hits, check_silent};

    #[test]
    fn tools() {
        check_hits(
            "BuildToolsInFinalStage",
            &[
                "FROM golang:1\nRUN go build -o /x .\n",
                "RUN cargo build --release\n",
                "RUN npm ci && npm run build\n",
                "FROM a:1 AS b\nRUN make\nFROM b\nCMD [\"x\"]\n",
            ],
        );
        check_silent(
            "BuildToolsInFinalStage",
            &[
                "FROM golang:1 AS b\nRUN go build .\nFROM scratch\nCOPY --from=b /x /x\n",
                "RUN npm start\n",
                "RUN go version\n",
            ],
        );
    }

    #[test]
    fn packages() {
        check_hits(
            "BuildPackagesInFinalStage",
            &[
                "RUN apt-get install -y gcc=1\n",
                "RUN apk add --no-cache musl-dev\n",
                "RUN dnf install -y openssl-devel\n",
            ],
        );
        check_silent(
            "BuildPackagesInFinalStage",
            &[
                "RUN apk add -t .b gcc && make && apk del .b\n",
                "RUN apt-get install -y curl\n",
                "FROM a:1 AS b\nRUN apt-get install -y gcc\nFROM c:1\nCOPY --from=b /x /x\n",
            ],
        );
    }

    #[test]
    fn development() {
        check_hits(
            "DevDependenciesInFinalStage",
            &[
                "RUN npm ci\n",
                "RUN yarn install\n",
                "RUN composer install\n",
                "RUN pip install -r requirements-dev.txt\n",
            ],
        );
        check_silent(
            "DevDependenciesInFinalStage",
            &[
                "RUN npm ci --omit=dev\n",
                "ENV NODE_ENV=production\nRUN npm ci\n",
                "RUN npm ci && npm prune --production\n",
                "RUN npm install -g x@1\n",
                "RUN pip install -r requirements.txt\n",
                "FROM a:1 AS b\nRUN npm ci\nFROM c:1\nCOPY --from=b /x /x\n",
            ],
        );
    }
}
