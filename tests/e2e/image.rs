//! The container image: what is in it, and that it runs with nothing else. `make image-check` provides it.

use std::{env, fs, os::unix::fs::PermissionsExt};

use restamp_dev_certs::{Authority, Validity};
use restamp_test_cluster::skipped;
use serde_json::json;
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, UdpSocket},
    time::timeout,
};

use crate::support::{
    Ground, Shop,
    ground::{SYSTEM, free_port},
    image::{Image, USER},
    replica::Replica,
    rollouts::each,
    wait::deadline,
};

const PROGRAM: &str = "restamp";
const AUTHORITIES: &str = "etc/ssl/certs/ca-certificates.crt";
const MOST_OF_IMAGE: u64 = 14_000_000;
const MOST_OF_PROGRAM: usize = 12_000_000;
/// The program header of a file that wants a dynamic linker.
const PT_INTERP: usize = 3;
/// A host that only the name server of the test knows.
const RECEIVER: &str = "alerts.test";
/// Where that is: name servers have no other port.
const NAME_SERVER: &str = "127.83.0.1";
/// Where a pod has the rights of its ServiceAccount.
const ACCOUNT: &str = "var/run/secrets/kubernetes.io/serviceaccount";

#[test]
fn the_image_is_small_and_holds_the_program_and_certificates_alone() {
    let Some(image) = Image::given("the_image_is_small") else {
        return;
    };
    let names = image.names();
    assert_eq!(
        names,
        ["etc", "etc/ssl", "etc/ssl/certs", AUTHORITIES, PROGRAM]
    );
    assert!(image.size <= MOST_OF_IMAGE, "{} bytes", image.size);
    for name in names {
        let file = fs::metadata(image.root().join(&name)).expect("a file");
        let mode = if name == AUTHORITIES { 0o644 } else { 0o755 };
        assert_eq!(file.permissions().mode() & 0o7777, mode, "{name}");
    }
    let configuration = &image.configuration["config"];
    assert_eq!(configuration["User"], format!("{USER}:{USER}"));
    assert_eq!(configuration["Entrypoint"], json!(["/restamp"]));
    let label = |name: &str| &configuration["Labels"][format!("org.opencontainers.image.{name}")];
    assert_eq!(label("version"), env!("CARGO_PKG_VERSION"));
    let revision = label("revision").as_str().expect("a revision");
    assert_eq!(revision.len(), 40, "{revision}");
}

#[test]
fn the_program_is_static_and_knows_no_path_of_this_machine() {
    let Some(image) = Image::given("the_program_is_static") else {
        return;
    };
    let program = fs::read(image.root().join(PROGRAM)).expect("the program");
    assert!(program.len() <= MOST_OF_PROGRAM, "{} bytes", program.len());
    assert!(!program_headers(&program).contains(&PT_INTERP));
    let home = env::var("HOME").expect("a home");
    for path in [env!("CARGO_MANIFEST_DIR"), &format!("{home}/.cargo")] {
        assert!(!contains(&program, path), "{path}");
    }
}

