//! Variables that are named like secrets: whatever is in them stays in the image.

use super::{Findings, Rule};
use crate::Keyword;
use crate::facts::{Fact, Seen};
use crate::quote::quoted;

pub(super) const RULE: Rule = Rule::new(
    "SecretsUsedInArgOrEnv",
    "secrets-used-in-arg-or-env",
    "Sensitive data should not be used in the ARG or ENV commands",
);

const TELLTALES: [&str; 10] =
    ["apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token"];
/// Words that say that it is not the secret itself.
const HARMLESS: [&str; 3] = ["public", "file", "version"];

pub(super) fn check(fact: &Fact, findings: &mut Findings<'_>) {
    let (keyword, key) = match &fact.seen {
        Seen::Pair { key, .. } if fact.place.keyword == Keyword::Env => ("ENV", key),
        Seen::Arg { name } => ("ARG", name),
        _ => return,
    };
    let lower = key.to_lowercase();
    let has_word = |words: &[&str]| lower.split('_').any(|word| words.contains(&word));
    if has_word(&TELLTALES) && !has_word(&HARMLESS) {
        let message = format!("Do not use ARG or ENV instructions for sensitive data ({keyword} {})", quoted(key));
        findings.add(&RULE, &fact.place, message);
    }
}

#[cfg(test)]
mod tests {
    use crate::lint::tests::{check_hits, check_silent};

    #[test]
    fn names_give_secrets_away() {
        let told = |what: &str| {
            format!("2 SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data ({what})")
        };
        check_hits(&[
            ("FROM scratch\nARG GITHUB_TOKEN\n", &told("ARG \"GITHUB_TOKEN\"")),
            ("FROM scratch\nENV a=1 my_Secret_x=1\n", &told("ENV \"my_Secret_x\"")),
            ("FROM scratch\nENV apikey=1\n", &told("ENV \"apikey\"")),
        ]);
        check_silent(&[
            "FROM scratch\nENV PUBLIC_KEY=1 PASSWORD_FILE=/x keyboard=1 tokens=1\n",
            "FROM scratch\nLABEL token=1\n",
            "ARG TOKEN\nFROM scratch\n",
        ]);
    }
}
