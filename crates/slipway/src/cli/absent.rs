//! Which commands does Docker have that slipway lacks, and what does here what people use them for?

/// The words behind the program's name, and what to do instead.
const ABSENT: &[(&[&str], &str)] = &[
    (&["attach"], "`logs --follow` shows what a container writes, `exec -it` runs a further program in it"),
    (&["checkpoint"], "containers cannot be frozen here; `stop` ends one, `start` begins it again"),
    (&["commit"], "an image is what a Dockerfile says; write the change as a RUN or COPY of one, and build it"),
    (&["container", "create"], CREATE),
    (&["context"], "there is one place to build and run, this machine; leave the command out"),
    (&["create"], CREATE),
    (&["diff"], "`analyze IMAGE` shows what each layer of an image changes"),
    (&["events"], "nobody watches here; `ps --all` says how containers are, `builds ls` how builds went"),
    (&["export"], "`build --output type=tar,dest=FILE` writes the files of an image into an archive"),
    (&["import"], "`FROM scratch` with `ADD archive.tar /` makes an image of an archive"),
    (&["manifest", "annotate"], INDEX),
    (&["manifest", "create"], INDEX),
    (&["manifest", "push"], INDEX),
    (
        &["network"],
        "a container has a network of its own or, with `--network host`, this machine's; `compose up` makes \
                    the networks of its services",
    ),
    (&["pause"], "containers cannot be frozen here; `stop` ends one, `start` begins it again"),
    (&["unpause"], "containers cannot be frozen here; `start` begins one again that has ended"),
    (&["plugin"], "slipway has no plugins"),
    (&["rename"], "the name of a container is for life; give it with `run --name`"),
    (&["sbom"], "`build --sbom=true` lists the packages of an image beside it"),
    (&["scout"], "`build --sbom=true` lists the packages of an image, which scanners of vulnerabilities read"),
    (&["search"], "slipway asks registries for images by name only; search on the registry's pages"),
    (&["stats"], "`exec CONTAINER top` shows what the programs of a container take"),
    (&["top"], "`exec CONTAINER ps` lists the programs of a container"),
    (&["swarm"], CLUSTER),
    (&["service"], CLUSTER),
    (&["stack"], CLUSTER),
    (&["node"], CLUSTER),
    (&["trust"], "sign what was pushed by its digest, with a signer of your own; `push` prints the digest"),
    (&["container", "update"], "limits of a container are for life; give them with `run`"),
];

const CREATE: &str = "`run -d` makes a container and starts it; to take files out of an image, write them to a folder: \
                      `FROM scratch` with `COPY --from=IMAGE /path /`, built with `--output FOLDER`";
const INDEX: &str = "`imagetools create --tag INDEX IMAGE…` makes and pushes an index of several platforms at once";
const CLUSTER: &str = "slipway runs containers on this machine only; `compose up` starts several";

/// What to type in place of the command `name` below the commands `path` (`""`, `"container"`), if it is one of Docker's.
pub(super) fn instead_of(path: &str, name: &str) -> Option<&'static str> {
    let typed: Vec<&str> = path.split_whitespace().chain([name]).collect();
    ABSENT.iter().find(|(words, _)| *words == typed).map(|(_, hint)| *hint)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn who_types_a_command_of_docker_is_told_what_to_do_instead() {
        let words: Vec<std::ffi::OsString> = ["docker", "network", "create", "build"].map(Into::into).to_vec();
        let rejected = Cli::parse_words(&words).unwrap_err();
        let expected = "docker: unknown command: docker network\n\nhint: a container has a network of its own or, with \
                        `--network host`, this machine's; `compose up` makes the networks of its services\nRun 'docker \
                        --help' for more information\n";
        assert_eq!((rejected.text.as_str(), rejected.exit_code), (expected, 1));
    }

    #[test]
    fn nothing_that_is_there_is_called_absent() {
        for (words, _) in ABSENT {
            let mut command = Cli::command();
            let is_there = words.iter().all(|word| {
                let found = command.find_subcommand(word).cloned();
                found.is_some_and(|found| {
                    command = found;
                    true
                })
            });
            assert!(!is_there, "{words:?}");
        }
    }
}
