//! Reads content piece by piece without blocking the network loop.
//!
//! In: a [`Content`]. Out: its chunks in order, or the first error of the disk. What lies in memory is
//! given directly; a file is read on a blocking thread, at most two chunks ahead.

use std::io;

use bytes::Bytes;
use imss_core::edit::Piece;
use tokio::sync::mpsc;

use crate::spool::body::{Body, Content};

/// The chunks of one content.
pub(crate) enum Source<'a> {
    Memory { body: &'a Body, pieces: std::slice::Iter<'a, Piece> },
    File(mpsc::Receiver<io::Result<Bytes>>),
}

impl<'a> Source<'a> {
    pub(crate) fn new(content: &'a Content) -> Self {
        if let Body::Memory(_) = &content.body {
            return Self::Memory { body: &content.body, pieces: content.rope.pieces.iter() };
        }
        let (sender, receiver) = mpsc::channel(2);
        let content = content.clone();
        tokio::task::spawn_blocking(move || {
            // The receiver is gone when the transaction broke off: then nobody needs the rest.
            for chunk in content.chunks() {
                if sender.blocking_send(chunk).is_err() {
                    break;
                }
            }
        });
        Self::File(receiver)
    }

    pub(crate) async fn next(&mut self) -> Option<io::Result<Bytes>> {
        match self {
            Self::Memory { body, pieces } => pieces.next().map(|piece| match piece {
                Piece::Inserted(bytes) => Ok(bytes.clone()),
                Piece::Original(range) => body.read(range.clone()),
            }),
            Self::File(receiver) => receiver.recv().await,
        }
    }
}
