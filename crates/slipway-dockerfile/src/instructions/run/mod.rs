//! `RUN` (`spec/dockerfile.md` section 3.2).

mod device;
mod mount;
mod network;
mod security;

use std::collections::BTreeMap;

use slipway_graph::Op;
use slipway_graph::op::{Exec, FileAction, FileOp, MkfileAction, Mode, Mount, Network, Security};

use super::CommandLine;
use super::flags::{self, FlagKind};
use crate::stage_builder::{Step, error_at};
use crate::{Diagnostic, Heredoc, Instruction, history, paths, step_name};

/// Where the script of a heredoc with a `#!` line is found by the program that runs it.
const SCRIPT_FOLDER: &str = "/dev/pipes";
const DEFAULT_HOSTNAME: &str = "buildkitsandbox";

#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    command: CommandLine,
    heredocs: Vec<Heredoc>,
    /// As written; variables in them are not known yet.
    mounts: Vec<MountText>,
    /// `None` leaves the choice to the build.
    network: Option<Network>,
    security: Security,
    /// The first device that is asked for.
    device: Option<String>,
}

#[derive(Clone, Debug)]
struct MountText {
    text: String,
    from: Option<String>,
    target: String,
}

impl Run {
    /// The same surroundings with nothing to do in them.
    pub(super) fn without_command(&self) -> Run {
        Run { command: CommandLine::default(), heredocs: Vec::new(), ..self.clone() }
    }

    /// The stages, images and contexts that are mounted, each with the target as written.
    pub(crate) fn mount_sources(&self) -> impl Iterator<Item = (&str, &str)> {
        self.mounts.iter().filter_map(|mount| Some((mount.from.as_deref()?, mount.target.as_str())))
    }
}

const FLAGS: [(&str, FlagKind); 4] = [
    ("mount", FlagKind::Texts),
    ("network", FlagKind::Text),
    ("security", FlagKind::Text),
    ("device", FlagKind::Texts),
];

pub(super) fn check(instruction: &Instruction) -> Result<Run, Diagnostic> {
    let flags = flags::check(instruction, &FLAGS)?;
    let error = |message: String| error_at(instruction, instruction.span, message);
    let command = CommandLine::of(instruction);
    let network = flags.text("network").map(|value| network::parse(&value)).transpose().map_err(error)?;
    let security = flags.text("security").map(|value| security::parse(&value)).transpose().map_err(error)?;
    let device = device::first(&flags.texts("device")).map_err(error)?;
    Ok(Run {
        command,
        heredocs: instruction.heredocs.clone(),
        mounts: flags.texts("mount").into_iter().map(mount_text).collect::<Result<_, _>>().map_err(error)?,
        network: network.flatten(),
        security: security.unwrap_or_default(),
        device,
    })
}

fn mount_text(text: String) -> Result<MountText, String> {
    if text.is_empty() {
        return Err("failed to parse csv mounts: EOF".to_owned());
    }
    let (from, target) = mount::from_and_target(&text)?;
    Ok(MountText { text, from, target })
}

pub(super) fn lower(run: &Run, step: &mut Step<'_, '_>) -> Result<(), Diagnostic> {
    if matches!(&run.command, CommandLine::Exec(args) if args.is_empty()) {
        return Err(step.error("failed to marshal LLB definition: arguments are required"));
    }
    check_permissions(run, step)?;
    let script = Script::of(run);
    let args = script.args(run, step);
    let mut inputs = mount::Inputs(vec![step.stage.vertex]);
    let mounts = mounts(run, &script, &mut inputs, step)?;
    let env = env(step, &mounts);
    let addition = script.shown.as_ref().map(|shown| format!(" ({shown})")).unwrap_or_default();
    let text = step.text(&addition);
    let name = step.stage.next_name(&text);
    let exec = Exec {
        env,
        proxy_env: proxy_env(step.build.inputs.build_args),
        cwd: step.stage.cwd().to_owned(),
        user: step.stage.config.config.user.clone(),
        hostname: hostname(step.build.inputs.build_args),
        network: run.network.unwrap_or(step.build.inputs.network),
        security: run.security,
        mounts: in_order(mounts),
        extra_hosts: step.build.inputs.extra_hosts.to_vec(),
        shm_size_bytes: step.build.inputs.shm_size_bytes,
        ulimits: step.build.inputs.ulimits.to_vec(),
        args,
    };
    let history = history::run_text(&exec.args, &step.stage.args, |name| step.stage.variable(name));
    let ignores_cache = step.stage.ignores_cache;
    step.stage.vertex = step.add(Op::Exec(exec), inputs.0, name, ignores_cache);
    step.record(history, true);
    Ok(())
}

