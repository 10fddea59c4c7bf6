//! The templates of `--format`: Go's `text/template` over JSON values, with the functions that Docker adds
//! (`spec/cli.md` section 9.1).
//!
//! ```text
//! parse.rs      text to a tree: actions, pipelines, variables, `if`, `range`, `with`
//! evaluate.rs   the tree over a value
//! functions.rs  what can be called
//! imagetools.rs what is different for `imagetools inspect`
//! ```
//!
//! Left out, and refused: `define`, `template`, `block`, `break` and `continue`.

mod evaluate;
mod functions;
mod imagetools;
mod parse;

use serde_json::Value;

pub(crate) use functions::json_text;

use evaluate::Evaluation;
use parse::Node;

/// Why a template cannot be used. The texts are those of Go.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    #[error("template parsing error: template: :{line}: {reason}")]
    Parse { line: usize, reason: String },
    #[error("template parsing error: template: :{line}:{column}: executing \"\" at <{at}>: {reason}")]
    Execute { line: usize, column: usize, at: String, reason: String },
}

impl TemplateError {
    /// The text as `buildx` has it, which says less in front.
    pub(crate) fn without_prefix(&self) -> String {
        let text = self.to_string();
        text.strip_prefix("template parsing error: ").map(str::to_owned).unwrap_or(text)
    }
}

/// What fields are looked up in, for the message about one that there is not.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    /// A row of a list: a struct of this type.
    Struct(&'static str),
    /// A document.
    Map,
    /// A document that Go knows the types of.
    Typed(&'static FieldTypes),
}

/// Of which kind fields are that a document may lack or have empty, by their names.
#[derive(Debug)]
pub(crate) struct FieldTypes {
    /// Keys that they lack are no mistake.
    pub(crate) maps: &'static [&'static str],
    pub(crate) lists: &'static [&'static str],
    pub(crate) texts: &'static [&'static str],
    pub(crate) pointers: &'static [&'static str],
}

impl FieldTypes {
    /// The value of `name` in a document that lacks it; `within` is the field that it was looked for in.
    fn absent(&self, name: &str, within: Option<&str>) -> Option<Value> {
        let is_key = within.is_some_and(|within| self.maps.contains(&within));
        let is_empty = [self.maps, self.lists, self.pointers].iter().any(|names| names.contains(&name));
        match self.texts.contains(&name) {
            true => Some(Value::String(String::new())),
            false => (is_key || is_empty).then_some(Value::Null),
        }
    }

    /// What is printed for `name` where there is nothing.
    fn nothing(&self, name: &str, within: Option<&str>) -> &'static str {
        match within {
            Some(within) if self.maps.contains(&within) => "<no value>",
            _ if self.maps.contains(&name) => "map[]",
            _ if self.pointers.contains(&name) => "<nil>",
            _ => "[]",
        }
    }
}

/// Who runs templates: what can be called, and how JSON looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Docker's own commands.
    Docker,
    /// `imagetools`: of Docker's functions only `json`, which writes several lines. Fields have the names that Go has
    /// for them, as `.Config.DiffIDs`; what the document leaves out is empty.
    Imagetools,
}

/// A template that was understood.
#[derive(Debug)]
pub(crate) struct Template {
    text: String,
    dialect: Dialect,
    nodes: Vec<Node>,
}

impl Template {
    /// Reads a template for a command of Docker's.
    pub(crate) fn parse(text: &str) -> Result<Template, TemplateError> {
        Template::parse_as(Dialect::Docker, text)
    }

    /// Reads a template.
    pub(crate) fn parse_as(dialect: Dialect, text: &str) -> Result<Template, TemplateError> {
        Ok(Template { text: text.to_owned(), dialect, nodes: parse::parse(text, dialect)? })
    }

    /// What the template makes of `data`.
    pub(crate) fn run(&self, data: &Value, shape: Shape) -> Result<String, TemplateError> {
        Evaluation::new(&self.text, self.dialect, data, shape, false).run(&self.nodes)
    }

    /// The template over the names of columns: functions that change how cells look leave them alone.
    pub(crate) fn header(&self, names: &Value, shape: Shape) -> Result<String, TemplateError> {
        Evaluation::new(&self.text, self.dialect, names, shape, true).run(&self.nodes)
    }

