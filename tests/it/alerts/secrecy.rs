//! Nothing of a URL is logged but its host, whatever happens and however fine the log.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::{io::AsyncWriteExt, net::TcpListener};

use super::{Answer, FakeReceiver, config, deliver, receiver_of};
use crate::logs::Logs;

/// In every part of a URL that can hold one. Three bytes are four digits of base64, so that it looks the
/// same there whatever surrounds it.
const TOKEN: &str = "T0KEN!secret";

/// An alert to that host, with the token in all other parts of the URLs.
async fn alert(scheme: &str, host: &str, proxy: Option<&str>) {
    let secret =
        |scheme, host| format!("{scheme}://{TOKEN}:{TOKEN}@{host}/{TOKEN}?{TOKEN}={TOKEN}");
    let url = secret(scheme, host);
    let proxy = proxy.map(|host| secret("http", host)).unwrap_or_default();
    let variables = [
        ("ALERT_WEBHOOK_URL", &*url),
        ("ALERT_WEBHOOK_PROXY", &*proxy),
    ];
    let mut receiver = receiver_of(config(&variables));
    receiver.pauses.one_try = Duration::from_millis(100);
    deliver(receiver).await;
}

/// Whoever says nothing that is HTTP.
async fn gibberish() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // Whether it is taken does not matter.
            let _ = stream.write_all(b"what?\r\n\r\n").await;
        }
    });
    address
}

#[tokio::test]
async fn no_line_of_any_log_holds_more_of_a_url_than_its_host() {
    let logs = Logs::capture_all();
    let location: &str = format!("http://127.0.0.1/{TOKEN}").leak();
    for answer in [
        Answer::Status(200),
        Answer::Status(404),
        Answer::Status(407),
        Answer::Status(500),
        Answer::With(302, "Location", location),
        Answer::Never,
    ] {
        let chat = FakeReceiver::that(&[answer]).await;
        let host = chat.address.to_string();
        for scheme in ["http", "https"] {
            alert(scheme, &host, None).await;
            alert(scheme, "chat.example", Some(&host)).await;
        }
    }
    let gibberish = gibberish().await;
    for host in ["127.0.0.1:1", "no-such-host.invalid", &gibberish] {
        for scheme in ["http", "https"] {
            alert(scheme, host, None).await;
            alert(scheme, "chat.example", Some(host)).await;
        }
    }
    for told in [
        "alerted",
        "giving up",
        "\"level\":\"DEBUG\"",
        "chat.example",
        "refused",
    ] {
        assert!(!logs.with(&[told]).is_empty(), "no {told:?}");
    }
    let encoded = "T0KEN%21secret";
    for shape in [TOKEN, encoded, "T0KEN", &STANDARD.encode(TOKEN)] {
        assert_eq!(logs.with(&[shape]), Vec::<String>::new(), "{shape}");
    }
}
