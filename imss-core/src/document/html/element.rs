//! Names of elements and attributes that matter, and the rest as one.
//!
//! In: names as written. Out: [`Element`]s and [`Attributes`]. Case does not matter, nor do prefixes
//! of namespaces that browsers know; of repeated attributes the first counts.

use super::token::Attribute;

/// Longest name that matters.
const MAX_NAME: usize = 16;
/// Attributes of one tag that are kept, after which only handlers are.
const MAX_KEPT: usize = 64;

/// What an element is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    Anchor,
    Applet,
    Area,
    Base,
    /// Starts and ends a line.
    Block,
    /// A line end.
    Break,
    Button,
    Cell,
    Embed,
    Font,
    Form,
    Frame,
    Hta,
    Iframe,
    Image,
    Input,
    Item,
    Link,
    Meta,
    /// `noembed` and `noframes`: text that browsers ignore.
    NoEmbed,
    Object,
    Option,
    Other,
    Paragraph,
    Plaintext,
    Row,
    /// What stands around readings.
    RubyMark,
    /// How a word is read.
    RubyReading,
    Script,
    Style,
    Svg,
    Table,
    Template,
    Textarea,
    Title,
    /// Has no content.
    Void,
    /// Data of Office.
    Xml,
    /// Preformatted without markup.
    Xmp,
}

impl Element {
    pub(super) fn of(name: &str) -> Self {
        let mut buffer = [0_u8; MAX_NAME];
        lower(without_prefix(name), &mut buffer).map_or(Self::Other, Self::known)
    }

    fn known(name: &[u8]) -> Self {
        match name {
            b"a" => Self::Anchor,
            b"applet" => Self::Applet,
            b"area" => Self::Area,
            b"base" => Self::Base,
            b"br" | b"hr" => Self::Break,
            b"button" => Self::Button,
            b"td" | b"th" => Self::Cell,
            b"embed" | b"bgsound" => Self::Embed,
            b"font" => Self::Font,
            b"form" => Self::Form,
            b"frame" => Self::Frame,
            b"hta:application" => Self::Hta,
            b"iframe" => Self::Iframe,
            b"img" | b"image" => Self::Image,
            b"input" => Self::Input,
            b"li" => Self::Item,
            b"link" => Self::Link,
            b"meta" => Self::Meta,
            b"noembed" | b"noframes" => Self::NoEmbed,
            b"object" => Self::Object,
            b"option" => Self::Option,
            b"p" => Self::Paragraph,
            b"plaintext" => Self::Plaintext,
            b"tr" => Self::Row,
            b"rp" => Self::RubyMark,
            b"rt" => Self::RubyReading,
            b"script" => Self::Script,
            b"style" => Self::Style,
            b"svg" | b"math" => Self::Svg,
            b"table" => Self::Table,
            b"template" => Self::Template,
            b"textarea" => Self::Textarea,
            b"title" => Self::Title,
            b"source" | b"track" | b"wbr" | b"col" | b"param" | b"keygen" | b"basefont" => {
                Self::Void
            }
            b"xml" => Self::Xml,
            b"xmp" => Self::Xmp,
            b"address" | b"article" | b"aside" | b"blockquote" | b"body" | b"center" | b"dd"
            | b"details" | b"dir" | b"div" | b"dl" | b"dt" | b"fieldset" | b"figure"
            | b"footer" | b"h1" | b"h2" | b"h3" | b"h4" | b"h5" | b"h6" | b"head" | b"header"
            | b"html" | b"legend" | b"main" | b"menu" | b"nav" | b"ol" | b"pre" | b"section"
            | b"tbody" | b"tfoot" | b"thead" | b"ul" | b"frameset" | b"listing" | b"noscript"
            | b"caption" | b"summary" => Self::Block,
            _ => Self::Other,
        }
    }

    /// Whether it starts and ends a line.
    pub(super) fn breaks_line(self) -> bool {
        use Element as E;
        matches!(
            self,
            E::Block
                | E::Break
                | E::Form
                | E::Item
                | E::Option
                | E::Paragraph
                | E::Row
                | E::Table
                | E::Title
                | E::Xmp
                | E::Plaintext
        )
    }

    /// Whether it has no content.
    pub(super) fn is_void(self) -> bool {
        use Element as E;
        matches!(
            self,
            E::Area
                | E::Base
                | E::Break
                | E::Embed
                | E::Frame
                | E::Image
                | E::Input
                | E::Link
                | E::Meta
                | E::Void
        )
    }

    /// Whether a start tag of this ends any open element: see [`Element::ends`].
    pub(super) fn may_end(self) -> bool {
        use Element as E;
        matches!(
            self,
            E::Paragraph
                | E::Block
                | E::Table
                | E::Item
                | E::Form
                | E::Cell
                | E::Row
                | E::Option
                | E::RubyReading
                | E::RubyMark
                | E::Anchor
        )
    }

