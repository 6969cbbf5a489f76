//! Documents → text, one format per file.

pub mod html;
