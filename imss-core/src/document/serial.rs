//! Numbers that spreadsheets show as dates → the dates (ECMA-376 part 1, 18.8.30, 18.17.4).
//!
//! In: the number formats of a workbook, what its cells use, and its first day. Out: a date such as
//! `2018-09-20`, with its time if it has one, so that what people read is found and not a count of
//! days. A number that is no day up to the year 9999 stays a number.

use std::collections::HashMap;

/// Formats of one workbook. Excel itself stops at 65,490; past them numbers stay numbers.
const MAX_FORMATS: usize = 70_000;
/// Seconds of a day.
const DAY: f64 = 86_400.0;
/// Days from the first of January 1970 to the day before the end of the year 9999.
const LAST_DAY: i64 = 2_932_896;

/// What a number format shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shows {
    /// A day, perhaps with a time.
    Date,
    /// A time alone.
    Time,
}

/// Which day is the first ([MS-XLS] 2.4.77).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum FirstDay {
    /// 1 is the first of January 1900, and 1900 counts as a leap year.
    #[default]
    In1900,
    /// 0 is the first of January 1904.
    In1904,
}

/// The number formats of one workbook.
#[derive(Debug, Default)]
pub(crate) struct Formats {
    /// By their numbers, where the workbook defines them.
    own: HashMap<u32, Option<Shows>>,
    /// By the numbers of cell formats.
    cells: Vec<Option<Shows>>,
    /// Where days are counted from.
    pub(crate) first_day: FirstDay,
}

impl Formats {
    /// Defines a number format.
    pub(crate) fn define(&mut self, number: u32, code: &str) {
        if self.own.len() < MAX_FORMATS {
            self.own.insert(number, shows(code));
        }
    }

    /// Adds the next cell format, which has the number format `number`.
    pub(crate) fn add_cell(&mut self, number: u32) {
        if self.cells.len() < MAX_FORMATS {
            let own = self.own.get(&number).copied();
            self.cells.push(own.unwrap_or_else(|| built_in(number)));
        }
    }

    /// What a cell with a format shows for a number, if that is a date or a time.
    pub(crate) fn shown(&self, cell: usize, number: f64) -> Option<String> {
        match (*self.cells.get(cell)?)? {
            Shows::Date => date(number, self.first_day),
            Shows::Time if (0.0..1.0).contains(&number) => Some(time(seconds(number))),
            Shows::Time => date(number, self.first_day),
        }
    }
}

/// The formats that every workbook has; some of them only in East Asia.
fn built_in(number: u32) -> Option<Shows> {
    match number {
        14..=17 | 22 | 27..=31 | 34..=36 | 50..=54 | 57 | 58 => Some(Shows::Date),
        18..=21 | 32 | 33 | 45 | 47 | 55 | 56 => Some(Shows::Time),
        _ => None,
    }
}

/// What a format code shows: letters in quotes, in brackets and after `\`, `_` and `*` stand for
/// themselves or for a colour.
fn shows(code: &str) -> Option<Shows> {
    let (mut day, mut month, mut time) = (false, false, false);
    let mut letters = code.chars();
    while let Some(letter) = letters.next() {
        match letter.to_ascii_lowercase() {
            '"' => while letters.next().is_some_and(|letter| letter != '"') {},
            '[' => {
                // Hours that go on past a day are no time of day.
                let first = letters.next().map(|letter| letter.to_ascii_lowercase());
                let close = letters.find(|&letter| letter == ']');
                if matches!(first, Some('h' | 'm' | 's')) && close.is_some() {
                    return None;
                }
            }
            '\\' | '_' | '*' => drop(letters.next()),
            ';' => break,
            'y' | 'd' => day = true,
            'm' => month = true,
            'h' | 's' => time = true,
            _ => {}
        }
    }
    match (day, month, time) {
        (true, ..) | (_, true, false) => Some(Shows::Date),
        (_, _, true) => Some(Shows::Time),
        _ => None,
    }
}

