//! Styles that hide (ODF 1.3 part 3, 16 and 20). In: style elements, before the text that uses them.
//! Out: the names of the styles whose text, tables or slides are not shown.

use std::collections::HashSet;

use crate::document::xml::Tag;

/// Styles of one part that hide. Text of any style is read; past them it counts as shown.
const MAX_STYLES: usize = 70_000;

/// The styles read so far.
#[derive(Default)]
pub(super) struct Styles {
    current: String,
    hidden: HashSet<String>,
}

impl Styles {
    /// Looks at one element.
    pub(super) fn start(&mut self, tag: &Tag<'_>) {
        let hides = match tag.local() {
            "style" => {
                self.current = tag.attr("name").unwrap_or_default().into_owned();
                false
            }
            "text-properties" => {
                tag.attr("display").as_deref() == Some("none") || is_invisible(tag)
            }
            "table-properties" => tag.attr("display").as_deref() == Some("false"),
            "section-properties" => tag.attr("display").as_deref() == Some("none"),
            "drawing-page-properties" => tag.attr("visibility").as_deref() == Some("hidden"),
            _ => false,
        };
        if hides && !self.current.is_empty() && self.hidden.len() < MAX_STYLES {
            self.hidden.insert(self.current.clone());
        }
    }

    /// Whether the style called `name` hides.
    pub(super) fn hides(&self, name: Option<&str>) -> bool {
        !self.hidden.is_empty() && name.is_some_and(|name| self.hidden.contains(name))
    }
}

/// White letters, unless the style gives them a background; or letters of no size.
fn is_invisible(tag: &Tag<'_>) -> bool {
    let white = tag.attr("color").is_some_and(|color| color.eq_ignore_ascii_case("#ffffff"));
    let tiny = tag.attr("font-size").is_some_and(|size| matches!(&*size, "0pt" | "1pt"));
    let background = tag.attr("background-color").unwrap_or_default();
    let plain =
        matches!(&*background, "" | "transparent") || background.eq_ignore_ascii_case("#ffffff");
    tiny || white && plain && tag.attr("family").is_none()
}
