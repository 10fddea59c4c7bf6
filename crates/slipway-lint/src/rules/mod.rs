//! All rules, by family: one file each, with its rules, its check and its tests.

mod apk;
mod apt;
mod archives;
mod bases;
mod consecutive_runs;
mod copies;
mod copy_from;
mod dependencies;
mod dockerignore;
mod download_tools;
mod env_self_reference;
mod expose;
mod healthcheck;
mod identical_targets;
mod labels;
mod language_packages;
mod pip;
mod pipes;
mod programs;
mod repeated_setup;
mod rpm;
mod secret_files;
mod shipped_tools;
mod stage_names;
mod unreached_tests;
mod user;
mod whole_folders;
mod workdir;
mod yarn;
mod zypper;

pub use labels::{LabelKind, NoLabelKind};

use crate::source::Source;
use crate::{Findings, Rule, SILENCED, build_checks, form};

/// Rules that look at the same thing.
pub(crate) struct Family {
    pub(crate) check: fn(&Source<'_>, &mut Findings<'_>),
    pub(crate) rules: &'static [&'static Rule],
}

pub(crate) const FAMILIES: &[Family] = &[
    apk::FAMILY,
    apt::FAMILY,
    archives::FAMILY,
    bases::FAMILY,
    consecutive_runs::FAMILY,
    copies::FAMILY,
    copy_from::FAMILY,
    dependencies::FAMILY,
    dockerignore::FAMILY,
    download_tools::FAMILY,
    env_self_reference::FAMILY,
    expose::FAMILY,
    healthcheck::FAMILY,
    identical_targets::FAMILY,
    labels::FAMILY,
    language_packages::FAMILY,
    pip::FAMILY,
    pipes::FAMILY,
    programs::FAMILY,
    repeated_setup::FAMILY,
    rpm::FAMILY,
    secret_files::FAMILY,
    shipped_tools::FAMILY,
    stage_names::FAMILY,
    unreached_tests::FAMILY,
    user::FAMILY,
    whole_folders::FAMILY,
    workdir::FAMILY,
    yarn::FAMILY,
    zypper::FAMILY,
];

/// Every rule, those of a build first, then by id.
pub fn all_rules() -> Vec<&'static Rule> {
    let mut rules: Vec<&'static Rule> = FAMILIES.iter().flat_map(|family| family.rules.iter().copied()).collect();
    rules.push(&SILENCED);
    rules.extend(form::RULES);
    rules.sort_by_key(|rule| rule.id);
    build_checks::rules().iter().chain(rules).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_texts_are_sentences_without_a_full_stop() {
        let rules = all_rules();
        for (index, rule) in rules.iter().enumerate() {
            assert!(rules[index + 1..].iter().all(|other| other.id != rule.id), "{}", rule.id);
        }
        for rule in FAMILIES.iter().flat_map(|family| family.rules) {
            let texts = [rule.summary, rule.advice];
            assert!(texts.iter().all(|text| !text.is_empty() && !text.ends_with('.')), "{}", rule.id);
        }
    }
}
