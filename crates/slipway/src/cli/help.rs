//! How help is ordered: commands and flags under headings, and examples below them.
//!
//! What a command or a flag means is said where it is declared; here is only where it stands. Help, completions and man
//! pages are made from the same.

use clap::{Arg, Command};

/// The headings that commands stand under.
const COMMANDS: &[(&str, &[&str])] = &[
    ("Build", &["build", "bake", "compose", "shell", "update"]),
    ("Run", &["run", "ps", "logs", "exec", "stop", "start", "restart", "kill", "wait", "rm", "port", "cp", "volume"]),
    ("Understand", &["graph", "sizes", "explain", "report", "builds", "lint", "analyze", "dive"]),
    ("Images", &["images", "history", "inspect", "tag", "rmi", "save", "load"]),
    ("Registries", &["pull", "push", "imagetools", "merge", "login", "logout"]),
    ("Store and machine", &["du", "prune", "fsck", "doctor", "version", "completion"]),
];
/// The heading of a command that none of the others has.
const OTHER_COMMANDS: &str = "Others";

/// Commands whose flags are under headings. They share most of them.
const BUILDING: &[&str] = &["build", "bake", "shell"];
/// The headings that flags of the commands that build stand under.
const FLAGS_OF_BUILDS: &[(&str, &[&str])] = &[
    (
        "What is built",
        &["file", "target", "build-arg", "build-context", "platform", "secret", "ssh", "context-mode", "set", "var"],
    ),
    (
        "What comes of it",
        &[
            "tag",
            "output",
            "push",
            "load",
            "label",
            "annotation",
            "attest",
            "provenance",
            "sbom",
            "iidfile",
            "metadata-file",
            "quiet",
        ],
    ),
    (
        "What is taken from before",
        &[
            "no-cache",
            "no-cache-filter",
            "cache-from",
            "cache-to",
            "pull",
            "lock",
            "locked",
            "offline",
            "expect-cached",
            "verify-reproducible",
        ],
    ),
    (
        "What steps may do",
        &[
            "add-host",
            "allow",
            "network",
            "memory",
            "cpus",
            "pids-limit",
            "resource",
            "shm-size",
            "ulimit",
            "cgroup-parent",
            "jobs",
            "sandbox",
            "run-tty",
            "on-failure",
            "policy",
        ],
    ),
    ("What is shown", &["progress", "summary", "check", "call", "explain", "print", "list", "watch"]),
];

