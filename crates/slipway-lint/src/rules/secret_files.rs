//! Files that hold secrets, copied into a layer.

use super::Family;
use crate::source::Source;
use crate::{Findings, Rule, Severity};
use slipway_dockerfile::Keyword;

const COPIED: Rule = Rule::new(
    "SecretFileCopied",
    Severity::Error,
    "a file that looks like a secret is copied into a layer",
    "Use RUN --mount=type=secret: a layer keeps the file even if a later step removes it",
);

pub(crate) const FAMILY: Family = Family { check, rules: &[&COPIED] };

const NAMES: [&str; 17] = [
    ".env",
    ".npmrc",
    ".netrc",
    ".pypirc",
    ".git-credentials",
    ".dockerconfigjson",
    ".pgpass",
    ".htpasswd",
    ".my.cnf",
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
    "credentials",
    "credentials.json",
    "secrets.yml",
    "secrets.yaml",
];
const ENDS: [&str; 6] = [".pem", ".key", ".p12", ".pfx", ".jks", ".keystore"];

fn check(source: &Source<'_>, findings: &mut Findings<'_>) {
    for (_, step) in source.steps() {
        let is_copy = (step.is(Keyword::Copy) || step.is(Keyword::Add)) && step.flag("from").is_none();
        let Some((sources, _)) = step.paths().filter(|_| is_copy) else { continue };
        if let Some(path) = sources.iter().find(|path| is_secret(path)) {
            findings.add(&COPIED, step.lines, format!("`{path}` looks like a secret, and a layer keeps it"));
        }
    }
}

fn is_secret(path: &str) -> bool {
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or(path).to_lowercase();
    let is_public = name.ends_with(".pub")
        || ["example", "sample", "public", "template", "ca.", "cert"].iter().any(|word| name.contains(word));
    // `.env.production`, but not `.env.example`.
    let is_named = NAMES.contains(&name.as_str()) || name.starts_with(".env.");
    !is_public && (is_named || ENDS.iter().any(|end| name.ends_with(end)) || path.contains(".ssh/"))
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_hits, check_silent};

    #[test]
    fn files() {
        check_hits(
            "SecretFileCopied",
            &[
                "COPY .env /app/\n",
                "COPY a keys/id_rsa /root/.ssh/\n",
                "ADD server.key /\n",
                "COPY .npmrc .\n",
                "COPY .env.production /x\n",
            ],
        );
        check_silent(
            "SecretFileCopied",
            &[
                "COPY .env.example /x\n",
                "COPY id_rsa.pub /x\n",
                "COPY ca.pem /x\n",
                "FROM a:1 AS b\nFROM a:1\nCOPY --from=b /x/.env /y\n",
                "COPY env /x\n",
            ],
        );
    }
}
