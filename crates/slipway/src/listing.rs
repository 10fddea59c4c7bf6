//! How is a list written? As a table, as lines of JSON, or as a template says (`spec/cli.md` section 9.1).

use serde_json::{Map, Value};

use crate::go_template::{Shape, Template, TemplateError, json_text};

/// The narrowest column, its blanks included, and the blanks between columns: those of Docker's tables.
const MIN_WIDTH: usize = 10;
const N_BLANKS: usize = 3;

/// What can be listed: the fields of a row with the headers of their columns.
pub(crate) struct Listing<'a> {
    /// In the words of Go, for messages: `*formatter.imageContext`.
    pub(crate) kind: &'static str,
    pub(crate) headers: &'a [(&'static str, &'static str)],
    /// The template of the table that is shown if nothing else is asked for, without the word `table`.
    pub(crate) table: &'a str,
}

impl Listing<'_> {
    /// Writes `rows`, each of which has all fields, as `format` says.
    pub(crate) fn write(&self, format: &str, rows: &[Value]) -> Result<String, TemplateError> {
        let format = format.trim().replace("\\t", "\t").replace("\\n", "\n");
        let (is_table, template) = match format.as_str() {
            "" | "table" => (true, self.table),
            "json" => return Ok(rows.iter().map(|row| json_text(row) + "\n").collect()),
            format => match format.strip_prefix("table").filter(|rest| rest.starts_with(char::is_whitespace)) {
                Some(template) => (true, template.trim()),
                None => (false, format),
            },
        };
        let template = Template::parse(template)?;
        let shape = Shape::Struct(self.kind);
        let mut lines = Vec::new();
        if is_table {
            let pairs = self.headers.iter().map(|(field, header)| ((*field).to_owned(), Value::from(*header)));
            lines.push(template.header(&Value::Object(pairs.collect::<Map<_, _>>()), shape)?);
        }
        for row in rows {
            lines.push(template.run(row, shape)?);
        }
        Ok(if is_table { aligned(&lines) } else { lines.iter().map(|line| format!("{line}\n")).collect() })
    }
}

/// Lines whose cells end in tabs, with the cells filled up.
fn aligned(lines: &[String]) -> String {
    let rows: Vec<Vec<&str>> = lines.iter().map(|line| line.split('\t').collect()).collect();
    let width_of = |column: usize| {
        // The last cell of a row ends in no tab, so it does not count.
        let cells = rows.iter().filter(|row| column + 1 < row.len()).map(|row| row[column]);
        cells.map(|cell| cell.chars().count() + N_BLANKS).max().unwrap_or(0).max(MIN_WIDTH)
    };
    let n_columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..n_columns).map(width_of).collect();
    let mut text = String::new();
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if column + 1 < row.len() {
                text.push_str(&" ".repeat(widths[column] - cell.chars().count()));
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LISTING: Listing<'_> =
        Listing { kind: "*formatter.x", headers: &[("Name", "NAME"), ("Tag", "TAG")], table: "{{.Name}}\t{{.Tag}}" };

    fn write(format: &str) -> String {
        let rows = [json!({"Name": "a-long-name", "Tag": "x"}), json!({"Name": "b", "Tag": "<none>"})];
        LISTING.write(format, &rows).unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn tables_lines_and_templates() {
        let table = "NAME          TAG\na-long-name   x\nb             <none>\n";
        assert_eq!(write(""), table);
        assert_eq!(write(" table "), table);
        assert_eq!(write("table {{.Tag}}\\t{{upper .Name}}"), "TAG       NAME\nx         A-LONG-NAME\n<none>    B\n");
        assert_eq!(write("{{.Name}}\\t{{.Tag}}"), "a-long-name\tx\nb\t<none>\n");
        assert_eq!(
            write("json"),
            "{\"Name\":\"a-long-name\",\"Tag\":\"x\"}\n{\"Name\":\"b\",\"Tag\":\"\\u003cnone\\u003e\"}\n"
        );
        assert!(write("{{.Nope}}").ends_with("can't evaluate field Nope in type *formatter.x"));
    }

    #[test]
    fn columns_have_a_least_width() {
        assert_eq!(LISTING.write("", &[]).unwrap(), "NAME      TAG\n");
    }
}
