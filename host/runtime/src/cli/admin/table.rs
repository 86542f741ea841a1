//! Tables and numbers for people.

use std::time::Duration;

use bytesize::ByteSize;
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, TableStyle};

/// A table without lines, as `ps` and its kind print them. `numbers` are the columns aligned to
/// the right.
pub(super) fn render(header: &[&str], numbers: &[usize], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(TableStyle::new()).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    table.add_rows(rows);
    let columns = header.len();
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if index + 1 == columns { 0 } else { 2 }));
        column.set_constraint(ColumnConstraint::ContentWidth);
        if numbers.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt() + "\n"
}

/// `12.3 MiB`
pub(super) fn bytes(bytes: u64) -> String {
    ByteSize::b(bytes).to_string()
}

/// `1.2 ms`, or `-` for none.
pub(super) fn millis(millis: Option<f64>) -> String {
    match millis {
        None => "-".to_owned(),
        Some(millis) if millis < 1.0 => format!("{:.0} µs", millis * 1000.0),
        Some(millis) if millis < 100.0 => format!("{millis:.1} ms"),
        Some(millis) if millis < 10_000.0 => format!("{millis:.0} ms"),
        Some(millis) => format!("{:.1} s", millis / 1000.0),
    }
}

/// `3m 20s`: the two greatest units.
pub(super) fn duration(seconds: u64) -> String {
    let text = humantime::format_duration(Duration::from_secs(seconds)).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// The beginning of a digest, enough to tell versions apart.
pub(super) fn short(digest: &str) -> String {
    digest.get(..12).unwrap_or(digest).to_owned()
}

/// What components wrote must not steer the operator's terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escaped = c.is_control() && c != '\t';
            let plain = (!escaped).then_some(c);
            plain.into_iter().chain(escaped.then(|| c.escape_default()).into_iter().flatten())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["long one".to_owned(), "1000".to_owned()]];
        insta::assert_snapshot!(render(&["NAME", "COUNT"], &[1], rows), @r"
        NAME      COUNT
        a             1
        long one   1000
        ");
    }

    #[test]
    fn numbers_are_short() {
        let cases = [None, Some(0.05), Some(1.25), Some(250.4), Some(61_000.0)].map(millis);
        assert_eq!(cases, ["-", "50 µs", "1.2 ms", "250 ms", "61.0 s"]);
        assert_eq!([0, 59, 3700, 90_061].map(duration), ["0s", "59s", "1h 1m", "1day 1h"]);
        assert_eq!(short(&"ab".repeat(32)), "abababababab");
    }
}
