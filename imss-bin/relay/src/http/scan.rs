//! `POST /v1/scan`: a message or a file → the report of `imss scan --jsonl`, or the edited message.
//!
//! In: a body of type `message/rfc822`, or `application/octet-stream` for a file that is judged as if
//! it were attached; the envelope by query or header fields. Out: a report. Nothing is stored,
//! sent or held, whatever the policy says; the verdict record is kept, so that `imss explain` knows it.
//!
//! Bodies are streamed to the spool's folder with bounded memory. Too large is 413, too slow 408, too
//! many at once 429, and 503 says that a message could not be judged now. None of them is a verdict.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use imss_policy::FinalAction;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::io::ReaderStream;

use super::Peer;
use super::access::{Access, Denied};
use super::envelope::{self, Asked};
use crate::gateway::Gateway;
use crate::ids::unix_millis;
use crate::inbound::intake::Intake;
use crate::inbound::{Acceptor, Mode, Protocol, Received, Reply, Settings};
use crate::outbound::source::Source;
use crate::pipeline::{self, Outgoing};
use crate::report::Report;
use crate::spool::body::Content;
use crate::wrap::Wrapper;

/// Octets of an edited message on their way to a slow client.
const PIPE_BYTES: usize = 256 << 10;
/// Longest time for one body, unless a message by SMTP has less.
const MAX_UPLOAD: Duration = Duration::from_secs(600);
/// Fewest requests that are taken at once.
const MIN_AT_ONCE: usize = 16;

/// Longest time for the body of one request.
#[must_use]
pub fn upload_time(settings: &Settings) -> Duration {
    settings.timeouts.message.min(MAX_UPLOAD)
}

/// What all requests share.
struct Door {
    gateway: Arc<Gateway>,
    settings: Arc<Settings>,
    access: Access,
    slots: Semaphore,
}

/// The route, for whoever `access` lets in, and about `at_once` requests.
pub fn routes(
    gateway: Arc<Gateway>,
    settings: Arc<Settings>,
    access: Access,
    at_once: usize,
) -> Router {
    let slots = Semaphore::new(at_once.max(MIN_AT_ONCE));
    let door = Arc::new(Door { gateway, settings, access, slots });
    Router::new().route("/v1/scan", post(scan)).with_state(door)
}

/// Why there is no report.
struct Problem {
    status: StatusCode,
    text: String,
}

impl Problem {
    fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }

    /// What SMTP would have said.
    fn of_reply(reply: &Reply) -> Self {
        let status = match reply.code {
            552 => StatusCode::PAYLOAD_TOO_LARGE,
            _ if reply.is_transient() => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self::new(status, reply.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Json(serde_json::json!({ "error": self.text }));
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if matches!(self.status.as_u16(), 429 | 503) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

async fn scan(
    State(door): State<Arc<Door>>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    request: Request,
) -> Result<Response, Problem> {
    let kind = door.admit(peer, &request)?;
    let limits = door.settings.limits;
    let asked = envelope::read(request.uri(), request.headers(), limits.recipients)
        .map_err(|text| Problem::new(StatusCode::BAD_REQUEST, text))?;
    let declared = request.body().size_hint().lower();
    if declared > limits.message_bytes {
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "Message too large"));
    }
    let Ok(_slot) = door.slots.try_acquire() else {
        let text = "Too many requests at once; please try again later";
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, text));
    };
    let wants_message = accepts_message(request.headers());
    let Asked { mut envelope, name } = asked;
    envelope.client.is_ours = door.settings.relaying.trusts(envelope.client.ip);
    let intake = door.receive(kind, &name, request.into_body()).await?;
    let id = intake.id();
    let body = intake.finish().await.map_err(|reply| Problem::of_reply(&reply))?;
    let received = Arc::new(Received {
        id,
        envelope,
        body,
        received_at_unix_millis: unix_millis(),
        protocol: Protocol::Smtp,
        mode: Mode::Scan,
        hostname: door.gateway.hostname().to_owned(),
        traced_login: None,
    });
    let outgoing = pipeline::examine(&received, &door.gateway)
        .await
        .map_err(|reply| Problem::of_reply(&reply))?;
    let report = Report::of_record(name, &outgoing.record);
    let edited = wants_message.then(|| edited(&received, &outgoing)).flatten();
    let mut response = match edited {
        Some(content) => door.message(content),
        None => Json(&report).into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in [
        ("imss-id", id.to_string()),
        ("imss-verdict", report.verdict.to_string()),
        ("imss-action", report.action.to_owned()),
    ] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    Ok(response)
}