fn date(number: f64, first_day: FirstDay) -> Option<String> {
    let seconds = seconds(number);
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let since_1970 = match first_day {
        FirstDay::In1904 => days.checked_sub(24_107)?,
        FirstDay::In1900 if days >= 61 => days.checked_sub(25_569)?,
        FirstDay::In1900 => days.checked_sub(25_568)?,
    };
    let is_day = days > 0 || first_day == FirstDay::In1904 && days == 0;
    if !is_day || since_1970 > LAST_DAY {
        return None;
    }
    let date = match (first_day, days) {
        // The leap day that never was.
        (FirstDay::In1900, 60) => "1900-02-29".to_owned(),
        _ => day(since_1970),
    };
    Some(if rest == 0 { date } else { format!("{date} {}", time(rest)) })
}

/// Days since 1970 → year, month and day: years are counted from March, so that the leap day is
/// their last.
fn day(since_1970: i64) -> String {
    let days = since_1970.saturating_add(719_468);
    let (era, rest) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (rest - rest / 1_460 + rest / 36_524 - rest / 146_096) / 365;
    let day_of_year = rest - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{day:02}", era * 400 + year + next)
}

fn time(seconds: i64) -> String {
    let (hours, minutes, seconds) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}")
}

/// Days → whole seconds.
#[expect(clippy::cast_possible_truncation, reason = "the cast saturates")]
fn seconds(days: f64) -> i64 {
    (days * DAY).round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_as_dates() {
        let custom = 200;
        let cases = [
            ("short date", 14, "", 43363.0, Some("2018-09-20")),
            ("with a time", 22, "", 43363.75, Some("2018-09-20 18:00:00")),
            ("time", 20, "", 0.5, Some("12:00:00")),
            ("Japanese era", 27, "", 29221.0, Some("1980-01-01")),
            ("the first day", 14, "", 1.0, Some("1900-01-01")),
            ("the day that never was", 14, "", 60.0, Some("1900-02-29")),
            ("the day after it", 14, "", 61.0, Some("1900-03-01")),
            ("a leap day", 14, "", 36585.0, Some("2000-02-29")),
            ("the last day", 14, "", 2958465.0, Some("9999-12-31")),
            ("past it", 14, "", 2958466.0, None),
            ("below zero", 14, "", -1.0, None),
            ("endless", 14, "", f64::INFINITY, None),
            ("none", 14, "", f64::NAN, None),
            ("general", 0, "", 43363.0, None),
            ("elapsed", 46, "", 1.5, None),
            ("custom", custom, "yyyy\"年\"m\"月\"d\"日\"", 43363.0, Some("2018-09-20")),
            ("locale", custom, "[$-409]mmm\\-yy;@", 43363.0, Some("2018-09-20")),
            ("minutes", custom, "mm:ss", 0.25, Some("06:00:00")),
            ("words", custom, "0 \"days\"", 43363.0, None),
            ("money", custom, "[Red]\\d#,##0_d*y", 43363.0, None),
            ("hours past a day", custom, "[h]:mm", 43363.0, None),
            ("open quote", custom, "0\"y", 43363.0, None),
            ("redefined", 14, "0.00", 43363.0, None),
        ];
        for (name, number, code, value, expected) in cases {
            let mut formats = Formats::default();
            if !code.is_empty() {
                formats.define(number, code);
            }
            formats.add_cell(number);
            assert_eq!(formats.shown(0, value).as_deref(), expected, "{name}");
        }
        let mut formats = Formats { first_day: FirstDay::In1904, ..Formats::default() };
        formats.add_cell(14);
        assert_eq!(formats.shown(0, 0.0).as_deref(), Some("1904-01-01"));
        assert_eq!(formats.shown(0, 41901.0).as_deref(), Some("2018-09-20"));
        assert_eq!(formats.shown(1, 1.0), None, "no such format");
    }
}