/// Examples of each command: what is typed, and what for. Commands may also bring their own.
const EXAMPLES: &[(&str, &[&str])] = &[
    (
        "slipway",
        &[
            "slipway build -t app .                    # an image from ./Dockerfile",
            "slipway run --rm app                      # and a program in it",
            "slipway bake --print                      # what ./docker-bake.hcl asks for",
            "slipway doctor                            # what this machine allows",
        ],
    ),
    (
        "build",
        &[
            "slipway build -t app:1 .",
            "slipway build --target test --build-arg VERSION=2 -t app:test .",
            "slipway build -o out .                    # the files alone, into a folder",
            "slipway build --platform linux/amd64,linux/arm64 --push -t registry.example.com/app .",
            "slipway build --secret id=token,env=TOKEN --ssh default .",
            "slipway build --watch .                   # again, whenever a file changes",
            "slipway build https://github.com/me/app.git#main:service",
        ],
    ),
    (
        "bake",
        &[
            "slipway bake                              # the default group or target",
            "slipway bake web api --push",
            "slipway bake --set '*.platform=linux/arm64' --print",
            "slipway bake --list targets",
        ],
    ),
    (
        "imagetools",
        &[
            "slipway imagetools inspect registry.example.com/app:1",
            "slipway imagetools create -t app:1 app:amd64 app:arm64",
        ],
    ),
    (
        "imagetools create",
        &[
            "slipway imagetools create -t registry.example.com/app:1 registry.example.com/app:amd64",
            "slipway imagetools create --dry-run -t app:1 app:amd64 app:arm64",
        ],
    ),
    (
        "imagetools inspect",
        &[
            "slipway imagetools inspect --raw debian:12",
            "slipway imagetools inspect --format '{{.Manifest.Digest}}' debian:12",
        ],
    ),
    ("compose", &["slipway compose build", "slipway compose -f compose.yaml -f compose.prod.yaml config"]),
    ("compose build", &["slipway compose build --pull web"]),
    ("compose config", &["slipway compose config --services", "slipway compose --profile '*' config --format json"]),
    (
        "compose up",
        &["slipway compose up --build", "slipway compose up -d --wait db", "slipway compose up --exit-code-from test"],
    ),
    ("compose down", &["slipway compose down -v"]),
    ("compose ps", &["slipway compose ps -a"]),
    ("compose logs", &["slipway compose logs -f --tail 20 web"]),
    ("compose stop", &["slipway compose stop web"]),
    ("compose start", &["slipway compose start web"]),
    ("compose restart", &["slipway compose restart -t 5 web"]),
    ("compose kill", &["slipway compose kill -s SIGHUP web"]),
    ("compose pull", &["slipway compose pull"]),
    ("compose push", &["slipway compose push web"]),
    ("compose create", &["slipway compose create --build web"]),
    ("compose rm", &["slipway compose rm -fs web"]),
    ("compose wait", &["slipway compose wait migration"]),
    ("compose images", &["slipway compose images"]),
    ("compose ls", &["slipway compose ls -a"]),
    ("compose port", &["slipway compose port web 80"]),
    ("compose cp", &["slipway compose cp web:/var/log/app.log .", "slipway compose cp settings.json web:/etc/app/"]),
    ("compose watch", &["slipway compose watch", "slipway compose watch --no-up web"]),
    ("compose run", &["slipway compose run --rm web sh"]),
    ("compose exec", &["slipway compose exec web sh"]),
    ("compose version", &["slipway compose version --short"]),
    (
        "shell",
        &[
            "slipway shell build                       # at the end of the stage `build`",
            "slipway shell build:12                    # before line 12 of the Dockerfile",
        ],
    ),
    ("ps", &["slipway ps -a", "slipway ps --filter label=com.docker.compose.project=shop -q"]),
    ("logs", &["slipway logs -f --tail 20 db"]),
    ("stop", &["slipway stop db", "slipway stop -t 60 db"]),
    ("start", &["slipway start db"]),
    ("restart", &["slipway restart db"]),
    ("kill", &["slipway kill -s HUP web"]),
    ("wait", &["slipway wait job"]),
    ("rm", &["slipway rm job", "slipway rm -f web"]),
    ("port", &["slipway port web 80"]),
    ("cp", &["slipway cp web:/var/log/app.log .", "slipway cp settings.json web:/etc/app/"]),
    ("volume", &["slipway volume create data", "slipway volume ls"]),
    ("volume create", &["slipway volume create data"]),
    ("volume inspect", &["slipway volume inspect data"]),
    ("volume ls", &["slipway volume ls --filter dangling=true"]),
    ("volume prune", &["slipway volume prune --all"]),
    ("volume rm", &["slipway volume rm data"]),
    ("update", &["slipway update                            # every pin of ./slipway.lock"]),
    ("explain", &["slipway explain                           # the newest build", "slipway explain ^1 --json"]),
    (
        "graph",
        &["slipway graph", "slipway graph --target test --format mermaid", "slipway graph --format svg -o stages.svg"],
    ),
    ("sizes", &["slipway sizes", "slipway sizes --format markdown >> README.md"]),
    ("report", &["slipway report", "slipway report ^0 --against ^1 -o report.html"]),
    ("builds", &["slipway builds", "slipway builds logs", "slipway builds inspect ^1 --format json"]),
    ("builds ls", &["slipway builds ls --format json", "slipway builds ls --format '{{.Ref}}:{{.Status}}'"]),
    ("builds inspect attachment", &["slipway builds inspect attachment --type image"]),
    ("builds open", &["slipway builds open ^1"]),
    ("builds export", &["slipway builds export --all -o all.dockerbuild"]),
    ("builds import", &["slipway builds import -f all.dockerbuild"]),
    ("builds inspect", &["slipway builds inspect ^1"]),
    ("builds logs", &["slipway builds logs                       # of the newest build"]),
    ("builds trace", &["slipway builds trace ^0 --compare ^1 > builds.json"]),
    ("builds rm", &["slipway builds rm --all"]),
    ("lint", &["slipway lint", "slipway lint --fix Dockerfile", "slipway lint --format sarif services/ > lint.sarif"]),
    (
        "analyze",
        &["slipway analyze app:1", "slipway analyze app:1 app:2               # what grew", "slipway analyze --ci app"],
    ),
    ("analyze config", &["slipway analyze config > ~/.config/dive/dive.yaml"]),
    ("analyze version", &["slipway analyze version -o json"]),
    ("analyze build", &["slipway analyze build -t app ."]),
    ("dive config", &["slipway dive config > ~/.config/dive/dive.yaml"]),
    ("dive version", &["slipway dive version"]),
    ("dive build", &["slipway dive build -t app ."]),
    ("dive", &["slipway dive app --ci", "slipway dive build -t app ."]),
    ("images", &["slipway images", "slipway images --format '{{.Repository}}:{{.Tag}}'"]),
    ("history", &["slipway history --no-trunc app"]),
    ("inspect", &["slipway inspect app", "slipway inspect --format '{{.Config.Env}}' app"]),
    ("tag", &["slipway tag app:1 registry.example.com/app:1"]),
    ("rmi", &["slipway rmi app:1"]),
    ("pull", &["slipway pull debian:bookworm-slim"]),
    ("push", &["slipway push registry.example.com/app:1"]),
    ("save", &["slipway save -o app.tar app:1"]),
    ("load", &["slipway load -i app.tar"]),
    (
        "merge",
        &[
            "slipway build -o type=image,name=ghcr.io/me/app,push=true,push-by-digest=true,part-of=7 .",
            "slipway merge --part-of 7 --expect linux/amd64,linux/arm64 -t ghcr.io/me/app:1.2",
        ],
    ),
    ("login", &["slipway login registry.example.com -u me --password-stdin < token"]),
    ("logout", &["slipway logout registry.example.com"]),
    ("du", &["slipway du", "slipway du --filter type=exec.cachemount"]),
    ("prune", &["slipway prune --force --filter until=72h", "slipway prune --max-used-space 20GB --force"]),
    ("fsck", &["slipway fsck"]),
    ("doctor", &["slipway doctor"]),
    ("version", &["slipway version", "slipway version --format '{{.Server.Version}}'"]),
    (
        "completion",
        &[
            "source <(slipway completion bash)",
            "slipway completion zsh > ~/.zfunc/_slipway",
            "slipway completion fish > ~/.config/fish/completions/slipway.fish",
            "docker completion bash                    # for a link called docker",
        ],
    ),
];

