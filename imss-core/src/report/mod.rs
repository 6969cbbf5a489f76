//! Report formats: delivery status notifications.

pub mod dsn;