    /// Whether a start tag of this ends an open element `open` before it (HTML §13.1.2.4).
    pub(super) fn ends(self, open: Self) -> bool {
        use Element as E;
        match open {
            E::Paragraph => matches!(self, E::Paragraph | E::Block | E::Table | E::Item | E::Form),
            E::Item => self == E::Item,
            E::Cell => matches!(self, E::Cell | E::Row),
            E::Row => self == E::Row,
            E::Option => self == E::Option,
            E::RubyReading | E::RubyMark => matches!(self, E::RubyReading | E::RubyMark),
            E::Anchor => self == E::Anchor,
            _ => false,
        }
    }

    /// Whether ends of elements outside of this one are not looked for from inside.
    pub(super) fn is_scope(self) -> bool {
        matches!(
            self,
            Self::Table | Self::Cell | Self::Block | Self::Svg | Self::Template | Self::Button
        )
    }
}

/// An attribute that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    Action,
    Alt,
    Background,
    BgColor,
    Charset,
    Class,
    ClassId,
    Code,
    Color,
    Content,
    Data,
    Download,
    FormAction,
    Height,
    Hidden,
    Href,
    HttpEquiv,
    Id,
    Language,
    Ping,
    Placeholder,
    Rel,
    Src,
    SrcDoc,
    SrcSet,
    Style,
    To,
    Type,
    Value,
}

impl Name {
    fn of(name: &str) -> Option<Self> {
        let mut buffer = [0_u8; MAX_NAME];
        Some(match lower(name, &mut buffer)? {
            b"action" => Self::Action,
            b"alt" => Self::Alt,
            b"background" => Self::Background,
            b"bgcolor" => Self::BgColor,
            b"charset" => Self::Charset,
            b"class" => Self::Class,
            b"classid" => Self::ClassId,
            b"code" | b"archive" => Self::Code,
            b"color" => Self::Color,
            b"content" => Self::Content,
            b"data" => Self::Data,
            b"download" => Self::Download,
            b"formaction" => Self::FormAction,
            b"height" => Self::Height,
            b"hidden" => Self::Hidden,
            b"href" | b"xlink:href" => Self::Href,
            b"http-equiv" => Self::HttpEquiv,
            b"id" => Self::Id,
            b"language" => Self::Language,
            b"ping" => Self::Ping,
            b"placeholder" => Self::Placeholder,
            b"rel" => Self::Rel,
            b"src" | b"lowsrc" | b"dynsrc" | b"poster" => Self::Src,
            b"srcdoc" => Self::SrcDoc,
            b"srcset" | b"imagesrcset" => Self::SrcSet,
            b"style" => Self::Style,
            b"to" | b"from" | b"values" => Self::To,
            b"type" => Self::Type,
            b"value" => Self::Value,
            [.., b':', b'h', b'r', b'e', b'f'] => Self::Href,
            _ => return None,
        })
    }
}

/// The attributes of one tag.
#[derive(Debug, Default)]
pub(super) struct Attributes<'a> {
    known: Vec<(Name, &'a str)>,
    /// Attributes were left out, of this tag or one before.
    pub(super) is_cut: bool,
    handlers: Vec<Attribute<'a>>,
}

impl<'a> Attributes<'a> {
    /// Reads those of another tag.
    pub(super) fn set(&mut self, written: &[Attribute<'a>]) {
        self.known.clear();
        self.handlers.clear();
        for (name, value) in written {
            let is_handler = name.len() > 4
                && name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("on"))
                && name.bytes().all(|octet| octet.is_ascii_alphabetic());
            if is_handler {
                self.handlers.push((name, value));
            } else if let Some(name) = Name::of(name)
                && (self.get(name).is_none() || matches!(name, Name::Src | Name::To | Name::Href))
            {
                if self.known.len() < MAX_KEPT {
                    self.known.push((name, value));
                } else {
                    self.is_cut = true;
                }
            }
        }
    }

    /// The value as written.
    pub(super) fn get(&self, wanted: Name) -> Option<&'a str> {
        self.known.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value)
    }

    /// The same, with nothing for what is not there.
    pub(super) fn text(&self, wanted: Name) -> &'a str {
        self.get(wanted).unwrap_or_default()
    }

    /// Every attribute that matters.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Name, &'a str)> {
        self.known.iter().copied()
    }

    /// `on...` attributes.
    pub(super) fn handlers(&self) -> &[Attribute<'a>] {
        &self.handlers
    }
}

/// A name in lower case without NUL; `None` if it is too long to matter.
fn lower<'b>(name: &str, buffer: &'b mut [u8; MAX_NAME]) -> Option<&'b [u8]> {
    let mut length = 0_usize;
    for octet in name.bytes().filter(|octet| *octet != 0) {
        *buffer.get_mut(length)? = octet.to_ascii_lowercase();
        length = length.saturating_add(1);
    }
    buffer.get(..length)
}

fn without_prefix(name: &str) -> &str {
    match name.split_once(':') {
        Some((prefix, local)) if ["svg", "html", "xhtml", "h"].contains(&prefix) => local,
        _ => name,
    }
}
