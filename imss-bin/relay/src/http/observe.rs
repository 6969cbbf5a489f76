//! Metrics and health over HTTP: `/metrics` (Prometheus text format), `/health/live`, `/health/ready`.
//!
//! In: requests of monitoring systems. Out: text. Nothing here changes anything.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;

/// Whether the node should get mail: `Ok`, or why not.
pub type Readiness = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

#[derive(Clone)]
struct Served {
    metrics: PrometheusHandle,
    ready: Readiness,
    refresh: Arc<dyn Fn() + Send + Sync>,
}

/// The routes. `refresh` is called before each reading of metrics, to set gauges.
pub fn routes(
    metrics: PrometheusHandle,
    ready: Readiness,
    refresh: Arc<dyn Fn() + Send + Sync>,
) -> Router {
    Router::new()
        .route("/metrics", get(show_metrics))
        .route("/health/live", get(|| async { "alive\n" }))
        .route("/health/ready", get(show_ready))
        .with_state(Served { metrics, ready, refresh })
}

async fn show_metrics(State(served): State<Served>) -> impl IntoResponse {
    (served.refresh)();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], served.metrics.render())
}

async fn show_ready(State(served): State<Served>) -> (StatusCode, String) {
    match (served.ready)() {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")),
    }
}
