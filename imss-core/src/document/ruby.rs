//! Words with their reading above them, as Word writes them into a field.
//!
//! In: the instruction of an `EQ` field (ECMA-376 part 1, 17.16.5.17) such as
//! `EQ \o\ad(\s\up 10(かんじ),漢字)`. Out: the words in the line, so that a reading does not break a
//! sentence. What is raised or lowered is the reading. One pass over the instruction.

/// The words that stand in the line; `None` if the field is no such overlay.
pub(crate) fn base(instruction: &str) -> Option<String> {
    let (name, rest) = instruction.trim_start().split_at_checked(2)?;
    let overlay = rest.get(rest.find("\\o")?..)?;
    let inside = overlay.get(overlay.find('(')?.checked_add(1)?..)?;
    if !name.eq_ignore_ascii_case("EQ") {
        return None;
    }
    let (mut depth, mut raised, mut any_raised) = (0_usize, false, false);
    let (mut base, mut is_fresh) = (String::new(), true);
    let mut letters = inside.chars().peekable();
    while let Some(letter) = letters.next() {
        let quoted = match letter {
            '\\' => letters.next_if(|next| matches!(next, '(' | ')' | ',' | ';' | '\\')),
            _ => None,
        };
        match (quoted, letter) {
            (None, '\\') if is_fresh => (raised, any_raised) = (true, true),
            (None, '(') => depth = depth.saturating_add(1),
            (None, ')') if depth == 0 => break,
            (None, ')') => depth = depth.saturating_sub(1),
            (None, ',' | ';') if depth == 0 => {
                (raised, is_fresh) = (false, true);
                continue;
            }
            _ if !raised => base.push(quoted.unwrap_or(letter)),
            _ => {}
        }
        is_fresh &= letter.is_whitespace();
    }
    (any_raised && !base.trim().is_empty()).then_some(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_found() {
        let cases = [
            (
                "Word",
                r#" EQ \* jc2 \* "Font:A" \* hps10 \o\ad(\s\up 9(かんじ),漢字) "#,
                Some("漢字"),
            ),
            ("semicolons", r"eq \o(\s\up 9(a);b)", Some("b")),
            ("quoted signs", r"EQ \o\ac(\s\up 9(x\)),\(a\,b\))", Some("(a,b)")),
            ("below", r"EQ \o\ad(字,\s\do 9(a))", Some("字")),
            ("circled letters", r"EQ \o\ac(○,1)", None),
            ("a fraction", r"EQ \f(1,2)", None),
            ("another field", r"QUOTE \o(\s\up 9(a),b)", None),
            ("cut", r"EQ \o(\s\up 9(a", None),
            ("empty", "", None),
        ];
        for (name, instruction, expected) in cases {
            assert_eq!(base(instruction).as_deref(), expected, "{name}");
        }
    }
}
