//! The ways in which people and tools write workloads.

use std::iter;

use kube::api::{DynamicObject, PostParams};
use restamp::stamp::annotations::{AUTO, STAMP};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::{
    shop::{Name, Shop, WEB, web_pod, workload},
    wait::until,
};

/// What kubectl said, on its two outputs.
pub struct Said {
    /// Standard output.
    pub out: String,
    /// Standard error: warnings go there.
    pub err: String,
}

impl Shop {
    /// Runs kubectl in the namespace with `object` as its standard input.
    pub async fn kubectl(&self, args: &[&str], object: &Value) -> Said {
        let (code, said) = self.try_kubectl(args, object).await;
        assert_eq!(code, Some(0), "kubectl {args:?}: {}", said.err);
        said
    }

    /// As [`Shop::kubectl`], with the exit code.
    pub async fn try_kubectl(&self, args: &[&str], object: &Value) -> (Option<i32>, Said) {
        let mut command = tokio::process::Command::from(self.ground.kubectl_command());
        command
            .args(["-n", &self.namespace])
            .args(args)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        let mut child = command.spawn().expect("kubectl runs");
        let mut stdin = child.stdin.take().expect("a pipe");
        // A kubectl that does not read its input closes the pipe, which is no failure.
        let _ = stdin.write_all(object.to_string().as_bytes()).await;
        drop(stdin);
        let output = child.wait_with_output().await.expect("kubectl ends");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let said = Said {
            out: text(output.stdout),
            err: text(output.stderr),
        };
        (output.status.code(), said)
    }

    /// What a dry run of the creation of a workload would stamp it with.
    pub async fn dry_run(&self, object: &Value) -> Option<String> {
        let object: DynamicObject = serde_json::from_value(object.clone()).expect("an object");
        let kind = object.types.clone().expect("a kind").kind;
        let params = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let made = self.workloads(&kind).create(&params, &object).await;
        stamp_of(&made.expect("a dry run"))
    }

    /// Replaces a workload by what a manifest says, as controllers do with a full update.
    pub async fn put_workload(&self, (kind, name): Name<'_>, manifest: &Value) {
        let mut object: DynamicObject =
            serde_json::from_value(manifest.clone()).expect("an object");
        until("it is replaced", async || {
            let stored = self.workload((kind, name)).await;
            object.metadata.resource_version = stored.metadata.resource_version;
            let api = self.workloads(kind);
            match api.replace(name, &PostParams::default(), &object).await {
                Err(kube::Error::Api(status)) if status.is_conflict() => Err("changed meanwhile"),
                written => {
                    written.expect("it can be replaced");
                    Ok(())
                }
            }
        })
        .await;
    }

    /// Applies a release of a stocked shop at once: the Secret, and every workload with an image.
    pub async fn deploy(&self, password: &str, image: &str) {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "db" },
            "stringData": { "user": "app", "password": password },
        });
        let workload = |name| {
            let manifest = workload(name, &json!({ AUTO: "true" }), &web_pod());
            with_image(&manifest, image)
        };
        let items: Vec<_> = iter::once(secret).chain(WEB.map(workload)).collect();
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
        let apply = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        self.kubectl(&apply, &list).await;
    }

    /// What `restamp explain` concludes about a workload, or why it cannot.
    pub async fn conclusion(&self, (kind, name): Name<'_>) -> String {
        let workload = format!("{kind}/{name}");
        let args = ["explain", &workload, "-n", &self.namespace, "-o", "json"];
        let (_, out, err) = self.ground.restamp(self.ground.kubeconfig(), &args).await;
        match serde_json::from_str::<Value>(&out) {
            Ok(report) => report["reason"].as_str().unwrap_or_default().to_owned(),
            Err(_) => err,
        }
    }
}

/// The stamp on a workload's template.
pub fn stamp_of(object: &DynamicObject) -> Option<String> {
    let annotations = &object.data["spec"]["template"]["metadata"]["annotations"];
    annotations[STAMP].as_str().map(str::to_owned)
}

/// The same manifest with another image.
pub fn with_image(manifest: &Value, image: &str) -> Value {
    let mut manifest = manifest.clone();
    manifest["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
    manifest
}
