//! Flags, kubeconfigs and addresses that cannot be used.

use std::{net::TcpListener, path::Path, time::Duration};

use tokio::time::timeout;

use crate::support::{Ground, wait::until};

/// No program takes longer to say that it cannot start.
const SOON: Duration = Duration::from_secs(30);

/// Runs `restamp` with arguments that it cannot use; gives its exit code and its message.
async fn refused(ground: &Ground, kubeconfig: &Path, args: &[&str]) -> (Option<i32>, String) {
    let (code, stdout, stderr) = timeout(SOON, ground.restamp(kubeconfig, args))
        .await
        .expect("it ends");
    assert_eq!(stdout, "", "{args:?}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    (code, stderr)
}

/// A kubeconfig that leads to a port where nobody listens.
fn nowhere(ground: &Ground) -> std::path::PathBuf {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let server = format!("https://{}", listener.local_addr().expect("an address"));
    let cluster = serde_json::json!({ "server": server });
    let user = serde_json::json!({ "token": "none" });
    let config = restamp_test_cluster::kubeconfig::render(cluster, user);
    ground.file("nowhere.json", &config.to_string())
}

#[tokio::test]
async fn flags_that_make_no_sense_are_refused_and_named() {
    let ground = Ground::shared().await;
    for (args, told) in [
        (
            &["explain", "pod/web"][..],
            "no workload kind \"pod\"; there are deployments.apps, statefulsets.apps, daemonsets.apps",
        ),
        (
            &["explain", "deployment.foo.io/web"],
            "no workload kind \"deployment.foo.io\"; there are deployments.apps",
        ),
        (&["explain", "web"], "write it as KIND/NAME"),
        (
            &["explain", "deployment/web", "-o", "yaml"],
            "[possible values: text, json]",
        ),
        (&["watcher", "--settle", "soon"], "--settle"),
        (&["watcher", "--settle=-1s"], "--settle"),
        (&["watcher", "--identity", ""], "it must not be empty"),
        (
            &["watcher", "--restamp-namespace", ""],
            "it must not be empty",
        ),
        (
            &["watcher", "--no-such-flag"],
            "unexpected argument '--no-such-flag'",
        ),
        (
            &["webhook", "--auto-annotation=reloader.stakater.com/search"],
            "two annotations are called \"reloader.stakater.com/search\"",
        ),
        (
            &["watcher", "--resources-to-ignore=secrets,configmaps"],
            "leaves nothing to follow",
        ),
        (
            &["watcher", "--workload-kind=CloneSet"],
            "write it as GROUP/VERSION/PLURAL/KIND=PATH",
        ),
        (
            &["watcher", "--auto-reload-al"],
            "a similar argument exists: '--auto-reload-all'",
        ),
        (&["restart"], "unrecognized subcommand 'restart'"),
    ] {
        let (code, message) = refused(&ground, ground.kubeconfig(), args).await;
        assert_eq!(code, Some(2), "{args:?}: {message}");
        assert!(message.contains(told), "{args:?}: {message}");
    }
}

#[tokio::test]
async fn what_cannot_be_followed_is_refused_and_named() {
    let ground = Ground::shared().await;
    for (args, told) in [
        (
            &["watcher", "--namespaces=shop,Mall"][..],
            "no namespace can be called \"Mall\"",
        ),
        (
            &["webhook", "--namespaces-to-ignore=shop\"s"],
            "a quote belongs around a whole element",
        ),
        (
            &["watcher", "--namespace-selector=env!=*"],
            "--namespace-selector: \"env!\" is no label selector",
        ),
        (
            &[
                "explain",
                "deployment/web",
                "--resource-label-selector=a:b=c",
            ],
            "--resource-label-selector: \"a=b=c\" is no label selector",
        ),
    ] {
        let (code, message) = refused(&ground, ground.kubeconfig(), args).await;
        assert_eq!(code, Some(2), "{args:?}: {message}");
        assert!(message.contains(told), "{args:?}: {message}");
    }
}

#[tokio::test]
async fn a_missing_kubeconfig_is_named() {
    let ground = Ground::shared().await;
    let missing = Path::new("/no/such/kubeconfig");
    for args in [&["watcher"][..], &["explain", "deployment/web"]] {
        let (code, message) = refused(&ground, missing, args).await;
        assert_eq!(code, Some(1), "{message}");
        assert!(
            message.contains("set KUBECONFIG") && message.contains("/no/such/kubeconfig"),
            "{message}"
        );
    }
}

#[tokio::test]
async fn a_kubeconfig_that_is_none_is_told() {
    let ground = Ground::shared().await;
    let garbage = ground.file("garbage.yaml", "clusters: [");
    let (code, message) = refused(&ground, &garbage, &["explain", "deployment/web"]).await;
    assert_eq!(code, Some(1), "{message}");
    assert!(message.contains("kubeconfig"), "{message}");
}

#[tokio::test]
async fn an_api_server_that_cannot_be_reached_is_told_by_explain() {
    let ground = Ground::shared().await;
    let args = ["explain", "deployment/web", "-n", "shop"];
    let (code, message) = refused(&ground, &nowhere(&ground), &args).await;
    assert_eq!(code, Some(1), "{message}");
    for part in [
        "cannot get deployments.apps \"web\" in namespace \"shop\"",
        "Connection refused",
    ] {
        assert!(message.contains(part), "{message}");
    }
}

#[tokio::test]
async fn a_watcher_waits_for_an_api_server_that_cannot_be_reached() {
    let ground = Ground::shared().await;
    let watcher = ground.watcher_with("nowhere", &nowhere(&ground), &[]);
    until("it says what it waits for", async || {
        match watcher.http("/readyz").await {
            Ok((503, text)) if text.contains("Connection refused") => Ok(()),
            other => Err(other),
        }
    })
    .await;
    assert!(matches!(watcher.http("/healthz").await, Ok((200, _))));
    assert_eq!(watcher.metric("restamp_leader").await, 0.0);
    assert!(watcher.log().contains("cannot get at the lease"));
    assert!(!watcher.log().contains("panicked"));
    watcher.stop().await;
}

#[tokio::test]
async fn an_admin_port_that_is_taken_is_named() {
    let ground = Ground::shared().await;
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let args = ["watcher", "--admin-listen", &address];
    let (code, message) = refused(&ground, ground.kubeconfig(), &args).await;
    assert_eq!(code, Some(1), "{message}");
    for part in ["--admin-listen", &address, "in use"] {
        assert!(message.contains(part), "{message}");
    }
}