/// What a request brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Message,
    File,
}

impl Door {
    fn admit(&self, peer: SocketAddr, request: &Request) -> Result<Kind, Problem> {
        let field = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        self.access.check(peer.ip(), field(header::AUTHORIZATION)).map_err(
            |denied| match denied {
                Denied::Token => Problem::new(StatusCode::UNAUTHORIZED, "A valid token is needed"),
                Denied::Elsewhere => Problem::new(StatusCode::FORBIDDEN, "Only for this machine"),
            },
        )?;
        let kind = field(header::CONTENT_TYPE).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let kind = match kind.as_str() {
            "message/rfc822" | "message/global" => Kind::Message,
            "application/octet-stream" => Kind::File,
            _ => {
                let text =
                    "Content-Type must be message/rfc822, or application/octet-stream for a file";
                return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
            }
        };
        self.gateway
            .readiness()
            .map_err(|reason| Problem::new(StatusCode::SERVICE_UNAVAILABLE, reason))?;
        Ok(kind)
    }

    /// Takes the whole body, each piece and all of it in time.
    async fn receive(&self, kind: Kind, name: &str, mut body: Body) -> Result<Intake, Problem> {
        let id = self.gateway.next_id();
        let mut intake = Intake::verbatim(id, self.gateway.body_writer(id), &self.settings);
        let mut file = match kind {
            Kind::Message => None,
            Kind::File => {
                intake.write(&Wrapper::head(name)).await;
                Some(Wrapper::new())
            }
        };
        let end = Instant::now() + upload_time(&self.settings);
        let late = |_| Problem::new(StatusCode::REQUEST_TIMEOUT, "The message came too slowly");
        while !intake.is_refused() {
            let next = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx));
            let next = timeout(self.settings.timeouts.data_block, next);
            let Some(frame) = timeout_at(end, next).await.map_err(late)?.map_err(late)? else {
                if let Some(file) = file {
                    intake.write(&file.finish()).await;
                }
                break;
            };
            let gone = |_| Problem::new(StatusCode::BAD_REQUEST, "The message ended too early");
            let Ok(data) = frame.map_err(gone)?.into_data() else { continue };
            match &mut file {
                None => intake.write(&data).await,
                Some(file) => intake.write(&file.lines(&data)).await,
            }
        }
        Ok(intake)
    }

    /// A message as an answer, streamed. If it breaks off, its length tells.
    fn message(&self, content: Content) -> Response {
        let length = content.len();
        let (reader, mut writer) = tokio::io::simplex(PIPE_BYTES);
        let patience = self.settings.timeouts.write;
        tokio::spawn(async move {
            let mut source = Source::new(&content);
            while let Some(Ok(chunk)) = source.next().await {
                // A client that is gone, or takes nothing: nobody needs the rest.
                if !matches!(timeout(patience, writer.write_all(&chunk)).await, Ok(Ok(()))) {
                    return;
                }
            }
            let _ = writer.shutdown().await;
        });
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("message/rfc822")),
            (header::CONTENT_LENGTH, HeaderValue::from(length)),
        ];
        (headers, Body::from_stream(ReaderStream::new(reader))).into_response()
    }
}

fn accepts_message(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let kinds = accepted.unwrap_or_default().split(',');
    kinds
        .map(|kind| kind.split(';').next().unwrap_or_default().trim())
        .any(|kind| kind == "message/rfc822")
}

/// The first recipient's copy, if it goes on.
fn edited(received: &Received, outgoing: &Outgoing) -> Option<Content> {
    let goes_on = |action: &FinalAction| {
        matches!(action, FinalAction::Deliver | FinalAction::Redirect { .. })
    };
    let copies = outgoing.applied.copies.iter().filter(|copy| copy.archive.is_none());
    let mut own = copies.filter(|copy| copy.recipients.contains(&0) && goes_on(&copy.action));
    let rope = own.next()?.rope.clone();
    Some(Content { body: received.body.clone(), rope })
}