#[test]
fn the_program_runs_with_nothing_else() {
    let test = "the_program_runs_with_nothing_else";
    let Some(image) = Image::given(test) else {
        return;
    };
    let Some(mut command) = image.command(test, &["--help"]) else {
        return;
    };
    let output = command.output().expect("unshare runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("watcher"), "{output:?}");
}

#[tokio::test]
async fn watcher_and_webhook_run_as_in_a_pod() {
    let test = "watcher_and_webhook_run_as_in_a_pod";
    let (Some(watcher), Some(webhook)) = (Image::given(test), Image::given(test)) else {
        return;
    };
    let Some(ground) = Ground::own(test).await else {
        return;
    };
    // Over HTTPS, which needs certificates of CAs, to a name that has to be looked up.
    let receiver = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = receiver.local_addr().expect("an address").port();
    let url = format!("https://{RECEIVER}:{port}");
    mount_names(&watcher).await;
    let alerts = [("ALERT_ON_RELOAD", "true"), ("ALERT_WEBHOOK_URL", &url)];
    let args = ["watcher", "--settle", "1s"];
    let Some(watcher) = start(&watcher, &ground, "restamp-watcher", &args, &alerts).await else {
        return;
    };
    watcher.until_leading().await;
    let shop = Shop::stocked(&ground, "image").await;
    let change = shop.set_password("two");
    assert_eq!(shop.rollouts(change).await, each(1), "{}", watcher.log());
    let hello = timeout(deadline(), first_packet(&receiver)).await;
    let hello = hello.unwrap_or_else(|_| panic!("no alert: {}", watcher.log()));
    assert!(contains(&hello, RECEIVER), "it is asked for by name");

    mount_certificate(&webhook);
    let listen = format!("127.0.0.1:{}", free_port());
    let args = ["webhook", "--listen", &listen, "--cert-dir", "/tls"];
    let webhook = start(&webhook, &ground, "restamp-webhook", &args, &[]).await;
    webhook.expect("as the watcher").until_ready().await;
}

/// Starts a process as the kubelet does: where the API server is comes by variables, the rights by mounted files.
async fn start(
    image: &Image,
    ground: &Ground,
    account: &str,
    args: &[&str],
    env: &[(&str, &str)],
) -> Option<Replica> {
    let kubeconfig = ground.kubeconfig_of(SYSTEM, account).await;
    let token = fs::read(kubeconfig.with_added_extension("token")).expect("a token");
    image.mount(&format!("{ACCOUNT}/token"), token);
    image.mount(&format!("{ACCOUNT}/ca.crt"), ground.api_server_ca());
    image.mount(&format!("{ACCOUNT}/namespace"), SYSTEM);
    let mut command = image.command(account, args)?;
    let api_server = ground.api_server();
    command
        .env("RESTAMP_NAMESPACE", SYSTEM)
        .env("KUBERNETES_SERVICE_HOST", api_server.ip().to_string())
        .env("KUBERNETES_SERVICE_PORT", api_server.port().to_string())
        .envs(env.iter().copied());
    Some(Replica::run(command, &ground.new_log(account)))
}

fn mount_certificate(image: &Image) {
    let authority = Authority::generate().expect("a CA");
    let identity = authority.server(&["127.0.0.1"], Validity::for_days(1));
    let identity = identity.expect("a certificate");
    image.mount("tls/tls.crt", identity.certificate);
    image.mount("tls/tls.key", identity.key);
}

/// As the kubelet does, with a name server behind it; with the file alone where a test may not open its port.
async fn mount_names(image: &Image) {
    match UdpSocket::bind((NAME_SERVER, 53)).await {
        Ok(socket) => {
            image.mount("etc/hosts", "127.0.0.1 localhost\n");
            image.mount("etc/resolv.conf", format!("nameserver {NAME_SERVER}\n"));
            tokio::spawn(serve_names(socket));
        }
        Err(error) => {
            skipped(format_args!("no name server at {NAME_SERVER}: {error}"));
            image.mount("etc/hosts", format!("127.0.0.1 {RECEIVER}\n"));
        }
    }
}

/// Every name is one of this machine's (RFC 1035, section 4).
async fn serve_names(socket: UdpSocket) {
    let mut query = [0; 512];
    while let Ok((length, client)) = socket.recv_from(&mut query).await {
        let end = query[12..length].iter().position(|byte| *byte == 0);
        let end = 12 + end.expect("the end of a name") + 5;
        let asks_for_ipv4 = query[end - 4..end] == [0, 1, 0, 1];
        let mut answer = query[..end].to_vec();
        answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(asks_for_ipv4), 0, 0, 0, 0]);
        if asks_for_ipv4 {
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1]);
        }
        socket.send_to(&answer, client).await.ok();
    }
}

async fn first_packet(listener: &TcpListener) -> Vec<u8> {
    let (mut stream, _) = listener.accept().await.expect("a connection");
    let mut packet = vec![0; 4096];
    let length = stream.read(&mut packet).await.expect("a packet");
    packet.truncate(length);
    packet
}

fn contains(bytes: &[u8], text: &str) -> bool {
    let mut places = bytes.windows(text.len());
    places.any(|place| place == text.as_bytes())
}

/// The types of the program headers of a 64-bit little-endian ELF file.
fn program_headers(elf: &[u8]) -> Vec<usize> {
    assert_eq!(&elf[..6], b"\x7fELF\x02\x01");
    let number = |at: usize, bytes: usize| {
        let digits = elf[at..at + bytes].iter().rev();
        digits.fold(0, |sum, digit| sum << 8 | usize::from(*digit))
    };
    let (start, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    (0..count)
        .map(|index| number(start + index * size, 4))
        .collect()
}
