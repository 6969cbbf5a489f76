//! Tests of the public interface.

mod bombs;
mod corpus;
mod cuts;
mod documents;
mod expected;
mod golden;
mod listing;
mod made;
mod properties;
mod wire;