fn check_permissions(run: &Run, step: &Step<'_, '_>) -> Result<(), Diagnostic> {
    let inputs = step.build.inputs;
    if let Some(device) = &run.device {
        return Err(step.error(device::refusal(device)));
    }
    if run.network == Some(Network::Host) && !inputs.allows_host_network {
        return Err(step.error("network.host is not allowed"));
    }
    if run.security == Security::Insecure && !inputs.allows_insecure {
        return Err(step.error("security.insecure is not allowed"));
    }
    Ok(())
}

/// A mount, and its target as it is written, but absolute.
struct Placed {
    target: String,
    mount: Mount,
}

/// As the reference lays them: files by their targets as text, then secrets, then sockets. Of those at one place the
/// last is seen, be its target written `/m`, `/m/` or `/m/.`.
fn in_order(mut mounts: Vec<Placed>) -> Vec<Mount> {
    fn order(placed: &Placed) -> (u8, &str) {
        match placed.mount {
            Mount::Bind { .. } | Mount::Cache(_) | Mount::Tmpfs { .. } => (0, &placed.target),
            Mount::Secret(_) => (1, ""),
            Mount::Ssh(_) => (2, ""),
        }
    }
    mounts.sort_by(|a, b| order(a).cmp(&order(b)));
    mounts.into_iter().map(|placed| placed.mount).collect()
}

/// What the heredocs of a `RUN` amount to (`spec/dockerfile.md` section 1.7).
struct Script {
    /// Takes the place of the written command.
    command: Option<String>,
    /// A file that has to be there: its name and content.
    file: Option<(String, String)>,
    /// What the step name tells about it.
    shown: Option<String>,
}

impl Script {
    fn of(run: &Run) -> Script {
        let (CommandLine::Shell(line), Some(first)) = (&run.command, run.heredocs.first()) else {
            return Script { command: None, file: None, shown: None };
        };
        if line.trim() != first.word.text {
            let bodies: String = run.heredocs.iter().map(|h| format!("\n{}{}", h.body, h.name)).collect();
            // The shell reads its heredocs itself.
            return Script { command: Some(format!("{line}{bodies}")), file: None, shown: None };
        }
        let body = first.stripped_body();
        let shown = Some(step_name::summary(&first.body));
        // As written: tabs in front of `#!` make it a script of the shell, which is what the reference does with it.
        if first.body.starts_with("#!") {
            let path = paths::clean(&format!("{SCRIPT_FOLDER}/{}", first.name));
            return Script { command: Some(path), file: Some((first.name.clone(), body)), shown };
        }
        Script { command: Some(body), file: None, shown }
    }

    fn args(&self, run: &Run, step: &Step<'_, '_>) -> Vec<String> {
        match &self.command {
            Some(command) => step.stage.in_shell(command),
            None => run.command.args(step),
        }
    }
}

