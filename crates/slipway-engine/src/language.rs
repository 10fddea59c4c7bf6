//! Answers one question: is the file in the language that is built in?
//!
//! Any version of the Dockerfile frontend means the built-in language, so that no build needs the network for it; every
//! other frontend is refused by name (`spec/dockerfile.md` section 1.3).

use std::collections::BTreeMap;

use slipway_dockerfile::Dockerfile;

/// A file that asks for another language.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("unsupported frontend `{0}`: slipway has the Dockerfile language built in and runs no other")]
pub(crate) struct UnsupportedFrontend(String);

/// Checks the frontend that `BUILDKIT_SYNTAX` asks for, or else the file.
pub(crate) fn check(dockerfile: &Dockerfile, build_args: &BTreeMap<String, String>) -> Result<(), UnsupportedFrontend> {
    let from_flag = build_args.get("BUILDKIT_SYNTAX").map(String::as_str);
    let from_file = dockerfile.directives.syntax.as_ref().map(|word| word.text.as_str());
    match from_flag.or(from_file).and_then(|text| text.split_whitespace().next()) {
        Some(frontend) if !is_built_in(frontend) => Err(UnsupportedFrontend(frontend.to_owned())),
        Some(_) | None => Ok(()),
    }
}

/// Whether an image is the Dockerfile frontend: on Docker Hub, or where another registry keeps a copy of it.
fn is_built_in(image: &str) -> bool {
    let name = image.split('@').next().unwrap_or_default();
    let name = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    };
    let repository = match name.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => {
            // Copies lie below a project of their own, as in `mirror.example.com/hub/docker/dockerfile`.
            let n_last_two = path.rmatch_indices('/').nth(1).map_or(0, |(at, _)| at + 1);
            &path[n_last_two..]
        }
        _ => name,
    };
    matches!(repository, "docker/dockerfile" | "docker/dockerfile-upstream")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str, flag: Option<&str>) -> Result<(), String> {
        let (dockerfile, _) = slipway_dockerfile::parse(text.as_bytes());
        let build_args = flag.map(|value| ("BUILDKIT_SYNTAX".to_owned(), value.to_owned())).into_iter().collect();
        check(&dockerfile, &build_args).map_err(|error| error.0)
    }

    #[test]
    fn every_name_of_the_frontend_is_built_in() {
        for frontend in [
            "docker/dockerfile",
            "docker/dockerfile:1",
            "docker/dockerfile:1.4-labs",
            "docker.io/docker/dockerfile:latest",
            "index.docker.io/docker/dockerfile:1",
            "docker/dockerfile-upstream:master-labs",
            "docker/dockerfile:1@sha256:0000000000000000000000000000000000000000000000000000000000000000",
            "localhost:5000/docker/dockerfile:1",
            "mirror.example.com/hub/docker/dockerfile",
        ] {
            for text in [
                format!("# syntax={frontend}\nFROM scratch\n"),
                format!("#!/bin/x\n#syntax = {frontend} --flag\n"),
                format!("//syntax={frontend}\n"),
                format!("{{\"syntax\": \"{frontend}\"}}"),
            ] {
                assert_eq!(checked(&text, None), Ok(()), "{text}");
            }
            assert_eq!(checked("# syntax=a/b\nFROM scratch\n", Some(frontend)), Ok(()));
        }
    }

    #[test]
    fn other_frontends_are_refused_by_name() {
        for frontend in [
            "a/b",
            "dockerfile",
            "docker/dockerfile/x",
            "evil/docker/dockerfile",
            "example.com/docker/dockerfile2",
            "r2d4/mockerfile@sha256:0000000000000000000000000000000000000000000000000000000000000000",
        ] {
            let refused = Err(frontend.to_owned());
            assert_eq!(checked(&format!("# syntax={frontend}\nany: language\n"), None), refused);
            assert_eq!(checked("# syntax=docker/dockerfile\n", Some(&format!("{frontend} --flag"))), refused);
        }
    }
}