/// `command`, the whole of it, with headings and examples.
pub(crate) fn ordered(command: Command) -> Command {
    let commands = listed_commands(&command);
    let template =
        format!("{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{commands}Options:\n{{options}}{{after-help}}");
    with_examples(command, "slipway").help_template(template)
}

/// A block for each heading, with a line for each command that is not hidden.
fn listed_commands(command: &Command) -> String {
    let visible: Vec<&Command> = command.get_subcommands().filter(|command| !command.is_hide_set()).collect();
    let width = visible.iter().map(|command| command.get_name().len()).max().unwrap_or_default();
    let line = |command: &Command| {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        format!("  {:width$}  {about}\n", command.get_name())
    };
    let mut text = String::new();
    for (heading, names) in COMMANDS {
        let commands = names.iter().filter_map(|name| visible.iter().find(|command| command.get_name() == *name));
        text += &format!("{heading}:\n{}\n", commands.map(|command| line(command)).collect::<String>());
    }
    let has_heading = |name: &str| name == "help" || COMMANDS.iter().any(|(_, names)| names.contains(&name));
    let others: String =
        visible.iter().filter(|command| !has_heading(command.get_name())).map(|command| line(command)).collect();
    if others.is_empty() { text } else { format!("{text}{OTHER_COMMANDS}:\n{others}\n") }
}

