//! A receiver that answers as it is told, and remembers what it was sent.

use std::{
    collections::VecDeque,
    future::pending,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
    serve::Listener,
};
use http::HeaderMap;
use http_body_util::BodyExt;
use tokio::{net::TcpListener, time::Instant};

/// What it does with a request.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// It answers so.
    Status(u16),
    /// It answers so, with a header.
    With(u16, &'static str, &'static str),
    /// It never answers.
    Never,
}

/// What it was sent.
#[derive(Clone, Debug)]
pub struct Received {
    /// Method and target as in the first line of the request.
    pub line: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: String,
    /// When.
    pub at: Instant,
}

/// A receiver.
#[derive(Clone)]
pub struct FakeReceiver {
    /// Where it is.
    pub address: SocketAddr,
    memory: Memory,
}

#[derive(Clone, Default)]
struct Memory {
    received: Arc<Mutex<Vec<Received>>>,
    answers: Arc<Mutex<VecDeque<Answer>>>,
}

impl FakeReceiver {
    /// One that gives these answers; the last one again and again.
    pub async fn that(answers: &[Answer]) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), answers)
    }

    /// One behind that listener.
    pub fn on(listener: impl Listener<Addr = SocketAddr>, answers: &[Answer]) -> Self {
        let memory = Memory {
            answers: Arc::new(Mutex::new(answers.iter().copied().collect())),
            ..Memory::default()
        };
        let address = listener.local_addr().unwrap();
        let router = router(memory.clone());
        tokio::spawn(async { axum::serve(listener, router).await });
        Self { address, memory }
    }

    /// Its URL with that path and query.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What it was sent so far.
    pub fn received(&self) -> Vec<Received> {
        self.memory.received.lock().unwrap().clone()
    }

    /// The one request that it was sent.
    pub fn only_one(&self) -> Received {
        let mut received = self.received();
        assert_eq!(received.len(), 1, "{received:?}");
        received.remove(0)
    }
}

fn router(memory: Memory) -> Router {
    Router::new().fallback(answer).with_state(memory)
}

async fn answer(State(memory): State<Memory>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    memory.received.lock().unwrap().push(Received {
        line: format!("{} {}", head.method, head.uri),
        headers: head.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
        at: Instant::now(),
    });
    let answer = {
        let mut answers = memory.answers.lock().unwrap();
        let last = answers.len() == 1;
        if last {
            answers[0]
        } else {
            answers.pop_front().unwrap()
        }
    };
    let status = |status| Response::builder().status(status);
    match answer {
        Answer::Status(code) => status(code).body(Body::empty()).unwrap(),
        Answer::With(code, header, value) => {
            let response = status(code).header(header, value);
            response.body(Body::empty()).unwrap()
        }
        Answer::Never => pending().await,
    }
}