    /// Whether the template looks at the field `name`.
    pub(crate) fn mentions(&self, name: &str) -> bool {
        self.text.contains(&format!(".{name}"))
    }
}

/// Where byte `offset` of `text` is: the line from 1, and the bytes before it in that line.
fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    (line, before.len() - start)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn data() -> Value {
        json!({
            "Name": "Acme", "Empty": "", "Count": 3, "Is": true, "Tags": ["a:1", "b"], "None": null,
            "Config": {"Env": ["A=1", "B=<2>"], "Labels": {"x.y": "z", "k": "v"}},
        })
    }

    #[test]
    fn what_a_typed_document_lacks_is_empty() {
        const TYPES: FieldTypes =
            FieldTypes { maps: &["Labels"], lists: &["Shell"], texts: &["User"], pointers: &["Check"] };
        let run = |template: &str, data: Value| match Template::parse(template)
            .and_then(|template| template.run(&data, Shape::Typed(&TYPES)))
        {
            Ok(text) => text,
            Err(error) => error.to_string(),
        };
        let all =
            "{{.Labels}} {{.Shell}} {{.User}} {{.Check}} {{if .Check}}y{{else}}n{{end}} {{.Labels.a}} {{len .Labels}}";
        assert_eq!(run(all, json!({})), "map[] []  <nil> n <no value> 0");
        assert_eq!(run(all, json!({"Labels": {"a": "b"}, "Check": null})), "map[a:b] []  <nil> n b 1");
        assert_eq!(
            run("{{.Ports}} {{index .Ports \"80/tcp\"}}", json!({"Ports": {"80/tcp": {}}})),
            "map[80/tcp:{}] {}"
        );
        assert!(run("{{.Nope}}", json!({})).ends_with("map has no entry for key \"Nope\""));
    }

    fn run(template: &str) -> String {
        match Template::parse(template).and_then(|template| template.run(&data(), Shape::Struct("*formatter.x"))) {
            Ok(text) => text,
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn fields_literals_and_variables() {
        for (template, expected) in [
            ("{{.Name}}-{{ .Count }}", "Acme-3"),
            ("{{.Config.Env}} {{.Config.Labels}} {{.Is}} {{.None}}", "[A=1 B=<2>] map[k:v x.y:z] true []"),
            ("a {{- .Name -}} \n b", "aAcmeb"),
            ("{{/* nothing */}}x", "x"),
            ("{{\"a\\tb\"}}{{`c\\n`}}{{'x'}}", "a\tbc\\n120"),
            ("{{$n := .Name}}{{$n}}{{$n = \"b\"}}{{$n}}{{$.Count}}", "Acmeb3"),
            ("{{(index .Tags 0)}}{{index .Config.Labels \"x.y\"}}{{index .Config.Labels \"none\"}}", "a:1z"),
            ("{{(slice .Name 1 3)}}{{len .Tags}}{{len .Name}} {{index .Name 0}}", "cm24 65"),
            (
                "{{html \"<a>&\"}} {{js `<a>\"'`}} {{urlquery \"a b/ü\"}}",
                "&lt;a&gt;&amp; \\u003Ca\\u003E\\\"\\' a+b%2F%C3%BC",
            ),
        ] {
            assert_eq!(run(template), expected, "{template}");
        }
    }

    #[test]
    fn blocks() {
        for (template, expected) in [
            ("{{if .Empty}}a{{else if .Is}}b{{else}}c{{end}}", "b"),
            ("{{if and .Is (not .Empty) (gt .Count 2)}}y{{end}}{{if or .Empty .None}}n{{end}}", "y"),
            ("{{range .Tags}}<{{.}}>{{else}}none{{end}}", "<a:1><b>"),
            ("{{range $i, $t := .Tags}}{{$i}}{{$t}} {{end}}{{range .None}}x{{else}}none{{end}}", "0a:1 1b none"),
            ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}", "k=v;x.y=z;"),
            ("{{with .Config}}{{len .Env}}{{$.Name}}{{end}}{{with .Empty}}x{{else}}y{{end}}", "2Acmey"),
            ("{{if eq .Name \"x\" \"Acme\"}}1{{end}}{{if ne .Count 3}}2{{end}}{{if le .Count 3}}3{{end}}", "13"),
        ] {
            assert_eq!(run(template), expected, "{template}");
        }
    }

    #[test]
    fn functions() {
        for (template, expected) in [
            ("{{json .Config}}", r#"{"Env":["A=1","B=\u003c2\u003e"],"Labels":{"x.y":"z","k":"v"}}"#),
            ("{{.Name | upper | lower}}{{title \"ab cd\"}}", "acmeAb Cd"),
            ("{{join .Tags \", \"}}{{index (split .Name \"c\") 1}}", "a:1, bme"),
            ("{{truncate .Name 2}}{{pad .Name 1 2}}|{{pad .Empty 1 1}}|{{truncate .Name 9}}", "Ac Acme  ||Acme"),
            ("{{println .Name 1}}{{print 1 2 \"a\" \"b\"}}", "Acme 1\n1 2ab"),
            (
                "{{printf \"%s-%d-%v-%q-%5s|%-4d|%03d%%\" .Name .Count .Tags \"a\" \"b\" 7 7}}",
                "Acme-3-[a:1 b]-\"a\"-    b|7   |007%",
            ),
        ] {
            assert_eq!(run(template), expected, "{template}");
        }
    }

    #[test]
    fn mistakes_are_told_as_go_tells_them() {
        for (template, expected) in [
            ("{{.Nope}}", ":1:2: executing \"\" at <.Nope>: can't evaluate field Nope in type *formatter.x"),
            ("a\n{{.Config.Nope}}", ":2:9: executing \"\" at <.Config.Nope>: map has no entry for key \"Nope\""),
            ("{{.Name.Nope}}", ":1:7: executing \"\" at <.Name.Nope>: can't evaluate field Nope in type string"),
            ("{{.Name", ":1: unclosed action"),
            ("{{", ":1: unclosed action"),
            ("{{if .Name}}x", ":1: unexpected EOF"),
            ("{{end}}", ":1: unexpected {{end}}"),
            ("{{nope .Name}}", ":1: function \"nope\" not defined"),
            ("{{$x}}", ":1: undefined variable \"$x\""),
            (
                "{{index .Tags 5}}",
                ":1:2: executing \"\" at <index .Tags 5>: error calling index: index out of range: 5",
            ),
            ("{{len .Count}}", ":1:2: executing \"\" at <len .Count>: error calling len: len of type float64"),
            ("{{template \"x\"}}", ":1: template is not supported"),
        ] {
            assert_eq!(run(template), format!("template parsing error: template: {expected}"), "{template}");
        }
        let deep = format!("{}1{}", "{{".to_owned() + &"(".repeat(5000), ")".repeat(5000) + "}}");
        assert!(run(&deep).contains("nested too deeply"), "{}", run(&deep));
    }

    #[test]
    fn imagetools_has_functions_and_fields_of_its_own() {
        let data = json!({"name": "n", "image": {"rootfs": {"diff_ids": ["d"]}, "config": {"Env": ["A=<1>"]}}});
        let run = |text: &str| match Template::parse_as(Dialect::Imagetools, text)
            .and_then(|template| template.run(&data, Shape::Struct("imagetools.tplInput")))
        {
            Ok(text) => text,
            Err(error) => error.without_prefix(),
        };
        for (template, expected) in [
            ("{{.Name}} {{index .Image.RootFS.DiffIDs 0}} {{len .Image.Config.Env}}", "n d 1"),
            ("{{json .Image.Config}}", "{\n  \"Env\": [\n    \"A=\\u003c1\\u003e\"\n  ]\n}"),
            ("<{{.Image.Author}}>{{range .Manifest.Annotations}}x{{end}}", "<>"),
            (
                "{{.Foo}}",
                "template: :1:2: executing \"\" at <.Foo>: can't evaluate field Foo in type imagetools.tplInput",
            ),
            ("{{upper .Name}}", "template: :1: function \"upper\" not defined"),
            ("{{.Name", "template: :1: unclosed action"),
        ] {
            assert_eq!(run(template), expected, "{template}");
        }
    }

    #[test]
    fn headers_stay_as_they_are() {
        let names = json!({"Name": "NAME"});
        let template = Template::parse("{{lower .Name}}\t{{truncate .Name 1}}\t{{json .Name}}").unwrap();
        assert_eq!(template.header(&names, Shape::Map).unwrap(), "NAME\tNAME\tNAME");
    }
}
