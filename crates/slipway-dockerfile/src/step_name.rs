//! How steps are called (`spec/dockerfile.md` section 5.3): `[build 2/3] RUN make`.

use slipway_oci::Platform;

/// Counts the steps of a stage and writes their names.
#[derive(Clone, Debug, Default)]
pub(crate) struct StepNames {
    /// `build`, `stage-1`; `None` in a file with one stage.
    pub(crate) stage: Option<String>,
    /// `linux/amd64->arm64`, where several platforms are built.
    pub(crate) platform: Option<String>,
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
        let width = self.total.to_string().len();
        let words = [self.platform.as_deref(), self.stage.as_deref()];
        let prefix: String = words.into_iter().flatten().map(|w| format!("{w} ")).collect();
        format!("[{prefix}{:width$}/{}] {text}", self.n_given, self.total)
    }
}

/// The platform part of step names: `step`, and what it builds for where that differs.
pub(crate) fn platform_prefix(step: &Platform, target: &Platform) -> String {
    let step_text = step.to_string();
    if step == target {
        return step_text;
    }
    let target_text = target.to_string();
    let same_os = format!("{}/", step.os);
    format!("{step_text}->{}", target_text.strip_prefix(&same_os).unwrap_or(&target_text))
}

/// The instruction with its keyword in upper case and the variables that are set filled in; everything else,
/// quotes and unset variables included, stays as written.
pub(crate) fn instruction_text(logical_line: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let (keyword, rest) = logical_line.split_once(' ').unwrap_or((logical_line, ""));
    let space = if rest.is_empty() { "" } else { " " };
    format!("{}{space}{}", keyword.to_uppercase(), fill_in(rest, lookup))
}

/// Replaces `$name` and `${name}` outside single quotes where `lookup` knows the name.
fn fill_in(text: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    let mut is_quoted = false;
    while let Some(c) = rest.chars().next() {
        if let ('$', false) = (c, is_quoted)
            && let Some((name, len)) = simple_variable(rest)
            && let Some(value) = lookup(name)
        {
            out.push_str(&value);
            rest = &rest[len..];
            continue;
        }
        let len = match c {
            '\\' if !is_quoted => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            c => c.len_utf8(),
        };
        is_quoted ^= c == '\'';
        out.push_str(&rest[..len]);
        rest = &rest[len..];
    }
    out
}

/// The name in a `$name` or `${name}` at the start of `text`, and the length of the whole.
fn simple_variable(text: &str) -> Option<(&str, usize)> {
    let after = text.strip_prefix('$')?;
    let (body, n_braces) = match after.strip_prefix('{') {
        Some(body) => (body, 1),
        None => (after, 0),
    };
    let end = body.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(body.len());
    let is_closed = n_braces == 0 || body[end..].starts_with('}');
    (end > 0 && is_closed).then(|| (&body[..end], 1 + 2 * n_braces + end))
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
    fn platforms_are_shown_with_their_target() {
        let (amd, arm) = (Platform::new("linux", "amd64", None), Platform::new("linux", "arm", None));
        assert_eq!(platform_prefix(&amd, &amd), "linux/amd64");
        assert_eq!(platform_prefix(&amd, &arm), "linux/amd64->arm/v7");
    }

    #[test]
    fn known_variables_are_filled_in_and_quotes_stay() {
        let env = |name: &str| (name == "A").then(|| "3".to_owned());
        let text = instruction_text(r#"run env $A $UNS "${A}" '$A' \$A ${A:-x}"#, env);
        assert_eq!(text, r#"RUN env 3 $UNS "3" '$A' \$A ${A:-x}"#);
    }

    #[test]
    fn scripts_are_shortened_to_their_first_line() {
        assert_eq!(summary("\necho 1\r\necho 2\n"), "echo 1...");
        assert_eq!(summary("echo 1\n"), "echo 1");
    }
}
