//! Which program is this, going by the name that it was started under? (`spec/cli.md` sections 1 and 13)
//!
//! A link called `docker` is Docker's front end, one called `docker-compose` only its command `compose`, and so on. Two
//! of the names are also looked for by Docker itself, as its plugins.

use std::ffi::OsString;
use std::path::Path;

/// What Docker asks a program that may be one of its plugins.
const METADATA: &str = "docker-cli-plugin-metadata";
/// What Docker tells plugins after other commands.
const HOOKS: &str = "docker-cli-plugin-hooks";

/// The name in the first of `words`, without its folder.
pub(crate) fn of(words: &[OsString]) -> &str {
    let name = words.first().and_then(|word| Path::new(word).file_name()).and_then(|name| name.to_str());
    name.unwrap_or("slipway")
}

/// `docker` for all of Docker's names, under which people know the commands.
pub(crate) fn front_end(words: &[OsString]) -> &str {
    match of(words) {
        "docker" | "docker-compose" => "docker",
        // As a plugin, it is called by the program `docker`.
        "docker-buildx" if words.get(1).is_some_and(|word| word == "buildx") => "docker",
        "docker-buildx" | "buildx" => "buildx",
        _ => "slipway",
    }
}

/// The command that the name alone stands for. That of `dive` is not asked for its version, which is slipway's.
fn implied_command(words: &[OsString]) -> Option<&'static str> {
    match of(words) {
        "docker-compose" => Some("compose"),
        "docker-buildx" | "buildx" => Some("buildx"),
        "hadolint" => Some("lint"),
        "dive" if words.get(1).is_none_or(|word| word != "--version") => Some("dive"),
        _ => None,
    }
}

/// `words` with the command that the name stands for. Docker names the command of a plugin itself.
pub(crate) fn with_implied_command(words: &[OsString]) -> Vec<OsString> {
    let mut full = words.to_vec();
    if let Some(command) = implied_command(words)
        && words.get(1).is_none_or(|word| word != command)
    {
        full.insert(1, command.into());
    }
    // What a program has as a flag, its command has as a command.
    if of(words) == "docker-compose" && words.get(1).is_some_and(|word| word == "--version" || word == "-v") {
        full[2] = "version".into();
    }
    full
}

/// The answer to what Docker asks its plugins, if that is what `words` are.
pub(crate) fn plugin_answer(words: &[OsString]) -> Option<String> {
    let subject = match of(words) {
        "docker-buildx" => "Builds images",
        "docker-compose" => "Works with Compose files",
        _ => return None,
    };
    match words.get(1)?.to_str()? {
        METADATA => {
            let metadata = serde_json::json!({
                "SchemaVersion": "0.1.0",
                "Vendor": "slipway",
                "Version": concat!("v", env!("CARGO_PKG_VERSION")),
                "ShortDescription": format!("{subject} with slipway, no daemon needed"),
            });
            Some(format!("{metadata:#}\n"))
        }
        HOOKS => Some(String::new()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn names_stand_for_commands() {
        for (line, full) in [
            ("/usr/bin/docker-compose config", "/usr/bin/docker-compose compose config"),
            ("docker-compose compose up", "docker-compose compose up"),
            ("docker-buildx build .", "docker-buildx buildx build ."),
            ("docker-buildx buildx build .", "docker-buildx buildx build ."),
            ("buildx bake", "buildx buildx bake"),
            ("docker-compose --version", "docker-compose compose version"),
            ("hadolint Dockerfile", "hadolint lint Dockerfile"),
            ("dive app", "dive dive app"),
            ("dive --version", "dive --version"),
            ("docker build .", "docker build ."),
            ("slipway build .", "slipway build ."),
        ] {
            assert_eq!(with_implied_command(&words(line)), words(full), "{line}");
        }
    }

    #[test]
    fn docker_finds_its_plugins() {
        for name in ["docker-buildx", "/usr/libexec/docker/cli-plugins/docker-compose"] {
            let answer = plugin_answer(&words(&format!("{name} {METADATA}"))).unwrap();
            let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
            assert_eq!(answer["SchemaVersion"], "0.1.0");
            assert!(answer["Version"].as_str().unwrap().starts_with('v'));
            assert_eq!(plugin_answer(&words(&format!("{name} {HOOKS} {{}}"))), Some(String::new()));
        }
        assert_eq!(plugin_answer(&words(&format!("docker {METADATA}"))), None);
        assert_eq!(plugin_answer(&words("docker-buildx build .")), None);
    }
}
