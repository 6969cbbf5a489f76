//! A command's side of the control socket. Blocks; commands have nothing else to do.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::{Answer, Request};

/// How long a gateway may take to answer. Releasing many messages takes a while.
const PATIENCE: Duration = Duration::from_secs(300);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// No gateway listens there: work on the files instead.
    #[error("no gateway is running")]
    NotRunning,
    /// There is a gateway, but talking to it failed.
    #[error("the running gateway cannot be reached")]
    Io(#[from] io::Error),
    /// What came back is not an answer.
    #[error("the running gateway answers something else; is it another version?")]
    Nonsense(#[from] serde_json::Error),
}

/// Asks the gateway that listens at `socket`.
///
/// # Errors
///
/// See [`CallError`].
pub fn call(socket: &Path, request: &Request) -> Result<Answer, CallError> {
    let mut stream = UnixStream::connect(socket).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => CallError::NotRunning,
        _ => CallError::Io(error),
    })?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = Vec::new();
    if BufReader::new(stream).read_until(b'\n', &mut answer)? == 0 {
        return Err(CallError::Io(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(serde_json::from_slice(&answer)?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use imss_core::ids::QueueId;
    use tokio_util::sync::CancellationToken;

    use super::super::server::ControlServer;
    use super::super::{Operator, QueueOrder, Which};
    use super::*;

    /// Says what it was asked.
    struct Echo;

    impl Operator for Echo {
        async fn operate(&self, request: Request) -> Answer {
            match request {
                Request::Queue { which: Which::These(ids), .. } => {
                    Answer::Done { count: ids.len(), failed: vec![(ids[0], "gone".to_owned())] }
                }
                other => Answer::Refused(format!("{other:?}")),
            }
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_request_and_its_answer() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        assert!(matches!(call(&path, &Request::Reload), Err(CallError::NotRunning)));
        let server = ControlServer::bind(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let stop = CancellationToken::new();
        let task = tokio::spawn(server.run(Arc::new(Echo), stop.clone()));
        let ids = vec![QueueId::new(1, 2, 3)];
        let request = Request::Queue { order: QueueOrder::Hold, which: Which::These(ids.clone()) };
        let asked = path.clone();
        let answer = tokio::task::spawn_blocking(move || call(&asked, &request)).await.unwrap();
        let expected = Answer::Done { count: 1, failed: vec![(ids[0], "gone".to_owned())] };
        assert_eq!(answer.unwrap(), expected);
        stop.cancel();
        task.await.unwrap();
        assert!(!path.exists());
        assert!(matches!(call(&path, &Request::Reload), Err(CallError::NotRunning)));
    }

    #[tokio::test]
    async fn nonsense_is_refused() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let server = ControlServer::bind(&path).unwrap();
        tokio::spawn(server.run(Arc::new(Echo), CancellationToken::new()));
        for line in ["hello\n", "{\"command\":\"reload\",\"x\":1}\n", "{\"command\":\"rm -rf\"}\n"]
        {
            let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
            stream.write_all(line.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("{\"refused\":"), "{line} {answer}");
        }
    }
}