fn mounts(
    run: &Run,
    script: &Script,
    inputs: &mut mount::Inputs,
    step: &mut Step<'_, '_>,
) -> Result<Vec<Placed>, Diagnostic> {
    // All of them are read before anything is said about where the first would lie.
    let parse = |written: &MountText| {
        let expand = |value: &str| step.expand(value).map_err(|diagnostic| diagnostic.message);
        mount::parse(&written.text, expand).map_err(|e| step.error(e))
    };
    let all: Vec<mount::Options> = run.mounts.iter().map(parse).collect::<Result<_, _>>()?;
    let mut mounts = Vec::new();
    let mut n_ssh = 0;
    for options in &all {
        let mount = mount::lower(options, inputs, n_ssh, step)?;
        n_ssh += usize::from(matches!(mount, Mount::Ssh(_)));
        let target = mount::absolute(step.stage.cwd(), &options.target);
        mounts.push(Placed { target, mount });
    }
    if let Some((name, body)) = &script.file {
        let mount = script_mount(name, body, inputs, step)?;
        mounts.push(Placed { target: SCRIPT_FOLDER.to_owned(), mount });
    }
    Ok(mounts)
}

/// The script as a file of its own, which only this step sees.
fn script_mount(
    name: &str,
    body: &str,
    inputs: &mut mount::Inputs,
    step: &mut Step<'_, '_>,
) -> Result<Mount, Diagnostic> {
    let mkfile = MkfileAction {
        dest: format!("/{}", super::heredoc_file(name, step)?),
        name: name.to_owned(),
        data: body.as_bytes().to_vec(),
        owner: None,
        mode: Some(Mode::Octal(0o755)),
    };
    let op = Op::File(FileOp { actions: vec![FileAction::Mkfile(mkfile)] });
    let scratch = step.build.scratch();
    let file = step.add(op, vec![scratch], "[internal] preparing inline document".to_owned(), false);
    let (source, target) = ("/".to_owned(), SCRIPT_FOLDER.to_owned());
    Ok(Mount::Bind { input: inputs.add(file), source, target, is_readonly: true })
}

fn env(step: &Step<'_, '_>, mounts: &[Placed]) -> Vec<String> {
    let mut env: Vec<String> = step.stage.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let first_socket = mounts.iter().find_map(|placed| match &placed.mount {
        Mount::Ssh(ssh) if placed.target.is_empty() => Some(&ssh.target),
        Mount::Ssh(_) => Some(&placed.target),
        Mount::Bind { .. } | Mount::Cache(_) | Mount::Tmpfs { .. } | Mount::Secret(_) => None,
    });
    if let Some(socket) = first_socket
        && step.stage.variable("SSH_AUTH_SOCK").is_none()
    {
        env.push(format!("SSH_AUTH_SOCK={socket}"));
    }
    env
}

/// The proxies among the build args, each in upper and in lower case. Of two spellings the lower-case one counts.
fn proxy_env(build_args: &BTreeMap<String, String>) -> Vec<String> {
    let mut env = Vec::new();
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"] {
        let mut given = build_args.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        if let Some(value) = given.next_back().filter(|value| !value.is_empty()) {
            env.push(format!("{name}={value}"));
            env.push(format!("{}={value}", name.to_ascii_lowercase()));
        }
    }
    env
}

fn hostname(build_args: &BTreeMap<String, String>) -> String {
    build_args.get("BUILDKIT_SANDBOX_HOSTNAME").map_or(DEFAULT_HOSTNAME, String::as_str).to_owned()
}

#[cfg(test)]
mod tests {
    use crate::lower::tests::{Case, errors};

    #[test]
    fn history_lists_the_args_in_scope() {
        let text = "FROM scratch AS p\nARG A=1\nFROM p\nARG B\nENV A=env\nRUN x\nRUN [\"a\", \"b c\"]\n";
        let history = Case::new(text).history();
        assert_eq!(history[3..], ["RUN |2 A=env B= /bin/sh -c x # buildkit", "RUN |2 A=env B= a b c # buildkit"]);
    }

