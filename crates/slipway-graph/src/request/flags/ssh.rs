//! `--ssh ID[=PATH[,PATH…]]` (`spec/cli.md` section 4.2).

use std::collections::HashSet;
use std::path::PathBuf;

use super::{PathKind, Surroundings};
use crate::request::{ContextLocation, Ssh, SshSource};

/// Why a `--ssh` is refused. The odd texts are those that users of Docker know.
#[derive(Debug, thiserror::Error)]
pub enum SshError {
    #[error(
        "failed to convert agent config {{{id} [] false}}: invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set"
    )]
    NoAgent { id: String },
    #[error(
        "failed to convert agent config {{{id} [{}] false}}: failed to convert agent config for ID: \"{id}\": stat {path}: no such file or directory",
        paths.join(" ")
    )]
    NoFile { id: String, paths: Vec<String>, path: String },
    #[error("failed to convert agent config {{{id} [{}] false}}: only single socket allowed", paths.join(" "))]
    SeveralSockets { id: String, paths: Vec<String> },
    #[error("duplicate agent ID \"{id}\"")]
    Duplicate { id: String },
}

/// The agents that `texts` stand for. Without any, a context that is reached by ssh takes the user's own.
pub(crate) fn parse(
    texts: &[String],
    context: &ContextLocation,
    surroundings: &dyn Surroundings,
) -> Result<Vec<Ssh>, SshError> {
    let needs_agent = matches!(context, ContextLocation::Git(reference) if reference.remote.is_ssh());
    if texts.is_empty() && needs_agent {
        return Ok(vec![parse_one("default", surroundings)?]);
    }
    let mut seen = HashSet::new();
    texts
        .iter()
        .map(|text| {
            let ssh = parse_one(text, surroundings)?;
            match seen.insert(ssh.id.clone()) {
                true => Ok(ssh),
                false => Err(SshError::Duplicate { id: ssh.id }),
            }
        })
        .collect()
}

fn parse_one(text: &str, surroundings: &dyn Surroundings) -> Result<Ssh, SshError> {
    let (id, paths) = match text.split_once('=') {
        Some((id, paths)) => (id, paths.split(',').map(str::to_owned).collect()),
        None => (text, Vec::new()),
    };
    let id = if id.is_empty() { "default" } else { id }.to_owned();
    if paths.is_empty() {
        let socket = surroundings.variable("SSH_AUTH_SOCK").filter(|socket| !socket.is_empty());
        let socket = socket.ok_or_else(|| SshError::NoAgent { id: id.clone() })?;
        return Ok(Ssh { id, source: SshSource::Agent(socket.into()) });
    }
    let mut n_sockets = 0;
    for path in &paths {
        match surroundings.kind_of(path.as_ref()) {
            PathKind::Missing => return Err(SshError::NoFile { id, path: path.clone(), paths }),
            PathKind::Socket => n_sockets += 1,
            PathKind::File | PathKind::Folder => {}
        }
    }
    let source = match (n_sockets, &paths[..]) {
        (0, _) => SshSource::Keys(paths.iter().map(PathBuf::from).collect()),
        (_, [socket]) => SshSource::Agent(socket.into()),
        _ => return Err(SshError::SeveralSockets { id, paths }),
    };
    Ok(Ssh { id, source })
}

#[cfg(test)]
mod tests {
    use super::super::testing::Made;
    use super::*;
    use crate::GitReference;

    const FOLDER: &str = ".";

    fn read(texts: &[&str], context: &str) -> String {
        let made = Made::default()
            .with_variable("SSH_AUTH_SOCK", "/run/agent")
            .with_path("sock", PathKind::Socket)
            .with_path("k1", PathKind::File)
            .with_path("k2", PathKind::File);
        let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
        match parse(&texts, &location(context), &made) {
            Err(error) => error.to_string(),
            Ok(all) => all.iter().map(|ssh| format!("{}: {:?}", ssh.id, ssh.source)).collect::<Vec<_>>().join("; "),
        }
    }

    fn location(context: &str) -> ContextLocation {
        match GitReference::of_context(context) {
            Some(reference) => ContextLocation::Git(reference.unwrap()),
            None => ContextLocation::Folder(context.into()),
        }
    }

    #[test]
    fn agents_are_sockets_or_keys() {
        for (texts, expected) in [
            (&["default"][..], r#"default: Agent("/run/agent")"#),
            (&["x=sock"], r#"x: Agent("sock")"#),
            (&["x=k1,k2"], r#"x: Keys(["k1", "k2"])"#),
            (&["x=k1,sock"], "failed to convert agent config {x [k1 sock] false}: only single socket allowed"),
            (
                &["k=/nope"],
                "failed to convert agent config {k [/nope] false}: failed to convert agent config for ID: \"k\": stat /nope: no such file or directory",
            ),
            (&["default", "default"], r#"duplicate agent ID "default""#),
        ] {
            assert_eq!(read(texts, FOLDER), expected);
        }
    }

    #[test]
    fn no_agent_is_said() {
        for (texts, context) in [(&["default".to_owned()][..], FOLDER), (&[], "git@h:r")] {
            let error = parse(texts, &location(context), &Made::default()).unwrap_err();
            assert_eq!(
                error.to_string(),
                "failed to convert agent config {default [] false}: invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set"
            );
        }
    }

    /// As recorded of the reference.
    #[test]
    fn a_context_that_is_reached_by_ssh_takes_the_users_agent() {
        for (texts, context, expected) in [
            (&[][..], "git@h:r", r#"default: Agent("/run/agent")"#),
            (&[], "ssh://git@h/r", r#"default: Agent("/run/agent")"#),
            (&["x=sock"], "git@h:r", r#"x: Agent("sock")"#),
            (&[], "https://h/r.git", ""),
            (&[], FOLDER, ""),
        ] {
            assert_eq!(read(texts, context), expected, "{context}");
        }
    }
}
