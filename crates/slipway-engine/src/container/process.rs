//! Which program does a container run, and which variables does it see? Docker's rules for what the image says and
//! what was asked for (`spec/cli.md` section 9.4).

use slipway_oci::RuntimeConfig;

/// Where programs are looked for if the image does not say.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The program and its arguments; none if nobody says what to run.
///
/// Another entrypoint than the image's takes the image's command away as well; an empty one is none at all.
pub(super) fn arguments(image: &RuntimeConfig, entrypoint: Option<&[String]>, command: &[String]) -> Vec<String> {
    let first = entrypoint.unwrap_or(&image.entrypoint);
    let rest = match (command, entrypoint) {
        ([], None) => &image.cmd,
        (command, _) => command,
    };
    first.iter().chain(rest).cloned().collect()
}

/// The variables in the order that programs see them; of several with one name the last counts, in the first's place.
pub(super) fn environment(image: &RuntimeConfig, asked: &[String], hostname: &str, has_terminal: bool) -> Vec<String> {
    let is_asked = |pair: &&String| !asked.iter().any(|known| name_of(known) == name_of(pair));
    let built_in = [DEFAULT_PATH.to_owned(), format!("HOSTNAME={hostname}")];
    let terminal = has_terminal.then(|| "TERM=xterm".to_owned());
    let given = asked.iter().chain(image.env.iter().filter(is_asked)).cloned();
    let mut env: Vec<String> = Vec::new();
    for pair in built_in.into_iter().chain(terminal).chain(given) {
        match env.iter_mut().find(|known| name_of(known) == name_of(&pair)) {
            Some(known) => *known = pair,
            None => env.push(pair),
        }
    }
    env
}

fn name_of(pair: &str) -> &str {
    pair.split_once('=').map_or(pair, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(words: &str) -> Vec<String> {
        words.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn what_is_asked_for_replaces_what_the_image_says() {
        let image = |entrypoint, cmd| RuntimeConfig {
            entrypoint: texts(entrypoint),
            cmd: texts(cmd),
            ..RuntimeConfig::default()
        };
        for (entrypoint, cmd, asked, command, expected) in [
            ("", "sh", None, "", "sh"),
            ("", "sh", None, "ls -l", "ls -l"),
            ("app run", "--fast", None, "", "app run --fast"),
            ("app run", "--fast", None, "--slow", "app run --slow"),
            ("app", "--fast", Some("sh"), "", "sh"),
            ("app", "--fast", Some("sh"), "-c x", "sh -c x"),
            ("app", "--fast", Some(""), "", ""),
            ("app", "--fast", Some(""), "ls", "ls"),
            ("", "", None, "", ""),
        ] {
            let asked_words = asked.map(texts);
            let found = arguments(&image(entrypoint, cmd), asked_words.as_deref(), &texts(command));
            assert_eq!(found, texts(expected), "{entrypoint} | {cmd} | {asked:?} | {command}");
        }
    }

    #[test]
    fn variables_come_in_dockers_order() {
        let image = RuntimeConfig { env: texts("PATH=/bin A=image B=image"), ..RuntimeConfig::default() };
        let asked = texts("C=asked A=first A=asked");
        assert_eq!(
            environment(&image, &asked, "box", true),
            texts("PATH=/bin HOSTNAME=box TERM=xterm C=asked A=asked B=image")
        );
        assert_eq!(environment(&RuntimeConfig::default(), &[], "box", false), [DEFAULT_PATH, "HOSTNAME=box"]);
    }
}
