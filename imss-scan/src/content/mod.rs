//! What a message says and carries: words, expressions, attachments, facts about the whole.

pub(crate) mod attachment;
pub(crate) mod gtube;
pub(crate) mod keywords;
pub(crate) mod message;
