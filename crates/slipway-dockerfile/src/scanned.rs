//! What, besides the target, is searched for packages? The args `BUILDKIT_SBOM_SCAN_CONTEXT` and
//! `BUILDKIT_SBOM_SCAN_STAGE` say so: those of the target about the build context, those of each stage that it needs about
//! that stage (`spec/dockerfile.md` section 2.5).

use slipway_graph::request::flags::parse_bool;

use crate::lower::Build;
use crate::stage_builder::StageBuilder;

const CONTEXT: &str = "BUILDKIT_SBOM_SCAN_CONTEXT";
const STAGE: &str = "BUILDKIT_SBOM_SCAN_STAGE";
/// What the build context is called among stages.
const CONTEXT_NAME: &str = "context";

/// Args that never become environment variables.
pub(crate) const ARGS: [&str; 2] = [CONTEXT, STAGE];

/// Notes what the args of `stage`, which is complete, ask for.
pub(crate) fn note(stage: &StageBuilder, is_target: bool, build: &mut Build<'_>) {
    if !build.inputs.lists_packages {
        return;
    }
    // The only stage of a file has no name.
    let name = stage.names.stage.clone().unwrap_or_default();
    if is_target && is_asked(CONTEXT, &name, stage, build) {
        let context = build.main_context();
        // A stage of the same name goes before it.
        build.scanned.entry(CONTEXT_NAME.to_owned()).or_insert(context);
    }
    if !is_target && is_asked(STAGE, &name, stage, build) {
        build.scanned.insert(name, stage.vertex);
    }
}

/// Whether the last value of `arg` is true, or lists the stage `name`.
fn is_asked(arg: &str, name: &str, stage: &StageBuilder, build: &Build<'_>) -> bool {
    let declared = stage.args.iter().rev().find_map(|(known, value)| value.as_ref().filter(|_| known == arg));
    let value = declared.cloned().or_else(|| build.globals.get(arg));
    value.is_some_and(|value| parse_bool(&value).unwrap_or_else(|| value.split(',').any(|listed| listed == name)))
}

#[cfg(test)]
mod tests {
    use crate::lower::tests::Case;

    fn scanned(case: Case) -> Vec<String> {
        case.lists_packages().lowered().scanned.into_keys().collect()
    }

    const STAGES: &str = "FROM scratch AS a\nFROM scratch AS unused\nFROM scratch\nCOPY x /\nFROM scratch AS last\n\
                          COPY --from=a . /\nCOPY --from=2 . /\n";

    #[test]
    fn stages_that_are_needed_are_searched_and_the_target_is_no_extra() {
        let text = |value: &str| Case::new(&format!("ARG BUILDKIT_SBOM_SCAN_STAGE={value}\n{STAGES}"));
        assert_eq!(scanned(text("true")), ["a", "stage-2"]);
        assert_eq!(scanned(text("last,a,unused")), ["a"]);
        assert_eq!(scanned(text("nonsense")), [""; 0]);
        assert_eq!(scanned(text("true").arg("BUILDKIT_SBOM_SCAN_STAGE", "stage-2")), ["stage-2"]);
        // Without a declaration in the file, a build arg asks for nothing.
        assert_eq!(scanned(Case::new(STAGES).arg("BUILDKIT_SBOM_SCAN_STAGE", "true")), [""; 0]);
        assert_eq!(text("true").lowered().scanned.len(), 0);
    }

    #[test]
    fn a_stage_may_ask_for_itself_and_for_those_based_on_it() {
        let text = "ARG BUILDKIT_SBOM_SCAN_STAGE=true\nFROM scratch AS a\nARG BUILDKIT_SBOM_SCAN_STAGE=false\n\
                    FROM a AS b\nFROM scratch AS c\nFROM scratch\nCOPY --from=b . /\nCOPY --from=c . /\n";
        assert_eq!(scanned(Case::new(text)), ["c"]);
    }

    #[test]
    fn only_the_target_asks_for_the_context() {
        let text = "FROM scratch AS a\nARG BUILDKIT_SBOM_SCAN_CONTEXT=true\nFROM scratch AS b\nCOPY --from=a . /\n";
        assert_eq!(scanned(Case::new(text)), [""; 0]);
        assert_eq!(scanned(Case::new(text).target("a")), ["context"]);
        let text = "FROM scratch AS context\nARG BUILDKIT_SBOM_SCAN_STAGE=1\nFROM scratch\n\
                    ARG BUILDKIT_SBOM_SCAN_CONTEXT=1\nCOPY --from=context . /\nCOPY y /\n";
        let lowered = Case::new(text).lists_packages().lowered();
        assert!(lowered.graph.vertex(lowered.scanned["context"]).name.contains("scratch"));
    }
}
