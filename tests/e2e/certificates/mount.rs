//! A Secret as pods have it mounted.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::Api;
use tempfile::TempDir;
use tokio::{task::JoinSet, time::sleep};

use crate::support::wait::until;

const POLL: Duration = Duration::from_millis(200);

type Data = BTreeMap<String, ByteString>;

/// Its entries as files, kept up to date as a kubelet does: each is a link through `..data`, which is turned at once. While
/// the Secret is not there, they stay.
pub struct Mount {
    folder: Arc<TempDir>,
    _kubelet: JoinSet<()>,
}

impl Mount {
    /// Waits until the Secret is there, as a pod does before it starts.
    pub async fn of(secrets: Api<Secret>, name: &'static str) -> Mount {
        let folder = Arc::new(tempfile::tempdir().expect("a temporary folder"));
        let mut mounted = until("the Secret is there", async || {
            read(&secrets, name).await.ok_or("it is not")
        })
        .await;
        let mut version = 0;
        write(folder.path(), version, &mounted);
        let mut kubelet = JoinSet::new();
        let at = folder.clone();
        kubelet.spawn(async move {
            loop {
                sleep(POLL).await;
                match read(&secrets, name).await {
                    Some(data) if data != mounted => {
                        version += 1;
                        write(at.path(), version, &data);
                        mounted = data;
                    }
                    _ => {}
                }
            }
        });
        Mount {
            folder,
            _kubelet: kubelet,
        }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

async fn read(secrets: &Api<Secret>, name: &str) -> Option<Data> {
    secrets.get_opt(name).await.ok().flatten()?.data
}

fn write(folder: &Path, version: u32, data: &Data) {
    let versioned = PathBuf::from(format!("..{version}"));
    fs::create_dir(folder.join(&versioned)).expect("a folder");
    for (name, content) in data {
        fs::write(folder.join(&versioned).join(name), &content.0).expect("a file");
        // Of an entry that was there before, the link is there, too.
        let _ = symlink(Path::new("..data").join(name), folder.join(name));
    }
    let next = folder.join("..data_tmp");
    symlink(&versioned, &next).expect("a link");
    fs::rename(next, folder.join("..data")).expect("it is turned");
}
