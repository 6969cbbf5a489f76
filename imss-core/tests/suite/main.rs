//! Tests of the public interface.

mod bombs;
mod cuts;
mod documents;
mod golden;
mod listing;
mod made;
mod properties;
mod wire;
