//! Columns that are as wide as their widest cell.

/// `rows` with every cell but the last of a row filled up, and `n_blanks` between columns.
pub(super) fn table<const N: usize>(rows: &[[&str; N]], n_blanks: usize) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0) + n_blanks;
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if column + 1 < N {
                text.push_str(&" ".repeat(widths[column] - cell.chars().count()));
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_last_column_is_not_filled_up() {
        assert_eq!(
            super::table(&[["A", "BCD", "E"], ["fg", "", "h"], ["é", "", ""]], 1),
            "A  BCD E\nfg     h\né      \n"
        );
    }
}
