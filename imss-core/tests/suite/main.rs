//! Tests of the public interface.

mod bombs;
mod documents;
mod golden;
mod listing;
mod properties;
mod wire;
