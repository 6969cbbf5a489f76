//! Report formats: delivery status notifications, authentication results.

pub mod authentication_results;
pub mod dsn;
