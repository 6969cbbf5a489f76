//! Document properties (ECMA-376 part 1, 22.2 and 22.3; part 2, clause 8).
//!
//! In: the core, extended or custom properties part. Out: a property for each value.

use crate::document::sink::Sink;
use crate::document::xml::{Token, Xml};
use crate::limits::Limit;

/// Reads one part.
pub(crate) fn read(text: &str, sink: &mut Sink<'_, '_>) -> Result<(), Limit> {
    let mut xml = Xml::new(text);
    let (mut name, mut custom, mut value) = (String::new(), String::new(), String::new());
    let mut in_list = 0_usize;
    while let Some(token) = xml.token(sink.budget)? {
        match token {
            Token::Start(tag) => {
                value.clear();
                match tag.local() {
                    "property" => custom = tag.attr("name").unwrap_or_default().into_owned(),
                    "vector" | "array" => in_list = in_list.saturating_add(1),
                    _ => name = tag.local().to_owned(),
                }
            }
            Token::Text(text) => value.push_str(&text),
            Token::End(end) => {
                match end.local() {
                    "property" => custom.clear(),
                    "vector" | "array" => in_list = in_list.saturating_sub(1),
                    _ if in_list > 0 => {}
                    local if local == name => {
                        let known = match local {
                            "creator" => "author",
                            local => local,
                        };
                        sink.property(if custom.is_empty() { known } else { &custom }, &value);
                    }
                    _ => {}
                }
                value.clear();
            }
        }
    }
    sink.note(xml.finish())
}
