//! `VOLUME path …`: recorded in the config, without effect on the files of the build.

use slipway_oci::Empty;

use super::{flags, words};
use crate::stage_builder::{Step, error_at};
use crate::{Diagnostic, Instruction};

const BLANK: &str = "VOLUME specified can not be an empty string";

#[derive(Clone, Debug)]
pub(crate) struct Volume {
    paths: Vec<String>,
}

pub(super) fn check(instruction: &Instruction) -> Result<Volume, Diagnostic> {
    flags::check_none(instruction)?;
    let paths: Vec<String> = words(instruction).iter().map(|w| w.text.trim().to_owned()).collect();
    if paths.iter().any(String::is_empty) {
        return Err(error_at(instruction, instruction.span, BLANK));
    }
    Ok(Volume { paths })
}

pub(super) fn lower(volume: &Volume, step: &mut Step<'_, '_>) -> Result<(), Diagnostic> {
    let paths: Vec<String> = volume.paths.iter().map(|path| step.expand(path)).collect::<Result<_, _>>()?;
    if paths.iter().any(String::is_empty) {
        return Err(step.error(BLANK));
    }
    step.record(format!("VOLUME [{}]", paths.join(" ")), false);
    step.stage.config.config.volumes.extend(paths.into_iter().map(|path| (path, Empty {})));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::lower::tests::{Case, errors};

    #[test]
    fn paths_are_collected() {
        let case = Case::new("FROM scratch\nVOLUME /a /b\nVOLUME [\"/c d\"]\n");
        assert_eq!(case.config().config.volumes.into_keys().collect::<Vec<_>>(), ["/a", "/b", "/c d"]);
        assert_eq!(case.history(), ["VOLUME [/a /b]", "VOLUME [/c d]"]);
        assert_eq!(errors("FROM scratch\nVOLUME [\"\"]\n"), ["VOLUME specified can not be an empty string"]);
    }
}
