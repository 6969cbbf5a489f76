//! What is known of who sends: lists of addresses, what a source did lately, what DNS lists say.
//!
//! All of it is values that take the time as an argument: no clock, no I/O. Times are seconds since
//! 1970 in 32 bits, which last until 2106 and keep a tracked source small.

#[cfg(feature = "dns")]
pub mod dns;
pub(crate) mod dns_list;
pub mod greylist;
pub mod lists;
pub mod profile;
pub mod source;
pub mod subject;
pub mod throttle;
pub mod tracker;
pub mod window;
pub mod zone;
