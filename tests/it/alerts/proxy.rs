//! Proxies: the one that is named for alerts, and no other.

use std::{
    net::SocketAddr,
    process::Command,
    sync::{Arc, Mutex},
};

use http::header::{HOST, PROXY_AUTHORIZATION};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use super::{Answer, FAILED, FakeReceiver, SENT, config, deliver, receiver, receiver_of};

/// A proxy that makes tunnels, to wherever it is asked to.
pub struct Tunnels {
    /// Where it is.
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Tunnels {
    /// Starts one.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tunnels = Self {
            address: listener.local_addr().unwrap(),
            asked: Arc::default(),
        };
        let asked = tunnels.asked.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(tunnel(stream, asked.clone()));
            }
        });
        tunnels
    }

    /// What it was asked for so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn tunnel(mut client: TcpStream, asked: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.split(' ').nth(1).unwrap().to_owned();
    asked.lock().unwrap().push(head);
    let mut server = TcpStream::connect(target).await.unwrap();
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    // How a connection ends is the business of those who talk.
    let _ = copy_bidirectional(&mut client, &mut server).await;
}

#[tokio::test]
async fn a_proxy_is_asked_for_the_whole_url() {
    let proxy = FakeReceiver::that(&[Answer::Status(200)]).await;
    let receiver = receiver_of(config(&[
        ("ALERT_WEBHOOK_URL", "http://chat.example/hook?token=x"),
        (
            "ALERT_WEBHOOK_PROXY",
            &format!(" http://me:secret@{}\n", proxy.address),
        ),
    ]));
    assert_eq!(deliver(receiver).await, SENT);
    let received = proxy.only_one();
    assert_eq!(received.line, "POST http://chat.example/hook?token=x");
    assert_eq!(received.headers[HOST], "chat.example");
    assert_eq!(received.headers[PROXY_AUTHORIZATION], "Basic bWU6c2VjcmV0");
    assert_eq!(received.body, "a message");
}

#[tokio::test]
async fn without_a_proxy_the_receiver_is_asked_for_the_path() {
    let chat = FakeReceiver::that(&[Answer::Status(200)]).await;
    let url = format!("http://me:secret@{}/hook?token=x", chat.address);
    assert_eq!(deliver(receiver(&url)).await, SENT);
    let received = chat.only_one();
    assert_eq!(received.line, "POST /hook?token=x");
    assert_eq!(received.headers["authorization"], "Basic bWU6c2VjcmV0");
    assert!(!received.headers.contains_key(PROXY_AUTHORIZATION));
}

#[tokio::test]
async fn a_receiver_behind_a_proxy_that_is_away_is_not_asked_directly() {
    let chat = FakeReceiver::that(&[Answer::Status(200)]).await;
    let nobody = tokio::net::TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let proxy = format!("http://{}", nobody.local_addr().unwrap());
    let receiver = receiver_of(config(&[
        ("ALERT_WEBHOOK_URL", &chat.url("/")),
        ("ALERT_WEBHOOK_PROXY", &proxy),
    ]));
    assert_eq!(deliver(receiver).await, FAILED);
    assert!(chat.received().is_empty());
}

/// In a process of its own, since the environment is that of all tests.
#[tokio::test]
async fn proxies_of_the_environment_are_not_for_alerts() {
    const PROXIES: [&str; 4] = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
    const NOBODY: &str = "http://127.0.0.1:1";
    if std::env::var("all_proxy").as_deref() == Ok(NOBODY) {
        let chat = FakeReceiver::that(&[Answer::Status(200)]).await;
        assert_eq!(deliver(receiver(&chat.url("/"))).await, SENT);
        return;
    }
    let this = "alerts::proxy::proxies_of_the_environment_are_not_for_alerts";
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", this])
        .envs(PROXIES.map(|name| (name, NOBODY)))
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}