    #[test]
    fn heredocs_are_scripts_files_or_left_to_the_shell() {
        for (line, history, name) in [
            ("RUN <<-E\n\techo 1\n\techo 2\n\tE\n", "echo 1\necho 2\n", "RUN <<-E (echo 1...)"),
            ("RUN <<'E'\n#!/bin/x\nE\n", "/dev/pipes/E", "RUN <<'E' (#!/bin/x)"),
            ("RUN cat <<A <<B\n1\nA\n2\nB\n", "cat <<A <<B\n1\nA\n2\nB", "RUN cat <<A <<B"),
        ] {
            let case = Case::new(&format!("FROM scratch\n{line}"));
            assert_eq!(case.history(), [format!("RUN /bin/sh -c {history} # buildkit")]);
            assert!(case.graph().contains(&format!("[1/1] {name}\n")), "{}", case.graph());
        }
    }

    #[test]
    fn a_script_with_an_interpreter_is_mounted() {
        let case = Case::new("FROM scratch\nRUN <<E\n#!/x\nE\n");
        assert_eq!(
            case.graph(),
            "0 scratch\n1 file(0) [internal] preparing inline document\n  mkfile E /E octal 755 \"#!/x\\n\"\n\
             2 exec(0,1) [1/1] RUN <<E (#!/x)\n  args /bin/sh|-c|/dev/pipes/E\n  cwd / user  host buildkitsandbox\n  \
             mount bind 1:/ /dev/pipes ro\n"
        );
    }

    #[test]
    fn proxies_are_kept_apart_until_they_are_declared() {
        let text = "FROM scratch\nRUN x\nARG HTTP_PROXY\nRUN x\n";
        let case = Case::new(text).arg("HTTP_PROXY", "up").arg("http_proxy", "low");
        assert_eq!(case.history()[0], "RUN /bin/sh -c x # buildkit");
        assert_eq!(case.history()[2], "RUN |1 HTTP_PROXY=up /bin/sh -c x # buildkit");
        assert!(case.graph().contains("proxy HTTP_PROXY=low|http_proxy=low"));
        assert!(case.run_env().contains(&"HTTP_PROXY=up".to_owned()));
    }

    #[test]
    fn the_agent_socket_is_announced_unless_it_is_set() {
        let run = "RUN --mount=type=ssh --mount=type=ssh,id=b x\n";
        let socket = "SSH_AUTH_SOCK=/run/buildkit/ssh_agent.0".to_owned();
        assert!(Case::new(&format!("FROM scratch\n{run}")).run_env().contains(&socket));
        assert!(!Case::new(&format!("FROM scratch\nENV SSH_AUTH_SOCK=/s\n{run}")).run_env().contains(&socket));
        let as_written = Case::new("FROM scratch\nRUN --mount=type=ssh,target=/m//n x\n");
        assert!(as_written.run_env().contains(&"SSH_AUTH_SOCK=/m//n".to_owned()));
    }

    #[test]
    fn mounts_are_ordered_by_what_is_written() {
        let case = Case::new(
            "FROM scratch\nRUN --mount=type=secret,id=s,target=/m --mount=type=tmpfs,target=/m/,size=2 \
             --mount=type=tmpfs,target=//m,size=3 --mount=type=tmpfs,target=/m,size=1 x\n",
        );
        let graph = case.graph();
        let mounts: Vec<&str> = graph.lines().filter(|line| line.starts_with("  mount")).collect();
        assert_eq!(
            mounts,
            [
                "  mount tmpfs /m 3 rw",
                "  mount tmpfs /m 1 rw",
                "  mount tmpfs /m 2 rw",
                "  mount secret s /m - 400 0:0"
            ]
        );
    }

    #[test]
    fn only_the_exec_form_needs_arguments() {
        assert_eq!(errors("FROM scratch\nRUN []\n"), ["failed to marshal LLB definition: arguments are required"]);
        assert_eq!(Case::new("FROM scratch\nRUN\n").history(), ["RUN /bin/sh -c  # buildkit"]);
    }

    #[test]
    fn the_sandbox_has_a_hostname() {
        let case = Case::new("FROM scratch\nRUN x\n").arg("BUILDKIT_SANDBOX_HOSTNAME", "h");
        assert!(case.graph().contains(" host h\n"));
    }
}
