//! Where the text of a rich text group goes, by the control word that opens it (RTF 1.9.1,
//! "Contents of an RTF File").

/// Where text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Destination {
    /// To the reader.
    Body,
    /// Nowhere.
    Skip,
    /// To the instruction of a field.
    Instruction,
    /// To a value that is kept until the group ends.
    Value(Value),
    /// The table of fonts.
    Fonts,
    /// The digits of an object.
    Object,
    /// The digits of a picture or a data store.
    Blob,
}

/// What a kept value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    /// A property of this name.
    Property(&'static str),
    /// The name of a property that follows.
    Name,
    /// The value of a named property.
    Content,
    /// The template.
    Template,
    /// The class of an object.
    Class,
    /// A target of a link on a shape.
    Target,
    /// The name of a shape's property.
    Shape,
    /// The value of a shape's property.
    Drawn,
    /// A variable of the document.
    Variable,
    /// Who wrote a comment.
    Commenter,
    /// Those who changed text, with a semicolon after each.
    Revisers,
}

/// What must be done when a group ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AtEnd {
    /// Nothing.
    Nothing,
    /// A text of its own ends.
    Lines,
    /// A field ends.
    Field,
    /// An object ends.
    Object,
    /// A picture or data store ends.
    Blob,
    /// A value ends.
    Value,
}

/// One group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    pub(super) to: Destination,
    /// Where text would go without `\upr`.
    pub(super) outer: Destination,
    pub(super) at_end: AtEnd,
    pub(super) is_hidden: bool,
    pub(super) is_deleted: bool,
    pub(super) is_comment: bool,
    pub(super) is_result: bool,
    /// The code page of the font; `None` for the document's.
    pub(super) page: Option<u32>,
    /// Octets that stand for one `\u` (`\ucN`).
    pub(super) fallback: u32,
}

impl Group {
    /// The outermost.
    pub(super) fn outermost() -> Self {
        Self {
            to: Destination::Body,
            outer: Destination::Body,
            at_end: AtEnd::Nothing,
            is_hidden: false,
            is_deleted: false,
            is_comment: false,
            is_result: false,
            page: None,
            fallback: 1,
        }
    }
}

/// The destination that `word` opens, and what to do at its end; `None` if it opens none.
pub(super) fn destination(word: &[u8]) -> Option<(Destination, AtEnd)> {
    let value = |value| Some((Destination::Value(value), AtEnd::Value));
    let skip = Some((Destination::Skip, AtEnd::Nothing));
    match word {
        b"fldinst" => Some((Destination::Instruction, AtEnd::Nothing)),
        b"field" => Some((Destination::Body, AtEnd::Field)),
        b"header" | b"headerl" | b"headerr" | b"headerf" | b"footer" | b"footerl" | b"footerr"
        | b"footerf" | b"footnote" | b"annotation" | b"shptxt" | b"dptxbxtext" => {
            Some((Destination::Body, AtEnd::Lines))
        }
        b"object" => Some((Destination::Body, AtEnd::Object)),
        b"objdata" => Some((Destination::Object, AtEnd::Nothing)),
        b"objclass" => value(Value::Class),
        b"pict" | b"datastore" => Some((Destination::Blob, AtEnd::Blob)),
        b"fonttbl" => Some((Destination::Fonts, AtEnd::Nothing)),
        b"template" => value(Value::Template),
        b"hlsrc" | b"hlfr" => value(Value::Target),
        b"sn" => value(Value::Shape),
        b"sv" => value(Value::Drawn),
        b"docvar" => value(Value::Variable),
        b"atnauthor" => value(Value::Commenter),
        b"revtbl" => value(Value::Revisers),
        b"propname" => value(Value::Name),
        b"staticval" => value(Value::Content),
        b"title" => value(Value::Property("title")),
        b"subject" => value(Value::Property("subject")),
        b"author" => value(Value::Property("author")),
        b"operator" => value(Value::Property("last-author")),
        b"keywords" => value(Value::Property("keywords")),
        b"doccomm" | b"comment" => value(Value::Property("comments")),
        b"company" => value(Value::Property("company")),
        b"manager" => value(Value::Property("manager")),
        b"category" => value(Value::Property("category")),
        b"hlinkbase" => value(Value::Property("hyperlink-base")),
        b"generator" => value(Value::Property("generator")),
        b"stylesheet" | b"colortbl" | b"listtable" | b"filetbl" | b"pntext" | b"listtext"
        | b"nonesttables" | b"xe" | b"tc" | b"bkmkstart" | b"bkmkend" | b"creatim" | b"revtim"
        | b"printim" | b"buptim" | b"objname" | b"objalias" | b"objsect" | b"atnid"
        | b"atntime" | b"atndate" | b"atnref" | b"atnparent" | b"private" | b"blipuid"
        | b"ftnsep" | b"ftnsepc" | b"ftncn" | b"aftnsep" | b"aftnsepc" | b"aftncn" | b"fontemb"
        | b"falt" | b"panose" => skip,
        _ => None,
    }
}

/// Destinations that only hold others, although they start with `\*`.
pub(super) fn is_transparent(word: &[u8]) -> bool {
    matches!(
        word,
        b"shppict"
            | b"shpinst"
            | b"userprops"
            | b"ud"
            | b"hl"
            | b"background"
            | b"do"
            | b"fldrslt"
            | b"result"
            | b"info"
            | b"shp"
            | b"shpgrp"
            | b"formfield"
            | b"upr"
            | b"nonshppict"
    )
}

/// The code page of a font's character set (RTF 1.9.1, "Font Table").
pub(super) fn page_of_charset(charset: i32, document: u32) -> Option<u32> {
    Some(match charset {
        // Writers in East Asia leave it at 0.
        0 if matches!(document, 932 | 936 | 949 | 950) => return None,
        0 => 1252,
        77 => 10000,
        78 => 10001,
        79 => 10003,
        80 => 10008,
        81 => 10002,
        128 => 932,
        129 => 949,
        130 => 1361,
        134 => 936,
        136 => 950,
        161 => 1253,
        162 => 1254,
        163 => 1258,
        177 => 1255,
        178 => 1256,
        186 => 1257,
        204 => 1251,
        222 => 874,
        238 => 1250,
        _ => return None,
    })
}

/// The character of a control word that stands for one.
pub(super) fn character(word: &[u8]) -> Option<&'static str> {
    Some(match word {
        b"tab" => "\t",
        b"emdash" => "\u{2014}",
        b"endash" => "\u{2013}",
        b"lquote" => "\u{2018}",
        b"rquote" => "\u{2019}",
        b"ldblquote" => "\u{201c}",
        b"rdblquote" => "\u{201d}",
        b"bullet" => "\u{2022}",
        b"emspace" | b"enspace" | b"qmspace" => " ",
        _ => return None,
    })
}
