//! Whether a part, or what the cluster does with it, is ready yet. An error says why not.

use crate::{components::FAKE_NODE, layout::Layout};
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Node, NodeCondition, ServiceAccount};
use kube::{
    Api, Client, Config,
    api::{ListParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const NODES: [&str; 2] = ["node-1", "node-2"];
const PATIENCE: Duration = Duration::from_secs(5);

/// A client that speaks to the cluster as the supervisor.
pub(crate) async fn client(layout: &Layout) -> Result<Client> {
    let config = Kubeconfig::read_from(layout.supervisor_kubeconfig())?;
    let options = KubeConfigOptions::default();
    let mut config = Config::from_custom_kubeconfig(config, &options).await?;
    // Whatever HTTPS_PROXY says: this is loopback.
    config.proxy_url = None;
    config.read_timeout = Some(PATIENCE);
    Ok(Client::try_from(config)?)
}

pub(crate) async fn etcd(port: u16) -> Result<()> {
    let ask = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let request = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = tokio::time::timeout(PATIENCE, ask).await??;
    ensure!(answer.contains(r#""health":"true""#), "it says {answer}");
    Ok(())
}

pub(crate) async fn api_server(client: &Client) -> Result<()> {
    let request = http::Request::get("/readyz").body(Vec::new())?;
    client.request_text(request).await?;
    Ok(())
}

/// Pods need it; the controller manager makes it.
pub(crate) async fn default_service_account(client: &Client) -> Result<()> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
    accounts.get("default").await?;
    Ok(())
}

pub(crate) async fn nodes(client: &Client) -> Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    let list = nodes.list(&ListParams::default()).await?;
    let ready = list.items.iter().filter(|node| is_ready(node)).count();
    ensure!(ready >= NODES.len(), "{ready} nodes are ready");
    Ok(())
}

fn is_ready(node: &Node) -> bool {
    let tainted = node.spec.as_ref().is_some_and(|spec| spec.taints.is_some());
    let conditions = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let ready = |list: &Vec<NodeCondition>| {
        list.iter()
            .any(|it| it.type_ == "Ready" && it.status == "True")
    };
    !tainted && conditions.is_some_and(ready)
}

/// Adds nodes that hold any number of pods.
pub(crate) async fn create_nodes(client: &Client) -> Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    let (annotation, value) = FAKE_NODE;
    let room = json!({"cpu": "1k", "memory": "1Ti", "pods": "100k"});
    for name in NODES {
        let node = serde_json::from_value(json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "annotations": {annotation: value},
                "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"},
            },
            "status": {"allocatable": room, "capacity": room},
        }))?;
        let created = nodes.create(&PostParams::default(), &node).await;
        created.with_context(|| format!("cannot create the node {name}"))?;
    }
    Ok(())
}
