//! HTTP around the decision: what a request has to look like, and what is answered if it does not.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::post,
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};
use tracing::warn;

use super::{
    admit::{Admitter, subject},
    review::{Review, ReviewError},
};

/// Where reviews are sent.
pub const PATH: &str = "/mutate";

/// The largest request. A review holds an object twice, and the API server takes objects up to 3 MiB.
const MAX_BODY: usize = 8 * 1024 * 1024;
/// What all requests that are being received may take together.
const MAX_BODIES: usize = 48 * 1024 * 1024;
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
    #[error("too many requests are being received; the watcher will see to this one")]
    Busy,
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
            Refusal::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::BrokenOff | Refusal::Review(_) => StatusCode::BAD_REQUEST,
            Refusal::Answer(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

#[derive(Clone)]
struct Webhook {
    admitter: Admitter,
    /// A permit for each byte that may still be received.
    room: Arc<Semaphore>,
}

/// The webhook's routes.
pub fn router(admitter: Admitter) -> Router {
    let room = Arc::new(Semaphore::new(MAX_BODIES));
    Router::new()
        .route(PATH, post(mutate))
        .with_state(Webhook { admitter, room })
}

async fn mutate(State(webhook): State<Webhook>, request: Request) -> Response {
    match answer(&webhook, request).await {
        Ok(answer) => ([(CONTENT_TYPE, JSON)], answer).into_response(),
        Err(refusal) => {
            let status = refusal.status();
            warn!(status = status.as_u16(), error = %refusal, "refused a request");
            webhook
                .admitter
                .metrics
                .refusals
                .with_label_values(&[status.as_str()])
                .inc();
            (status, refusal.to_string()).into_response()
        }
    }
}

async fn answer(webhook: &Webhook, request: Request) -> Result<Vec<u8>, Refusal> {
    let Webhook { admitter, room } = webhook;
    if !is_json(&request) {
        return Err(Refusal::ContentType);
    }
    let received = timeout(BODY, receive(request.into_body(), room)).await;
    let (body, _permit) = received.unwrap_or(Err(Refusal::Slow))?;
    let start = Instant::now();
    let review = Review::parse(&body)?;
    let verdict = admitter.admit(&review).await;
    let answer = review
        .answer(&subject(&review, &admitter.kinds), &verdict)
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

async fn receive(body: Body, room: &Semaphore) -> Result<(Vec<u8>, SemaphorePermit<'_>), Refusal> {
    let mut body = Limited::new(body, MAX_BODY);
    let (mut bytes, mut taken) = (
        Vec::new(),
        room.try_acquire_many(0).map_err(|_| Refusal::Busy)?,
    );
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| match error.is::<LengthLimitError>() {
            true => Refusal::TooLarge,
            false => Refusal::BrokenOff,
        })?;
        let data = frame.into_data().unwrap_or_default();
        let size = u32::try_from(data.len()).map_err(|_| Refusal::TooLarge)?;
        taken.merge(room.try_acquire_many(size).map_err(|_| Refusal::Busy)?);
        bytes.extend_from_slice(&data);
    }
    Ok((bytes, taken))
}
