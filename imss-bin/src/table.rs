//! Lists for people: a table as wide as the terminal, without frames.

use comfy_table::{ContentArrangement, Table, presets};

/// A table with these heads and rows.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: Vec<[String; N]>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(head);
    for row in rows {
        table.add_row(row.map(printable));
    }
    table
}

/// Text from a message cannot move a terminal's cursor.
pub(crate) fn printable(text: String) -> String {
    if !text.chars().any(char::is_control) {
        return text;
    }
    let escaped = |c: char| {
        if c.is_control() { c.escape_debug().collect() } else { String::from(c) }
    };
    text.chars().map(escaped).collect()
}
