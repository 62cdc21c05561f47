//! HTTP around the decision: what a request has to look like, and what is answered if it does not.

use std::time::{Duration, Instant};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::post,
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;
use tracing::warn;

use super::{
    admit::{Admitter, subject},
    review::{Review, ReviewError},
};

/// Where reviews are sent.
pub const PATH: &str = "/mutate";

/// The largest request. A review holds an object twice, and the API server takes objects up to 3 MiB.
const MAX_BODY: usize = 8 * 1024 * 1024;
/// How long a body may take to arrive. The API server waits 3 seconds for the answer.
const BODY: Duration = Duration::from_secs(5);
const JSON: &str = "application/json";

/// Why a request is not answered.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the content type has to be {JSON}")]
    ContentType,
    #[error("the body is larger than {MAX_BODY} bytes")]
    TooLarge,
    #[error("the body did not arrive within {BODY:?}")]
    Slow,
    #[error("the body broke off")]
    BrokenOff,
    #[error(transparent)]
    Review(#[from] ReviewError),
    #[error("the answer cannot be written as JSON")]
    Answer(#[source] serde_json::Error),
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Refusal::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Refusal::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::Slow => StatusCode::REQUEST_TIMEOUT,
            Refusal::BrokenOff | Refusal::Review(_) => StatusCode::BAD_REQUEST,
            Refusal::Answer(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// The webhook's routes.
pub fn router(admitter: Admitter) -> Router {
    Router::new().route(PATH, post(mutate)).with_state(admitter)
}

async fn mutate(State(admitter): State<Admitter>, request: Request) -> Response {
    match answer(&admitter, request).await {
        Ok(answer) => ([(CONTENT_TYPE, JSON)], answer).into_response(),
        Err(refusal) => {
            let status = refusal.status();
            warn!(status = status.as_u16(), error = %refusal, "refused a request");
            admitter
                .metrics
                .refusals
                .with_label_values(&[status.as_str()])
                .inc();
            (status, refusal.to_string()).into_response()
        }
    }
}

async fn answer(admitter: &Admitter, request: Request) -> Result<Vec<u8>, Refusal> {
    if !is_json(&request) {
        return Err(Refusal::ContentType);
    }
    let body = receive(request.into_body()).await?;
    let start = Instant::now();
    let review = Review::parse(&body)?;
    let verdict = admitter.admit(&review).await;
    let answer = review
        .answer(&subject(&review), &verdict)
        .map_err(Refusal::Answer)?;
    admitter
        .metrics
        .admission_seconds
        .observe(start.elapsed().as_secs_f64());
    Ok(answer)
}

fn is_json(request: &Request) -> bool {
    let value = request.headers().get(CONTENT_TYPE);
    let value = value.and_then(|value| value.to_str().ok());
    value
        .and_then(|value| value.split(';').next())
        .is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case(JSON))
}

async fn receive(body: Body) -> Result<Bytes, Refusal> {
    match timeout(BODY, Limited::new(body, MAX_BODY).collect()).await {
        Err(_) => Err(Refusal::Slow),
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::TooLarge),
        Ok(Err(_)) => Err(Refusal::BrokenOff),
    }
}
