//! Plain tables for a terminal and for a CI log.

use std::fmt::{self, Display, Formatter};

/// Rows of equal length under a heading; columns are as wide as their widest cell, the last one is open.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with this heading.
    pub(crate) fn new(heading: &[&str]) -> Self {
        Self { rows: vec![heading.iter().map(|&cell| cell.to_owned()).collect()] }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The same for a spreadsheet: commas between cells, which hold none.
    pub(crate) fn csv(&self) -> String {
        self.rows.iter().map(|row| row.join(",") + "\n").collect()
    }

    fn width(&self, column: usize) -> usize {
        self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or_default()
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            for (column, cell) in row.iter().enumerate() {
                match column + 1 == row.len() {
                    true => writeln!(f, "{cell}")?,
                    false => write!(f, "{cell:width$}  ", width = self.width(column))?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["name", "x"]);
        table.row(["a long name".to_owned(), "1".to_owned()]);
        assert_eq!(table.to_string(), "name         x\na long name  1\n");
        assert_eq!(table.csv(), "name,x\na long name,1\n");
    }
}