/// `path` is what is typed for this command, behind the name of the program.
fn with_examples(command: Command, path: &str) -> Command {
    let name = command.get_name().to_owned();
    let command = if BUILDING.contains(&name.as_str()) { with_headings(command) } else { command };
    let command = command.mut_args(with_own_value_name);
    let command = match examples_of(path) {
        Some(examples) if command.get_after_help().is_none() => command.after_help(examples),
        _ => command,
    };
    command.mut_subcommands(|subcommand| {
        let below = if path == "slipway" { String::new() } else { format!("{path} ") };
        let path = format!("{below}{}", subcommand.get_name());
        with_examples(subcommand, &path)
    })
}

/// The value of `--label` is a `LABEL`, though the list of them is called `labels`.
fn with_own_value_name(arg: Arg) -> Arg {
    let is_derived =
        arg.get_value_names().is_some_and(|names| *names == [arg.get_id().as_str().to_uppercase().as_str()]);
    match arg.get_long().map(str::to_uppercase).filter(|_| is_derived) {
        Some(name) => arg.value_name(name),
        None => arg,
    }
}

fn with_headings(command: Command) -> Command {
    command.mut_args(|arg| match arg.get_long().and_then(heading_of) {
        Some(heading) => arg.help_heading(heading),
        None => arg,
    })
}

fn heading_of(flag: &str) -> Option<&'static str> {
    FLAGS_OF_BUILDS.iter().find(|(_, flags)| flags.contains(&flag)).map(|(heading, _)| *heading)
}

fn examples_of(path: &str) -> Option<String> {
    // Docker's long spellings are the same commands.
    let path =
        ["buildx ", "builder ", "image ", "container "].iter().find_map(|word| path.strip_prefix(word)).unwrap_or(path);
    let (_, examples) = EXAMPLES.iter().find(|(name, _)| *name == path)?;
    Some(format!("Examples:\n{}", examples.iter().map(|example| format!("  {example}\n")).collect::<String>()))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::cli::{Cli, command};

    /// Every command that help shows, with what is typed for it.
    fn visible(command: &Command, path: &str, found: &mut Vec<(String, Command)>) {
        for subcommand in command.get_subcommands().filter(|command| !command.is_hide_set()) {
            if subcommand.get_name() != "help" {
                let path = format!("{path} {}", subcommand.get_name());
                found.push((path.clone(), subcommand.clone()));
                visible(subcommand, &path, found);
            }
        }
    }

    #[test]
    fn every_command_has_an_example_that_can_be_typed() {
        let mut commands = Vec::new();
        visible(&command(), "slipway", &mut commands);
        assert!(commands.len() > 30);
        for (path, command) in commands {
            let help = command.get_after_help().unwrap_or_else(|| panic!("{path} has no example")).to_string();
            let lines: Vec<&str> = help.lines().skip(1).collect();
            assert!(!lines.is_empty(), "{path}");
            for line in lines {
                let typed = line.split(['#', '<', '>']).next().unwrap().replace('\'', "");
                let typed = typed.split("&&").next().unwrap().trim();
                let Some(rest) = typed.strip_prefix("slipway ") else { continue };
                let words: Vec<OsString> =
                    ["slipway"].into_iter().chain(rest.split_whitespace()).map(Into::into).collect();
                Cli::parse_words(&words).unwrap_or_else(|error| panic!("{path}: {line}: {}", error.text));
            }
        }
    }

    #[test]
    fn every_command_and_every_flag_of_builds_has_a_heading() {
        let command = command();
        let help = command.clone().render_help().to_string();
        assert!(!help.contains(OTHER_COMMANDS), "{help}");
        assert!(help.contains("Build:\n  build       Build an image from a Dockerfile\n"), "{help}");
        for name in BUILDING {
            let command = command.find_subcommand(name).unwrap();
            for arg in command.get_arguments().filter(|arg| !arg.is_hide_set() && !arg.is_positional()) {
                let long = arg.get_long().unwrap_or_default();
                let is_of_all = ["help", "debug", "version"].contains(&long);
                assert!(is_of_all || arg.get_help_heading().is_some(), "{name} --{long} is under no heading");
            }
        }
    }
}
