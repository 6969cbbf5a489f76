//! The gateway's side of the control socket.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Answer, Operator, Request};

/// Longest request line. Enough for fifty thousand queue IDs.
const MAX_REQUEST_BYTES: u64 = 1 << 20;
/// Connections at once; more wait.
const MAX_CONNECTIONS: usize = 16;
/// How long a client may take to say something, and to take the answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A bound socket. Dropping it removes the socket's file.
#[derive(Debug)]
pub struct ControlServer {
    listener: UnixListener,
    path: PathBuf,
}

impl ControlServer {
    /// Binds the socket at `path`, for this user alone. A file left by a gateway that was killed is
    /// replaced: call it with the spool's lock held.
    ///
    /// # Errors
    ///
    /// The socket cannot be made there.
    pub fn bind(path: &Path) -> io::Result<Self> {
        // Under another name first: nobody can connect before the mode is right.
        let fresh = path.with_extension("new");
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&fresh)?;
        fs::set_permissions(&fresh, Permissions::from_mode(0o600))?;
        fs::rename(&fresh, path)?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Serves until `stop` is cancelled. Requests under way are carried out.
    pub async fn run(self, operator: Arc<impl Operator>, stop: CancellationToken) {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors, most likely: give them time to come back.
                    tracing::warn!(%error, "control socket");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                }
            };
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            let operator = Arc::clone(&operator);
            tokio::spawn(async move {
                // A client that goes away in the middle concerns only itself.
                let _ = serve(stream, &*operator).await;
                drop(slot);
            });
        }
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

async fn serve(stream: UnixStream, operator: &impl Operator) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = (&mut reader).take(MAX_REQUEST_BYTES);
        if timeout(PATIENCE, bounded.read_until(b'\n', &mut line)).await?? == 0 {
            return Ok(());
        }
        let request = serde_json::from_slice::<Request>(&line);
        let understood = request.is_ok();
        let answer = match request {
            Ok(request) => operator.operate(request).await,
            Err(error) => Answer::Refused(format!("not a request: {error}")),
        };
        let mut text = serde_json::to_vec(&answer)?;
        text.push(b'\n');
        timeout(PATIENCE, writer.write_all(&text)).await??;
        if !understood {
            return Ok(());
        }
    }
}
