//! How steps are called (`spec/dockerfile.md` section 5.3): `[build 2/3] RUN make`.

use slipway_oci::Platform;

use crate::environment::Environment;

/// Counts the steps of a stage and writes their names.
#[derive(Clone, Debug, Default)]
pub(crate) struct StepNames {
    /// `build`, `stage-1`; `None` in a file with one stage.
    pub(crate) stage: Option<String>,
    /// What the stage runs on, where several platforms are built.
    pub(crate) platform: Option<Platform>,
    /// What the next steps build for, if the stage says so.
    pub(crate) target: Option<Platform>,
    /// How many steps there will be; 0 for an image that is only copied from, whose steps have no number.
    pub(crate) total: usize,
    pub(crate) n_given: usize,
}

impl StepNames {
    /// The name of the next step.
    pub(crate) fn next(&mut self, text: &str) -> String {
        if self.total == 0 {
            return text.to_owned();
        }
        self.n_given += 1;
        self.current(text)
    }

    /// One more name for the step that [`StepNames::next`] gave last: a step may need several vertices.
    pub(crate) fn current(&self, text: &str) -> String {
        let total = self.total.to_string();
        let platform = self.platform.as_ref().map(|platform| platform_prefix(platform, self.target.as_ref()));
        let mut name = String::from("[");
        for word in [platform.as_deref(), self.stage.as_deref()].into_iter().flatten() {
            name.extend([word, " "]);
        }
        let number = format!("{:width$}", self.n_given, width = total.len());
        name.extend([&number, "/", &total, "] ", text]);
        name
    }
}

/// The platform part of step names: `step`, and what it builds for where that has another architecture.
fn platform_prefix(step: &Platform, target: Option<&Platform>) -> String {
    let step_text = step.to_string();
    let Some(target) = target.filter(|target| (&target.os, &target.architecture) != (&step.os, &step.architecture))
    else {
        return step_text;
    };
    let target_text = target.to_string();
    let same_os = format!("{}/", step.os);
    format!("{step_text}->{}", target_text.strip_prefix(&same_os).unwrap_or(&target_text))
}

/// What steps on `platform` build for, as far as `TARGETPLATFORM` or its parts are in sight.
pub(crate) fn stated_target(platform: &Platform, env: &Environment) -> Option<Platform> {
    if let Some(stated) = env.get("TARGETPLATFORM").and_then(|text| text.parse().ok()) {
        return Some(stated);
    }
    let [os, architecture, variant] = ["TARGETOS", "TARGETARCH", "TARGETVARIANT"].map(|name| env.get(name));
    os.or(architecture).or(variant)?;
    let filled = |part: Option<&'_ str>, own: &str| part.filter(|text| !text.is_empty()).unwrap_or(own).to_owned();
    Some(Platform::new(&filled(os, &platform.os), &filled(architecture, &platform.architecture), variant))
}

/// `instruction` with its keyword in upper case.
pub(crate) fn with_upper_keyword(instruction: &str) -> String {
    let (keyword, rest) = instruction.split_at(instruction.find(' ').unwrap_or(instruction.len()));
    keyword.to_uppercase() + rest
}

/// The first line of a script, with `...` if there are more.
pub(crate) fn summary(script: &str) -> String {
    let script = script.trim();
    match script.split_once('\n') {
        Some((first, _)) => format!("{}...", first.trim_end_matches('\r')),
        None => script.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_padded_to_the_width_of_the_total() {
        let mut names = StepNames { stage: Some("build".into()), total: 10, ..Default::default() };
        assert_eq!(names.next("RUN a"), "[build  1/10] RUN a");
        assert_eq!(names.current("LINK"), "[build  1/10] LINK");
        let mut single = StepNames { total: 2, ..Default::default() };
        assert_eq!(single.next("RUN a"), "[1/2] RUN a");
        assert_eq!(StepNames::default().next("FROM x"), "FROM x");
    }

    #[test]
    fn platforms_are_shown_with_the_target_that_is_in_sight() {
        let (amd, arm) = (Platform::new("linux", "amd64", None), Platform::new("linux", "arm", None));
        for (variables, expected) in [
            (&[][..], "linux/amd64"),
            (&[("TARGETPLATFORM", "linux/amd64")], "linux/amd64"),
            (&[("TARGETPLATFORM", "linux/arm/v7")], "linux/amd64->arm/v7"),
            (&[("TARGETPLATFORM", "windows/amd64")], "linux/amd64->windows/amd64"),
            (&[("TARGETARCH", "arm64"), ("TARGETVARIANT", "")], "linux/amd64->arm64"),
            (&[("TARGETOS", "linux")], "linux/amd64"),
            (&[("TARGETARCH", "arm64"), ("TARGETPLATFORM", "nonsense/x/y/z")], "linux/amd64->arm64"),
        ] {
            let mut env = Environment::default();
            variables.iter().for_each(|(name, value)| env.set(name, value));
            assert_eq!(platform_prefix(&amd, stated_target(&amd, &env).as_ref()), expected, "{variables:?}");
        }
        let mut names = StepNames { platform: Some(arm), total: 2, ..Default::default() };
        assert_eq!(names.next("COPY a b"), "[linux/arm/v7 1/2] COPY a b");
    }

    #[test]
    fn scripts_are_shortened_to_their_first_line() {
        assert_eq!(summary("\necho 1\r\necho 2\n"), "echo 1...");
        assert_eq!(summary("echo 1\n"), "echo 1");
    }
}
