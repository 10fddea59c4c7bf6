//! What `npm`, `gem` and `go` install without versions.

use super::Family;
use crate::shell::{Command, Word};
use crate::source::Source;
use crate::{Findings, Rule, Severity};

const NPM: Rule = Rule::new(
    "DL3016",
    Severity::Warning,
    "package installed by npm without a version",
    "Write package@version, or keep it in package.json and use npm ci",
);
const GEM: Rule = Rule::new(
    "DL3028",
    Severity::Warning,
    "gem installed without a version",
    "Write gem:version or add -v version, or keep it in a Gemfile",
);
const GO: Rule =
    Rule::new("DL3062", Severity::Warning, "package installed by go without a version", "Write package@version");

pub(crate) const FAMILY: Family = Family { check, rules: &[&NPM, &GEM, &GO] };

fn check(source: &Source<'_>, findings: &mut Findings<'_>) {
    for (_, step, command) in source.commands() {
        let (rule, package) = match command.program() {
            "npm" => (&NPM, unpinned_npm(command)),
            "gem" => (&GEM, unpinned_gem(command)),
            "go" => (&GO, unpinned_go(command)),
            _ => continue,
        };
        if let Some(package) = package {
            findings.add(rule, step.lines, format!("{}: {}", rule.summary, package.text));
        }
    }
}

fn unpinned_npm(command: &Command) -> Option<&Word> {
    let operands =
        command.operands(&["--prefix", "--registry", "--cache", "--userconfig", "--loglevel", "--tag", "-C"]);
    let (verb, packages) = operands.split_first()?;
    let is_pinned = |package: &Word| {
        let text = &package.text;
        let after_scope = text.strip_prefix('@').unwrap_or(text);
        let is_git = text.starts_with("git") && text.contains(':');
        let is_file =
            text.starts_with(['.', '/', '~']) || [".tgz", ".tar.gz", ".tar"].iter().any(|end| text.ends_with(end));
        match is_git {
            true => text.contains('#'),
            false => package.is_variable() || is_file || text.contains("://") || after_scope.contains('@'),
        }
    };
    if !matches!(verb.text.as_str(), "install" | "i" | "add") {
        return None;
    }
    packages.iter().find(|package| !is_pinned(package)).copied()
}

/// Flags of gem's without a value. What others take, those of a gem's own among them, is in the next word.
const GEM_SWITCHES: [&str; 14] = [
    "--",
    "--both",
    "--conservative",
    "--default",
    "--development",
    "--explain",
    "--force",
    "--local",
    "--minimal-deps",
    "--pre",
    "--prerelease",
    "--quiet",
    "--remote",
    "--user-install",
];

fn unpinned_gem(command: &Command) -> Option<&Word> {
    let words = command.arguments().iter().map(|word| word.text.as_str());
    let has_value = |text: &&str| {
        let is_long = text.starts_with("--") && !text.starts_with("--no-") && !text.contains('=');
        ["-v", "-i", "-n", "-P", "-s"].contains(text) || (is_long && !GEM_SWITCHES.contains(text))
    };
    let flags: Vec<&str> = words.filter(has_value).collect();
    let operands = command.operands(&flags);
    let (verb, gems) = operands.split_first()?;
    let has_version = command.has_flag(&["v", "version"]);
    if !matches!(verb.text.as_str(), "install" | "i") || has_version {
        return None;
    }
    let is_pinned = |gem: &Word| gem.is_variable() || gem.text.contains(':') || gem.text.ends_with(".gem");
    gems.iter().find(|gem| !is_pinned(gem)).copied()
}

fn unpinned_go(command: &Command) -> Option<&Word> {
    let operands = command.operands(&["-ldflags", "-tags", "-gcflags", "-o", "-mod", "-C"]);
    let (verb, words) = operands.split_first()?;
    let (has_tools, packages) = match (verb.text.as_str(), words) {
        // What follows the program are its arguments.
        ("run", [package, ..]) => (false, std::slice::from_ref(package)),
        ("install", [first, tools @ ..]) if first.text == "tool" => (true, tools),
        ("install", packages) => (false, packages),
        ("get", packages) => (command.argument("-tool").is_some(), packages),
        _ => return None,
    };
    let is_pinned = |package: &Word| {
        let (path, version) = package.text.split_once('@').map_or((package.text.as_str(), None), |(p, v)| (p, Some(v)));
        // Without a dot in its first part it is a package of the standard library or of this module.
        let has_host = path.split('/').next().is_some_and(|host| host.contains('.') && !host.starts_with('.'));
        let is_file = path.ends_with(".go");
        let is_remote = has_tools || (has_host && !is_file);
        package.is_variable() || !is_remote || version.is_some_and(|version| version != "latest")
    };
    packages.iter().find(|package| !is_pinned(package)).copied()
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_hits, check_silent};

    #[test]
    fn npm() {
        check_hits(
            "DL3016",
            &["RUN npm install express\n", "RUN npm i -g @scope/x\n", "RUN npm install git+https://x/y.git\n"],
        );
        check_silent(
            "DL3016",
            &[
                "RUN npm install\n",
                "RUN npm ci\n",
                "RUN npm install -g express@4 @scope/x@1 ./y z.tgz w.tar git://x/y.git#v1\n",
                "RUN npm install $X\n",
                "RUN npm run install\n",
            ],
        );
    }

    #[test]
    fn gem() {
        check_hits(
            "DL3028",
            &[
                "RUN gem install bundler\n",
                "RUN gem install a:1 b\n",
                "RUN gem i --no-document --pre a\n",
                "RUN gem install --source https://x a\n",
            ],
        );
        check_silent(
            "DL3028",
            &[
                "RUN gem install bundler:2\n",
                "RUN gem install bundler -v 2\n",
                "RUN gem install --version=2 bundler\n",
                "RUN gem list\n",
                "RUN gem install a:1 -- --with-x\n",
                "RUN gem install a:1 --use-system-libraries true\n",
                "RUN gem install --no-document --force a:1\n",
            ],
        );
    }

    #[test]
    fn go() {
        check_hits(
            "DL3062",
            &[
                "RUN go install github.com/x/y\n",
                "RUN go install github.com/x/y@latest\n",
                "RUN go install tool x\n",
                "RUN go get -u example.com/x\n",
                "RUN go get -tool x@latest\n",
                "RUN go run example.com/x@latest -v\n",
            ],
        );
        check_silent(
            "DL3062",
            &[
                "RUN go install github.com/x/y@v1\n",
                "RUN go install ./cmd/x\n",
                "RUN go install .\n",
                "RUN go build x.y/z\n",
                "RUN go install -ldflags '-s -w' ./...\n",
                "RUN go install tool x@v1\n",
                "RUN go get ./... && go get -tool x@v1 && go get\n",
                "RUN go run example.com/x@v1 a.b/c --foo bar\n",
                "RUN go run main.go && go run . && go run /x/y\n",
            ],
        );
    }
}
