//! Authentication against third-party suites and facts of our own. No name server: a table answers.

mod facts;
mod suites;
mod table;
