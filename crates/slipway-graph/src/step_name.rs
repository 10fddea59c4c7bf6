//! Names of steps, taken apart: `[build 2/3] RUN make`.

/// The name of a step as people see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepName<'a>(pub &'a str);

impl<'a> StepName<'a> {
    /// The stage that it belongs to: `build`, `stage-1`; `None` in a file with one stage and beside stages.
    pub fn stage(self) -> Option<&'a str> {
        let words = self.group()?;
        let stage = words.rsplit(' ').next().unwrap_or(words);
        (!stage.contains('/') && !stage.is_empty()).then_some(stage)
    }

    /// What stands in front of the count: stage, platform and target, where they are needed to tell steps apart; empty
    /// in a file with one stage. `None` if the step is not counted.
    pub fn group(self) -> Option<&'a str> {
        Some(self.counter()?.rsplit_once(' ').map_or("", |(words, _)| words.trim_end()))
    }

    /// The instruction, without stage and count.
    pub fn instruction(self) -> &'a str {
        match self.counter() {
            Some(counter) => self.0[counter.len() + 2..].trim_start(),
            None => self.0,
        }
    }

    /// `build 2/3` of `[build 2/3] RUN make`.
    fn counter(self) -> Option<&'a str> {
        let (counter, _) = self.0.strip_prefix('[')?.split_once(']')?;
        let (position, total) = counter.rsplit(' ').next()?.split_once('/')?;
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        (is_number(position) && is_number(total)).then_some(counter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_steps_can_be_taken_apart() {
        for (name, group, stage, instruction) in [
            ("[build 2/3] RUN make", Some("build"), Some("build"), "RUN make"),
            ("[build  2/13] RUN [ -f x ]", Some("build"), Some("build"), "RUN [ -f x ]"),
            ("[2/3] RUN make", Some(""), None, "RUN make"),
            ("[linux/amd64 build 2/3] RUN make", Some("linux/amd64 build"), Some("build"), "RUN make"),
            ("[linux/amd64 2/3] RUN make", Some("linux/amd64"), None, "RUN make"),
            (
                "[internal] load build definition from Dockerfile",
                None,
                None,
                "[internal] load build definition from Dockerfile",
            ),
            ("exporting to image", None, None, "exporting to image"),
        ] {
            let step = StepName(name);
            assert_eq!((step.group(), step.stage(), step.instruction()), (group, stage, instruction), "{name}");
        }
    }
}
