//! Kubeconfig files. JSON is YAML, so every Kubernetes client reads them.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::{fs::OpenOptions, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

/// A kubeconfig with one `cluster` and one `user`, each with the fields that the format gives them.
#[expect(
    clippy::needless_pass_by_value,
    reason = "`json!` takes its parts by value"
)]
pub fn render(cluster: Value, user: Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    })
}

/// Writes a file that only its owner may read.
///
/// # Errors
/// When the file cannot be written.
pub fn write_private(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options
        .open(path)
        .and_then(|mut file| file.write_all(content.as_ref()))
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::config::Kubeconfig;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_client_reads_it() {
        let text = render(
            json!({"server": "https://127.0.0.1:1"}),
            json!({"tokenFile": "/t"}),
        );
        let config = Kubeconfig::from_yaml(&text.to_string()).unwrap();
        let cluster = config.clusters[0].cluster.clone().unwrap();
        let user = config.auth_infos[0].auth_info.clone().unwrap();
        assert_eq!(cluster.server.as_deref(), Some("https://127.0.0.1:1"));
        assert_eq!(user.token_file.as_deref(), Some("/t"));
        assert_eq!(config.current_context.as_deref(), Some("test"));
    }

    #[test]
    fn is_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        write_private(&path, "x").unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
    }
}
