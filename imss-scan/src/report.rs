//! Small pieces of findings and gaps that every engine needs.

use imss_core::entity::Entities;
use imss_core::finding::{Gap, GapReason};
use imss_core::ids::EntityId;
use imss_core::limits::Limit;

use crate::answer::LookupError;

/// Characters of a detail, as [`Gap::detail`] promises.
const MAX_DETAIL: usize = 500;

/// Time was up at `entity`.
pub(crate) fn time_gap(engine: &'static str, entity: EntityId) -> Gap {
    let detail = "time was up; what follows was not looked at".to_owned();
    Gap { reason: GapReason::Limit(Limit::Time), entity, engine: engine.into(), detail }
}

/// The plan asks what `engine` does not know.
pub(crate) fn unanswerable_gap(engine: &'static str) -> Gap {
    let detail = "a question that this version cannot answer".to_owned();
    let entity = EntityId::MESSAGE;
    Gap { reason: GapReason::Engine, entity, engine: engine.into(), detail }
}

/// A lookup gave no usable answer. `what` is the list or server.
pub(crate) fn lookup_gap(engine: &'static str, what: &str, error: &LookupError) -> Gap {
    let reason = match error {
        LookupError::TooLarge => GapReason::Limit(Limit::MessageBytes),
        _ => GapReason::Engine,
    };
    let detail = escaped(&format!("{what}: {error}"));
    Gap { reason, entity: EntityId::MESSAGE, engine: engine.into(), detail }
}

/// Text from outside, fit for a log line, at most 500 characters.
pub(crate) fn escaped(text: &str) -> String {
    let escape = |c: char| {
        // Letters of any script stay readable; what could forge a line or hide text does not.
        let plain = !c.is_control() && !is_invisible(c) && c != '\\';
        (if plain { None } else { Some(c.escape_unicode()) })
            .into_iter()
            .flatten()
            .chain(plain.then_some(c))
    };
    text.chars().flat_map(escape).take(MAX_DETAIL).collect()
}

/// Two details in one, still at most 500 characters.
pub(crate) fn shortened(first: &str, second: &str) -> String {
    format!("{first}; {second}").chars().take(MAX_DETAIL).collect()
}

/// Characters that a reader does not see, but that change what it sees or matches.
pub(crate) fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{AD}'
            | '\u{34F}'
            | '\u{61C}'
            | '\u{115F}'..='\u{1160}'
            | '\u{17B4}'..='\u{17B5}'
            | '\u{180B}'..='\u{180F}'
            | '\u{200B}'..='\u{200F}'
            | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}'
            | '\u{3164}'
            | '\u{FE00}'..='\u{FE0F}'
            | '\u{FEFF}'
            | '\u{FFA0}'
            | '\u{FFF0}'..='\u{FFFB}'
            | '\u{E0000}'..='\u{E0FFF}'
    )
}

/// All entities, the last one first.
pub(crate) fn backwards(entities: &Entities) -> impl Iterator<Item = EntityId> {
    (0..u32::try_from(entities.len()).unwrap_or(u32::MAX)).rev().map(EntityId)
}

/// A length or offset as findings carry it.
pub(crate) fn octets(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_cannot_forge_lines() {
        let cases = [
            ("plain text stays", "社外秘 a.exe", "社外秘 a.exe"),
            ("line ends are shown", "a\r\nb", "a\\u{d}\\u{a}b"),
            ("direction changes are shown", "a\u{202E}b", "a\\u{202e}b"),
            ("a backslash cannot pose as one of ours", "\\u{a}", "\\u{5c}u{a}"),
        ];
        for (name, text, expected) in cases {
            assert_eq!(escaped(text), expected, "{name}");
        }
        assert_eq!(escaped(&"x".repeat(1000)).len(), MAX_DETAIL);
    }
}
